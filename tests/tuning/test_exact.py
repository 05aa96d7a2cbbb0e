"""Brute force in blocks, and recall where vectors repeat."""

import numpy as np
import pytest

from es_ingest.tuning import exact

from .conftest import random_vectors


@pytest.mark.parametrize("at_once", [1, 7 * 20, 2**22])
@pytest.mark.parametrize("k", [1, 10, 500])
def test_blocks_find_what_a_whole_sort_finds(monkeypatch, at_once, k):
    monkeypatch.setattr(exact, "_SCORES_AT_ONCE", at_once)
    vectors, queries = random_vectors(500), random_vectors(20, seed=1)
    scores = queries.astype(np.float64) @ vectors.T.astype(np.float64)
    rows, found = exact.nearest(queries, vectors, k)
    assert rows.tolist() == np.argsort(-scores, axis=1)[:, :k].tolist()
    assert found == pytest.approx(-np.sort(-scores, axis=1)[:, :k], abs=1e-6)


def test_recall_counts_the_nearest():
    vectors, query = random_vectors(200), random_vectors(1, seed=1)[0]
    (rows,), (scores,) = exact.nearest(query[None], vectors, 10)
    far = int(np.argmin(vectors @ query))
    assert exact.recall(rows.tolist(), query, vectors, scores[-1], 10) == 1.0
    assert exact.recall([*rows[1:].tolist(), far], query, vectors, scores[-1], 10) == 0.9
    assert exact.recall(rows[:4].tolist(), query, vectors, scores[-1], 10) == 0.4
    assert exact.recall([], query, vectors, scores[-1], 10) == 0.0


def test_of_vectors_that_repeat_any_will_do():
    vectors = np.vstack([np.repeat(random_vectors(1, seed=2), 50, axis=0), random_vectors(50)])
    query = vectors[0]
    _, scores = exact.nearest(query[None], vectors, 10)
    assert exact.recall(list(range(40, 50)), query, vectors, scores[0, -1], 10) == 1.0
    assert exact.recall(list(range(45, 55)), query, vectors, scores[0, -1], 10) == 0.5
