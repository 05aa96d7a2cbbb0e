"""Searches by vectors alone."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medte_haystack.index import Steps
from medte_haystack.index.contract import PARENT_ID
from medte_haystack.index.queries import knn_clause
from medte_haystack.retrieval.asking import Answer, Log
from medte_haystack.retrieval.exact import compare_all
from medte_haystack.retrieval.options import SearchOptions, SharedOptions
from medte_haystack.retrieval.target import Hit, Target, documents, some_alone, widening

_CHUNKS_A_DOCUMENT = 4  # looked among at first; more where documents have more


def nearest_body(
    target: Target,
    vector: NDArray[np.float32],
    filters: Mapping[str, Any] | None,
    options: SharedOptions,
    *,
    chunks: int,
) -> dict[str, Any]:
    """Return the body of a search for the chunks nearest to a vector.

    :param chunks: How many of each shard, and in all.
    """
    return {
        "query": knn_clause(vector, top_k=chunks, **target.knn(options, filters, chunks)),
        "size": chunks,
        "track_total_hits": False,
        **target.shown(options),
    }


def dense_body(
    target: Target,
    vector: NDArray[np.float32],
    filters: Mapping[str, Any] | None,
    options: SearchOptions,
    *,
    chunks: int,
) -> dict[str, Any]:
    """Return the body of a search for the `top_k` documents, or chunks, nearest to a vector.

    :param chunks: Nearest chunks of each shard that are looked among.
    """
    body = {**nearest_body(target, vector, filters, options, chunks=chunks), "size": options.top_k}
    if target.collapses(options):
        # fewer in all than `chunks`: there are no more
        body |= {"collapse": {"field": PARENT_ID}, "track_total_hits": chunks}
    return body


def find_dense(
    target: Target,
    vectors: Sequence[NDArray[np.float32]],
    filters: Mapping[str, Any] | None,
    options: SearchOptions,
    log: Log | None = None,
) -> Steps[list[list[Hit]]]:
    """Find what is nearest to each vector, the best first, with cosines as scores.

    :param vectors: Each of shape (dim,).
    :param filters: Elasticsearch query that hits must match.
    :raises SearchError: If the server refuses a search or does not answer.
    """
    if options.exact and target.info.quantisation != "flat":
        found = yield from compare_all(target, vectors, filters, options, log)
    else:
        found = yield from _through_the_graph(target, vectors, filters, options, log)
    for hits in found:
        for hit in hits:
            hit["_score"] = target.cosine(hit["_score"])
    return found


def _through_the_graph(
    target: Target,
    vectors: Sequence[NDArray[np.float32]],
    filters: Mapping[str, Any] | None,
    options: SearchOptions,
    log: Log | None,
) -> Steps[list[list[Hit]]]:
    collapses = target.collapses(options)
    first = options.top_k * (_CHUNKS_A_DOCUMENT if collapses else 1)

    def search(numbers: Sequence[int], body: Callable[..., dict[str, Any]]) -> Steps[dict[int, list[Answer]]]:
        def bodies(number: int, chunks: int) -> list[dict[str, Any]]:
            return [body(target, vectors[number], filters, options, chunks=chunks)]

        return widening(target, options, numbers, bodies, first, log)

    answers = yield from search(range(len(vectors)), dense_body)
    found = [one["hits"]["hits"] for (one,) in answers.values()]
    if collapses:
        mixed = [number for number, hits in enumerate(found) if some_alone(hits)]
        for number, (one,) in (yield from search(mixed, nearest_body)).items():
            found[number] = list(documents(one["hits"]["hits"], collapses=True).values())[: options.top_k]
    return found
