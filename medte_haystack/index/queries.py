"""Request bodies for dense searches; pure functions shared by sync and async callers."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from medte_haystack.errors import IndexContractError
from medte_haystack.index.contract import EMBEDDING, vector_base64

MAX_CANDIDATES = 10_000  # the server's limit for k, num_candidates and size
MAX_OVERSAMPLING = 10

_OVERSAMPLING = {"int8": 2.0}  # where the index says nothing; for bbq it says 3


def default_oversampling(quantisation: str) -> float | None:
    """Return how many times the hits are compared again as floats where neither search nor mapping says; None for none.

    For int8 that is twice: the order of the nearest is then that of their cosines, and nothing is lost by rounding. On
    MedQuAD's passages among 200,000 distractors, each compared with, it raised recall@10 from 0.993 to 1; with a graph
    it took a few hundredths of the time more.

    :param quantisation: Our name of the vector index type.
    """
    return _OVERSAMPLING.get(quantisation)


def default_num_candidates(top_k: int) -> int:
    """Return ten candidates a hit, at least 100 (the recall of small top_k needs them), at most the server's 10,000."""
    return min(MAX_CANDIDATES, max(100, 10 * top_k))


def knn_clause(
    query_vector: Sequence[float] | NDArray[np.floating[Any]],
    *,
    top_k: int,
    num_candidates: int | None = None,
    oversampling: float | None = None,
    min_similarity: float | None = None,
    filters: Mapping[str, Any] | None = None,
    base64_vectors: bool = False,
) -> dict[str, Any]:
    """Return a dense search as a clause of a query.

    As a clause it runs where the other clauses do; as the `knn` section beside a query the server would run it in a
    phase of its own first, which takes longer.

    :param query_vector: Unit vector, shape (dim,).
    :param top_k: Hits wanted of each shard, 1 to 10,000.
    :param num_candidates: Candidates a shard looks at, `top_k` to 10,000; see :func:`default_num_candidates`.
    :param oversampling: How many times `top_k` quantised vectors are compared again as floats, 1 to 10, or 0 for none;
        None leaves it to the index.
    :param min_similarity: Least cosine of a hit, -1 to 1.
    :param filters: Elasticsearch query that hits must match, applied during the search.
    :param base64_vectors: Whether the server takes vectors as base64, which is shorter to write and to read.
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
    if min_similarity is not None and not -1 <= min_similarity <= 1:
        raise IndexContractError(
            f"min_similarity is {min_similarity:g}; a cosine lies between -1 and 1", min_similarity=min_similarity
        )
    vector = np.asarray(query_vector, dtype=np.float32)
    knn: dict[str, Any] = {
        "field": EMBEDDING,
        "query_vector": vector_base64(vector).decode() if base64_vectors else vector.tolist(),
        "k": top_k,
        "num_candidates": num_candidates,
    }
    if oversampling is not None:
        knn["rescore_vector"] = {"oversample": oversampling}
    if min_similarity is not None:
        knn["similarity"] = min_similarity
    if filters:
        knn["filter"] = dict(filters)
    return {"knn": knn}


class KnnOptions(TypedDict, total=False):
    """The options of :func:`knn_clause`."""

    num_candidates: int | None
    oversampling: float | None
    min_similarity: float | None
    filters: Mapping[str, Any] | None
    base64_vectors: bool


def knn_body(
    query_vector: Sequence[float] | NDArray[np.floating[Any]],
    *,
    top_k: int,
    return_embedding: bool = False,
    excludes_vectors: bool = True,
    **options: Unpack[KnnOptions],
) -> dict[str, Any]:
    """Return the body of a dense search that gets all of its hits in one request.

    :param return_embedding: Whether hits carry their vectors.
    :param excludes_vectors: Whether the server leaves vectors out of `_source`, or may, unless it is asked for them.
    :param options: See :func:`knn_clause`, as for the others.
    :raises IndexContractError: If a number is out of range.
    """
    return {
        "query": knn_clause(query_vector, top_k=top_k, **options),
        "size": top_k,
        "track_total_hits": False,
        **source_filter(return_embedding=return_embedding, excludes_vectors=excludes_vectors),
    }


def source_filter(*, return_embedding: bool, excludes_vectors: bool) -> dict[str, Any]:
    """Return the `_source` part of a body, which asks for vectors or keeps them away."""
    if return_embedding:
        return {"_source": {"exclude_vectors": False}} if excludes_vectors else {}
    return {"_source": {"excludes": [EMBEDDING]}}
