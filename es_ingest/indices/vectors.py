"""Reads vectors back from an index, page by page, from one state of it."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_ingest.indices.snapshot import pages
from medte_haystack.index.contract import EMBEDDING

_PAGE = 1000  # documents a request: 4 MB with 768 dimensions, 8 MB where the server knows no base64

WITH_VECTOR: Mapping[str, Any] = {"exists": {"field": EMBEDDING}}
"""Query for the documents that have a vector."""


def stored_vectors(
    client: Elasticsearch,
    index: str,
    *,
    fields: Sequence[str] = (),
    query: Mapping[str, Any] = WITH_VECTOR,
    min_score: float | None = None,
) -> Iterator[tuple[dict[str, Any], NDArray[np.float32]]]:
    """Yield hit and vector of the documents that match; one page is held at a time.

    :param fields: Fields with doc values, such as keywords, wanted in the hit's `fields`.
    :param query: Which documents; each must have a vector.
    :param min_score: Least score by `query`.
    :returns: Hits as Elasticsearch gives them, and vectors of shape (dim,).
    """
    search: dict[str, Any] = {"source": False, "docvalue_fields": vector_fields(fields), "query": query}
    for hits in pages(client, index, size=_PAGE, refresh=False, min_score=min_score, **search):
        for hit in hits:
            yield hit, vector_of(hit)


def vector_fields(fields: Sequence[str] = ()) -> list[dict[str, str]]:
    """Return the `docvalue_fields` of a search that shall give vectors, and `fields` beside them.

    Servers from 9.4 on give them as base64, older ones pass the format over and give numbers: many times faster than
    `_source`, which is put together and parsed in either.
    """
    return [*({"field": name} for name in fields), {"field": EMBEDDING, "format": "binary"}]


def vector_of(hit: Mapping[str, Any]) -> NDArray[np.float32]:
    """Read the vector, shape (dim,), of a hit that was asked for `vector_fields`."""
    (stored,) = hit["fields"][EMBEDDING]
    if isinstance(stored, str):
        return np.frombuffer(base64.b64decode(stored), dtype=">f4").astype(np.float32)
    return np.asarray(stored, dtype=np.float32)
