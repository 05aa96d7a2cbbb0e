"""Exact search by brute force, and recall against it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SCORES_AT_ONCE = 2**22  # 16 MB of float32
_SAME = 1e-6  # two float32 sums of the same products differ by less


def nearest(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Find the nearest vectors of every query; the best so far are merged with one block of vectors at a time.

    :param queries: Unit vectors, float32, shape (q, dim).
    :param vectors: Unit vectors, float32, shape (n, dim), n >= k.
    :param k: How many a query.
    :returns: Rows of `vectors` and their cosines, nearest first, each of shape (q, k).
    """
    block = max(1, _SCORES_AT_ONCE // max(1, len(queries)))
    rows = np.empty((len(queries), 0), dtype=np.intp)
    scores = np.empty((len(queries), 0), dtype=np.float32)
    for start in range(0, len(vectors), block):
        found = queries @ vectors[start : start + block].T
        added = np.arange(start, start + found.shape[1])
        rows = np.hstack([rows, np.broadcast_to(added, found.shape)])
        scores = np.hstack([scores, found])
        if scores.shape[1] > k:
            best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
            rows, scores = np.take_along_axis(rows, best, axis=1), np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1)


def recall(
    found: Sequence[int], query: NDArray[np.float32], vectors: NDArray[np.float32], least: float, k: int
) -> float:
    """Return the share of the k nearest that a search found.

    A hit counts if it is as near as the k-th nearest: of equally near vectors, as of texts that repeat, any will do.

    :param found: Rows of `vectors`, no more than k.
    :param query: Shape (dim,).
    :param least: Cosine of the k-th nearest.
    """
    near = vectors[list(found)] @ query >= least - _SAME
    return int(np.count_nonzero(near)) / k
