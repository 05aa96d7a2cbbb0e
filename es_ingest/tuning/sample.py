"""Draws what a tuning is measured on, vectors and queries, from an index that is only read."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_ingest.indices.vectors import WITH_VECTOR, stored_vectors, vector_fields, vector_of
from medte_haystack.errors import IndexContractError
from medte_haystack.index import IndexInfo

_QUERIES, _SEARCHED = 42, 43  # seeds: what is drawn as a query says nothing about what is searched
_ONE_QUERY_IN = 10  # vectors, at most, so that a small index keeps most of what it is searched for

Tell = Callable[[str, int, int], object]
"""Takes what is being done, how much is done, and how much there is to do."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is searched and what is asked.

    :param vectors: Unit vectors, float32, shape (n, dim).
    :param queries: Unit vectors, float32, shape (q, dim); none of them is a row of `vectors`.
    :param in_index: How many vectors the index has.
    :param seconds: Time that reading took.
    """

    vectors: NDArray[np.float32]
    queries: NDArray[np.float32]
    in_index: int
    seconds: float


def draw(
    client: Elasticsearch,
    info: IndexInfo,
    *,
    most_vectors: int,
    queries: NDArray[np.float32] | None,
    most_queries: int,
    top_k: int,
    tell: Tell,
) -> Sample:
    """Read an index's vectors, a random share of them if there are more than wanted.

    Without queries, vectors of random documents serve as such, and are not among those that are searched: a document
    finds itself too easily.

    :param most_vectors: Read no more than these; 4 bytes of memory a dimension each.
    :param queries: Unit vectors, shape (q, dim), or None.
    :param most_queries: How many to draw if there are none.
    :raises IndexContractError: If the index is not searched by cosine, or has fewer than `top_k` vectors to search.
    """
    if info.similarity not in ("dot_product", "cosine"):
        raise IndexContractError(
            f"index {info.name!r} compares vectors by {info.similarity}; tune knows dot_product and cosine",
            index=info.name,
            similarity=info.similarity,
        )
    started = time.perf_counter()
    in_index = int(client.count(index=info.name, query=WITH_VECTOR)["count"])
    if not in_index or info.dim is None:
        raise IndexContractError(
            f"index {info.name!r} holds no vectors; write some with `es-ingest run … --index {info.name}`",
            index=info.name,
        )
    held: list[str] = []
    if queries is None:
        wanted = max(1, min(most_queries, in_index // _ONE_QUERY_IN))
        held, queries = _held_out(client, info.name, wanted)
    left = in_index - len(held)
    vectors = np.empty((min(left, most_vectors), info.dim), dtype=np.float32)
    query: dict[str, Any] = {"bool": {"filter": [WITH_VECTOR], "must_not": [{"ids": {"values": held}}]}}
    least = None
    if left > most_vectors:
        query, least = _at_random(query, _SEARCHED), 1.0 - most_vectors / left
    count = 0
    for _, vector in stored_vectors(client, info.name, query=query, min_score=least):
        if count == len(vectors):  # the share drawn is only about the one wanted
            break
        vectors[count] = vector
        count += 1
        if count % 1000 == 0:
            tell("reading vectors", count, len(vectors))
    if count < top_k:
        raise IndexContractError(
            f"top_k is {top_k}, but {count} vectors are searched (index {info.name!r} has {in_index}, {len(held)} serve"
            f" as queries, at most {most_vectors} are read); lower --top-k",
            top_k=top_k,
            vectors=count,
        )
    vectors = vectors[:count]
    if info.similarity == "cosine":
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        queries = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    return Sample(vectors, queries, in_index, time.perf_counter() - started)


def _held_out(client: Elasticsearch, index: str, count: int) -> tuple[list[str], NDArray[np.float32]]:
    hits = client.search(
        index=index,
        query=_at_random(WITH_VECTOR, _QUERIES),
        size=count,
        source=False,
        docvalue_fields=vector_fields(),
        track_total_hits=False,
    )["hits"]["hits"]
    return [hit["_id"] for hit in hits], np.array([vector_of(hit) for hit in hits], dtype=np.float32)


def _at_random(query: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """Return a query whose scores are random, evenly in [0, 1), the same ones each time."""
    chance = {"seed": seed, "field": "_seq_no"}
    return {"function_score": {"query": query, "random_score": chance, "boost_mode": "replace"}}
