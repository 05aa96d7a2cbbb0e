"""Request bodies for searching; pure functions shared by sync and async callers."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medte_haystack.errors import IndexContractError
from medte_haystack.index.contract import EMBEDDING, PARENT_ID

MAX_CANDIDATES = 10_000  # the server's limit for k and num_candidates
MAX_OVERSAMPLING = 10


def default_num_candidates(top_k: int) -> int:
    """Return ten candidates a hit, at least 100 (the recall of small top_k needs them), at most the server's 10,000."""
    return min(MAX_CANDIDATES, max(100, 10 * top_k))


def knn_body(
    query_vector: Sequence[float] | NDArray[np.floating[Any]],
    *,
    top_k: int,
    num_candidates: int | None = None,
    oversampling: float | None = None,
    filters: Mapping[str, Any] | None = None,
    return_embedding: bool = False,
    excludes_vectors: bool = True,
) -> dict[str, Any]:
    """Return the body of a dense search that gets all of its hits in one request.

    :param query_vector: Unit vector, shape (dim,).
    :param top_k: Hits wanted, 1 to 10,000.
    :param num_candidates: Candidates a shard looks at, `top_k` to 10,000; see :func:`default_num_candidates`.
    :param oversampling: How many times `top_k` quantised vectors are compared again as floats, 1 to 10, or 0 for none;
        None leaves it to the index.
    :param filters: Elasticsearch query that hits must match, applied during the search.
    :param return_embedding: Whether hits carry their vectors.
    :param excludes_vectors: Whether the server leaves vectors out of `_source`, or may, unless it is asked for them.
    :raises IndexContractError: If a number is out of range.
    """
    if not 1 <= top_k <= MAX_CANDIDATES:
        raise IndexContractError(f"top_k is {top_k}; Elasticsearch takes 1 to {MAX_CANDIDATES}", top_k=top_k)
    if num_candidates is None:
        num_candidates = default_num_candidates(top_k)
    if not top_k <= num_candidates <= MAX_CANDIDATES:
        raise IndexContractError(
            f"num_candidates is {num_candidates}; with top_k {top_k} it must lie between {top_k} and {MAX_CANDIDATES}",
            num_candidates=num_candidates,
        )
    if oversampling is not None and oversampling != 0 and not 1 <= oversampling <= MAX_OVERSAMPLING:
        raise IndexContractError(
            f"oversampling is {oversampling:g}; Elasticsearch takes 0 for none, or 1 to {MAX_OVERSAMPLING}",
            oversampling=oversampling,
        )
    knn: dict[str, Any] = {
        "field": EMBEDDING,
        "query_vector": np.asarray(query_vector, dtype=np.float32).tolist(),
        "k": top_k,
        "num_candidates": num_candidates,
    }
    if oversampling is not None:
        knn["rescore_vector"] = {"oversample": oversampling}
    if filters:
        knn["filter"] = dict(filters)
    return {
        "knn": knn,
        "size": top_k,
        "track_total_hits": False,
        **source_filter(return_embedding=return_embedding, excludes_vectors=excludes_vectors),
    }


def source_filter(*, return_embedding: bool, excludes_vectors: bool) -> dict[str, Any]:
    """Return the `_source` part of a body, which asks for vectors or keeps them away."""
    if return_embedding:
        return {"_source": {"exclude_vectors": False}} if excludes_vectors else {}
    return {"_source": {"excludes": [EMBEDDING]}}


def document_knn_body(
    query_vector: Sequence[float] | NDArray[np.floating[Any]],
    *,
    top_k: int,
    chunks: int,
    num_candidates: int | None = None,
    filters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the body of a dense search for documents: each shows its best chunk.

    :param top_k: Documents wanted.
    :param chunks: Chunks to look among; with many chunks a document fewer than `top_k` documents may come back.
    :raises IndexContractError: If a number is out of range.
    """
    body = knn_body(query_vector, top_k=chunks, num_candidates=num_candidates, filters=filters)
    return {**body, "size": top_k, "collapse": {"field": PARENT_ID}}
