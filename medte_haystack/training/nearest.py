"""Exact search: vectors compared with all others, block by block."""

import numpy as np
from numpy.typing import NDArray

_QUERIES = 512
_VECTORS = 32_768  # of a block: 64 MB of scores

Ids = NDArray[np.int32]
Scores = NDArray[np.float32]


def nearest(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int, device: str = "cpu"
) -> tuple[Ids, Scores]:
    """Return the nearest vectors of each query.

    :param queries: Unit vectors, shape (n, dim).
    :param vectors: Unit vectors, shape (m, dim); may be mapped from a file.
    :param k: How many, at most m.
    :param device: Where it is computed, e.g. ``cpu`` or ``cuda``.
    :returns: Row numbers and cosines, nearest first, both of shape (n, k).
    """
    ids = np.empty((len(queries), k), dtype=np.int32)
    scores = np.empty((len(queries), k), dtype=np.float32)
    for start in range(0, len(queries), _QUERIES):
        some = slice(start, start + _QUERIES)
        ids[some], scores[some] = _nearest(queries[some], vectors, k, device)
    return ids, scores


def _nearest(queries: NDArray[np.float32], vectors: NDArray[np.float32], k: int, device: str) -> tuple[Ids, Scores]:
    import torch

    asked = torch.tensor(queries, device=device)
    ids = torch.empty((len(queries), 0), dtype=torch.int64, device=device)
    scores = torch.empty((len(queries), 0), device=device)
    for start in range(0, len(vectors), _VECTORS):
        block = torch.tensor(vectors[start : start + _VECTORS], device=device)
        best, at = (asked @ block.T).topk(min(k, len(block)), dim=1)
        scores, ids = torch.cat([scores, best], dim=1), torch.cat([ids, at + start], dim=1)
        scores, kept = scores.topk(min(k, scores.shape[1]), dim=1)
        ids = ids.gather(1, kept)
    return ids.cpu().numpy().astype(np.int32), scores.cpu().numpy()
