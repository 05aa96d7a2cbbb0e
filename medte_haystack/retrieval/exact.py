"""Comparison of a query with every vector, by the server and without scripts.

A kNN search looks through the graph only where its filter leaves more documents than `num_candidates`; where it leaves
fewer, each is compared. So the index is searched in parts of at most 10,000 documents a shard, by the sequence numbers
that the server gives to all it writes, and the parts' hits are merged. Quantised vectors are then compared once more as
the floats they were made from, all of a part and not a few times `top_k`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medte_haystack.errors import SearchError
from medte_haystack.index import MAX_CANDIDATES, Steps
from medte_haystack.index.contract import PARENT_ID
from medte_haystack.index.queries import knn_clause
from medte_haystack.retrieval.asking import Log, ask
from medte_haystack.retrieval.options import SearchOptions
from medte_haystack.retrieval.target import Hit, Target, documents, some_alone

PART = MAX_CANDIDATES  # documents
_AT_A_TIME = 8  # parts a request: one takes tens to hundreds of milliseconds
_SEQUENCE = "_seq_no"
_FLOATS = ("hnsw", "flat")
_COLLAPSE = {"collapse": {"field": PARENT_ID}}
_ALONE: dict[str, Any] = {"bool": {"must_not": {"exists": {"field": PARENT_ID}}}}  # what is no chunk of a document


def compare_all(
    target: Target,
    vectors: Sequence[NDArray[np.float32]],
    filters: Mapping[str, Any] | None,
    options: SearchOptions,
    log: Log | None,
) -> Steps[list[list[Hit]]]:
    """Return the nearest of all vectors to each vector, with scores as the server gives them.

    :raises SearchError: If the server keeps no sequence numbers for the index.
    """
    parts = yield from _parts(target, filters, log)
    whole = replace(options, oversample=None if target.info.quantisation in _FLOATS else 1.0, min_similarity=None)
    collapses = target.collapses(options)
    conditions = [filters] if filters else []

    def search(
        numbers: Sequence[int], more: list[dict[str, Any]], shown: dict[str, Any]
    ) -> Steps[dict[int, list[Hit]]]:
        bodies = []
        for number in numbers:
            for part in parts:
                among = {"bool": {"filter": [part, *conditions, *more]}}
                knn = target.knn(whole, among, MAX_CANDIDATES)
                query = knn_clause(vectors[number], top_k=MAX_CANDIDATES, **knn)
                bodies.append({"query": query, "size": options.top_k, "track_total_hits": False, **shown})
        queries = [number for number in numbers for _ in parts]
        answers = yield from ask(target.index, bodies, log, queries=queries, at_a_time=_AT_A_TIME)
        found: dict[int, list[Hit]] = {number: [] for number in numbers}
        for number, answer in zip(queries, answers, strict=True):
            found[number] += answer["hits"]["hits"]
        return found

    shown = target.shown(options)
    found = yield from search(range(len(vectors)), [], {**shown, **(_COLLAPSE if collapses else {})})
    if collapses:
        mixed = [number for number, hits in found.items() if some_alone(hits)]
        for number, hits in (yield from search(mixed, [_ALONE], shown)).items():
            found[number] += hits
    least = -1.0 if options.min_similarity is None else options.min_similarity
    best = []
    for hits in found.values():
        ranked = sorted(hits, key=lambda hit: -hit["_score"])
        own = list(documents(ranked, collapses=collapses).values())[: options.top_k]
        best.append([hit for hit in own if target.cosine(hit["_score"]) >= least])
    return best


def _parts(target: Target, filters: Mapping[str, Any] | None, log: Log | None) -> Steps[list[dict[str, Any]]]:
    """Return filters that split what matches into parts of few enough documents."""
    (answer,) = yield from ask(
        target.index,
        [
            {
                "size": 0,
                "track_total_hits": 1,
                "query": filters or {"match_all": {}},
                "aggs": {side: {side: {"field": _SEQUENCE}} for side in ("min", "max")},
            }
        ],
        log,
    )
    low, high = (answer["aggregations"][side]["value"] for side in ("min", "max"))
    if low is None:
        if answer["hits"]["total"]["value"]:
            raise SearchError(
                f"index {target.info.name!r} keeps no sequence numbers, by which exact=True searches it part by part;"
                " take exact=False with a higher oversample, or quantisation='flat'",
                index=target.info.name,
            )
        return []
    starts = range(int(low), int(high) + 1, PART)
    return [{"range": {_SEQUENCE: {"gte": start, "lt": start + PART}}} for start in starts]
