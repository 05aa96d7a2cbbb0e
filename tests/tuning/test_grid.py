"""Which settings are measured; no server."""

import pytest

from es_ingest.tuning.grid import Setting, default_candidates, grid, setting_today


def test_every_combination_that_differs():
    assert grid(["int8", "hnsw", "flat"], [3, 0], [100, 20, 20], 10) == [
        Setting("int8", 0, 20),
        Setting("int8", 0, 100),
        Setting("int8", 3, 100),  # with 20 candidates the server would take 30
        Setting("hnsw", 0, 20),
        Setting("hnsw", 0, 100),
        Setting("flat", 0, 100),
    ]


@pytest.mark.parametrize(
    ("top_k", "candidates"),
    [(1, [2, 5, 10, 20, 50, 100]), (10, [20, 50, 100, 200, 500]), (5000, [10_000]), (10_000, [10_000])],
)
def test_candidates_grow_with_the_hits_up_to_what_the_server_takes(top_k, candidates):
    assert default_candidates(top_k) == candidates


def test_what_is_asked_of_the_server():
    assert Setting("bbq", 3, 50).knn(10) == {"k": 10, "num_candidates": 50, "rescore_vector": {"oversample": 3}}
    assert Setting("bbq", 0, 50).knn(10)["rescore_vector"] == {"oversample": 0}  # else the index's own 3 would count
    assert Setting("hnsw", 0, 50).knn(10) == {"k": 10, "num_candidates": 50}


def test_what_a_search_gets_today():
    bbq = {"index_options": {"type": "bbq_hnsw", "rescore_vector": {"oversample": 3.0}}}
    assert setting_today("bbq", bbq, 10) == Setting("bbq", 3, 100)
    assert setting_today("int8", {"index_options": {"type": "int8_hnsw"}}, 20) == Setting("int8", 2, 200)
    chosen = {"index_options": {"type": "int8_hnsw", "rescore_vector": {"oversample": 0}}}
    assert setting_today("int8", chosen, 20) == Setting("int8", 0, 200)
    assert setting_today("hnsw", {"index_options": {"type": "hnsw"}}, 20) == Setting("hnsw", 0, 200)
