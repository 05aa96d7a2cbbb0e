"""Searches by a vector and by words, made one ranking."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medte_haystack.errors import IndexContractError, SearchError
from medte_haystack.index import MAX_CANDIDATES, Steps
from medte_haystack.index.contract import RETRIEVAL
from medte_haystack.index.queries import knn_clause
from medte_haystack.retrieval.asking import Answer, Log
from medte_haystack.retrieval.dense import nearest_body
from medte_haystack.retrieval.fusion import METHODS, RRF_CONSTANT, Place, fuse
from medte_haystack.retrieval.lexical import filtered, lexical_clause
from medte_haystack.retrieval.options import HybridOptions
from medte_haystack.retrieval.target import Hit, Target, documents, widening

DENSE, LEXICAL = "dense", "lexical"
_ROUNDING = 1e-5  # of a score, which is a float32
_SINCE = {"server_rrf": (8, 16), "server_linear": (8, 18)}
_WEIGHTED_RRF_SINCE = (9, 2)
_INSTEAD = {"server_rrf": "rrf", "server_linear": "min_max"}


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked for.

    :param text: As :func:`~medte_haystack.retrieval.lexical.searchable` gives it.
    :param vector: Its unit vector, shape (dim,).
    """

    text: str
    vector: NDArray[np.float32]


def find_hybrid(
    target: Target,
    questions: Sequence[Question],
    filters: Mapping[str, Any] | None,
    options: HybridOptions,
    fields: Sequence[str],
    log: Log | None = None,
) -> Steps[list[list[Hit]]]:
    """Find what answers each question, the best first; each hit says under ``retrieval`` which side found it.

    :param filters: Elasticsearch query that hits of either side must match.
    :param fields: Analysed fields for BM25.
    :raises SearchError: If the server refuses a search, lacks the fusion asked for, or does not answer.
    :raises IndexContractError: If the server is too old for the fusion.
    """
    if options.fusion in _SINCE:
        _check_version(target, options)

    def bodies(number: int, chunks: int) -> list[dict[str, Any]]:
        question = questions[number]
        if options.fusion == "weighted":
            return [weighted_body(target, question, filters, options, fields, chunks)]
        if options.fusion in METHODS:
            return both_bodies(target, question, filters, options, fields, chunks)
        return [server_body(target, question, filters, options, fields, chunks)]

    try:
        answers = yield from widening(target, options, range(len(questions)), bodies, options.dense_hits, log)
    except SearchError as error:
        if options.fusion in _SINCE and _is_lacking(error):
            raise _not_there(options.fusion, error) from error
        raise
    if options.fusion == "weighted":
        return [_read_weighted(target, options, one) for (one,) in answers.values()]
    if options.fusion in METHODS:
        return [_read_both(target, options, *both) for both in answers.values()]
    return [_read_fused(target, options, one) for (one,) in answers.values()]


def weighted_body(
    target: Target,
    question: Question,
    filters: Mapping[str, Any] | None,
    options: HybridOptions,
    fields: Sequence[str],
    chunks: int,
) -> dict[str, Any]:
    """Return the body of one search whose scores are weighted sums: of (1 + cosine) / 2, and of BM25.

    In an index of type ``flat`` the vectors' clause matches every document, so each has a dense score.
    """
    weights = options.weighted
    clauses: list[dict[str, Any]] = []
    if weights.dense:
        clauses += [knn_clause(question.vector, top_k=chunks, **target.knn(options, filters, chunks))]
        clauses[-1]["knn"]["boost"] = weights.dense  # without a name: for it the server would search the graph again
    if weights.lexical:
        clauses += [lexical_clause(question.text, fields)]
        clauses[-1]["combined_fields"] |= {"boost": weights.lexical, "_name": LEXICAL}
    query: dict[str, Any] = {"should": clauses, "minimum_should_match": 1}
    if filters:
        query["filter"] = [dict(filters)]
    return {
        "query": {"bool": query},
        "size": chunks if target.collapses(options) else options.top_k,
        "track_total_hits": False,
        **target.shown(options),
    }


def both_bodies(
    target: Target,
    question: Question,
    filters: Mapping[str, Any] | None,
    options: HybridOptions,
    fields: Sequence[str],
    chunks: int,
) -> list[dict[str, Any]]:
    """Return the bodies of two searches, whose hits are fused here.

    Neither is collapsed by the server, which would score every match of the words for it and look at more vectors. That
    a window of chunks may be fewer documents matters little, as long as `top_k` come back of both sides together.
    """
    lexical = {
        "query": filtered(lexical_clause(question.text, fields), filters),
        "size": min(MAX_CANDIDATES, options.lexical_hits * chunks // options.dense_hits),
        "track_total_hits": False,
        **target.shown(options),
    }
    return [nearest_body(target, question.vector, filters, options, chunks=chunks), lexical]


def server_body(
    target: Target,
    question: Question,
    filters: Mapping[str, Any] | None,
    options: HybridOptions,
    fields: Sequence[str],
    chunks: int,
) -> dict[str, Any]:
    """Return the body of a search that the server fuses itself, with its retrievers ``rrf`` or ``linear``.

    :param chunks: How many each side gives to the fusion.
    """
    dense = knn_clause(question.vector, top_k=chunks, **target.knn(options, filters, chunks))
    lexical: dict[str, Any] = {"standard": {"query": filtered(lexical_clause(question.text, fields), filters)}}
    weights = options.weighted
    both: list[dict[str, Any]] = [dense, lexical]
    if options.fusion == "server_linear":
        both = [
            {"retriever": one, "weight": weight, "normalizer": "minmax"}
            for one, weight in zip(both, (weights.dense, weights.lexical), strict=True)
        ]
        retriever: dict[str, Any] = {"linear": {"retrievers": both, "rank_window_size": chunks}}
    else:
        if weights.dense != weights.lexical:
            both = [{"retriever": dense, "weight": weights.dense}, {"retriever": lexical, "weight": weights.lexical}]
        retriever = {"rrf": {"retrievers": both, "rank_window_size": chunks, "rank_constant": RRF_CONSTANT}}
    size = chunks if target.collapses(options) else options.top_k
    return {"retriever": retriever, "size": size, **target.shown(options)}


def _read_weighted(target: Target, options: HybridOptions, answer: Answer) -> list[Hit]:
    found = documents(answer["hits"]["hits"], collapses=target.collapses(options))
    hits = list(found.values())[: options.top_k]
    weights = options.weighted
    for hit in hits:
        sides: dict[str, dict[str, Any]] = {}
        share = hit.get("matched_queries", {}).get(LEXICAL, 0.0)
        rest = hit["_score"] - share
        if rest > _ROUNDING * hit["_score"]:
            sides[DENSE] = {"score": target.cosine(rest / weights.dense), "id": hit["_id"]}
        if share:
            sides[LEXICAL] = {"score": share / weights.lexical, "id": hit["_id"]}
        hit[RETRIEVAL] = {"fusion": options.fusion, **sides}
    for name in (DENSE, LEXICAL):
        own = [hit[RETRIEVAL][name] for hit in hits if name in hit[RETRIEVAL]]
        for rank, side in enumerate(sorted(own, key=lambda side: -side["score"]), 1):
            side["rank"] = rank
    return hits


def _read_both(target: Target, options: HybridOptions, dense: Answer, lexical: Answer) -> list[Hit]:
    collapses = target.collapses(options)
    sides = [documents(answer["hits"]["hits"], collapses=collapses) for answer in (dense, lexical)]
    for hit in sides[0].values():
        hit["_score"] = target.cosine(hit["_score"])
    windows = (options.dense_hits, options.lexical_hits)
    rankings = [
        [(item, hit["_score"]) for item, hit in islice(side.items(), window)]
        for side, window in zip(sides, windows, strict=True)
    ]
    found = []
    for one in fuse(options.fusion, rankings[0], rankings[1], options.weighted)[: options.top_k]:
        places = {DENSE: one.dense, LEXICAL: one.lexical}
        own = {
            name: side[one.item] for (name, place), side in zip(places.items(), sides, strict=True) if place is not None
        }
        # of two best chunks the one that its side ranked higher is shown
        shown = min(own, key=lambda name: (places[name] or Place(0, 0)).rank)
        told = {
            name: {"rank": place.rank, "score": place.score, "id": own[name]["_id"]}
            for name, place in places.items()
            if place is not None
        }
        found.append({**own[shown], "_score": one.score, RETRIEVAL: {"fusion": options.fusion, **told}})
    return found


def _read_fused(target: Target, options: HybridOptions, answer: Answer) -> list[Hit]:
    found = documents(answer["hits"]["hits"], collapses=target.collapses(options))
    hits = list(found.values())[: options.top_k]
    for hit in hits:
        hit[RETRIEVAL] = {"fusion": options.fusion}
    return hits


def _check_version(target: Target, options: HybridOptions) -> None:
    version, since, what = target.server.version, _SINCE[options.fusion], f"fusion {options.fusion!r}"
    if options.fusion == "server_rrf" and options.weighted.dense != options.weighted.lexical:
        since, what = _WEIGHTED_RRF_SINCE, f"{what} with weights"
    if version is not None and version < since:
        raise IndexContractError(
            f"{what} needs Elasticsearch {'.'.join(map(str, since))}, this is {'.'.join(map(str, version))};"
            f" fusion={_INSTEAD[options.fusion]!r} does it without",
            fusion=options.fusion,
        )


def _is_lacking(error: SearchError) -> bool:
    """Tell whether the server does not know the retriever, or its licence does not have it."""
    return any(said in reason for reason in error.failures.values() for said in ("unknown retriever", "license"))


def _not_there(fusion: str, error: SearchError) -> SearchError:
    return SearchError(
        f"{error}; fusion {fusion!r} needs a server that has the retriever, and an Enterprise licence or a trial."
        f" fusion={_INSTEAD[fusion]!r} gives the same ranking without",
        **error.__dict__,
    )
