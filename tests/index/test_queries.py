"""Bodies of searches; no server."""

import base64

import numpy as np
import pytest

from medte_haystack.errors import IndexContractError
from medte_haystack.index import default_num_candidates, knn_body

VECTOR = np.array([0.6, 0.8])


def test_the_whole_body():
    assert knn_body(VECTOR, top_k=20, filters={"term": {"year": 2020}}) == {
        "query": {
            "knn": {
                "field": "embedding",
                "query_vector": np.float32(VECTOR).tolist(),
                "k": 20,
                "num_candidates": 200,
                "filter": {"term": {"year": 2020}},
            }
        },
        "size": 20,
        "track_total_hits": False,
        "_source": {"excludes": ["embedding"]},
    }


@pytest.mark.parametrize(("excludes", "expected"), [(True, {"exclude_vectors": False}), (False, None)])
def test_vectors_are_asked_for_where_the_server_leaves_them_out(excludes, expected):
    body = knn_body(VECTOR, top_k=1, return_embedding=True, excludes_vectors=excludes)
    assert body.get("_source") == expected


def test_no_filter_no_clause():
    assert "filter" not in knn_body(VECTOR, top_k=1, filters={})["query"]["knn"]


@pytest.mark.parametrize(("top_k", "expected"), [(1, 100), (10, 100), (11, 110), (1000, 10_000), (10_000, 10_000)])
def test_default_num_candidates(top_k, expected):
    assert default_num_candidates(top_k) == expected
    assert knn_body(VECTOR, top_k=top_k)["query"]["knn"]["num_candidates"] == expected


@pytest.mark.parametrize("top_k", [0, -1, 10_001])
def test_top_k_out_of_range(top_k):
    with pytest.raises(IndexContractError, match=f"top_k is {top_k}; Elasticsearch takes 1 to 10000") as caught:
        knn_body(VECTOR, top_k=top_k)
    assert caught.value.top_k == top_k


@pytest.mark.parametrize("num_candidates", [0, 9, 10_001])
def test_num_candidates_out_of_range(num_candidates):
    with pytest.raises(IndexContractError, match=f"num_candidates is {num_candidates}; .* between 10 and 10000"):
        knn_body(VECTOR, top_k=10, num_candidates=num_candidates)


@pytest.mark.parametrize("num_candidates", [10, 10_000])
def test_num_candidates_at_its_limits(num_candidates):
    assert knn_body(VECTOR, top_k=10, num_candidates=num_candidates)["query"]["knn"]["num_candidates"] == num_candidates


@pytest.mark.parametrize("oversampling", [0, 1, 2.5, 10])
def test_oversampling(oversampling):
    knn = knn_body(VECTOR, top_k=10, oversampling=oversampling)["query"]["knn"]
    assert knn["rescore_vector"] == {"oversample": oversampling}
    assert "rescore_vector" not in knn_body(VECTOR, top_k=10)["query"]["knn"]


@pytest.mark.parametrize("oversampling", [-1, 0.5, 10.1, float("nan")])
def test_oversampling_out_of_range(oversampling):
    with pytest.raises(IndexContractError, match=f"oversampling is {oversampling:g}; .* 0 for none, or 1 to 10"):
        knn_body(VECTOR, top_k=10, oversampling=oversampling)


def test_base64_is_big_endian_float32():
    told = knn_body(VECTOR, top_k=1, base64_vectors=True)["query"]["knn"]["query_vector"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(told), dtype=">f4"), np.float32(VECTOR))


@pytest.mark.parametrize("min_similarity", [-1, 0.0, 1])
def test_min_similarity(min_similarity):
    assert knn_body(VECTOR, top_k=1, min_similarity=min_similarity)["query"]["knn"]["similarity"] == min_similarity


@pytest.mark.parametrize("min_similarity", [-1.1, 1.5, float("nan")])
def test_min_similarity_out_of_range(min_similarity):
    with pytest.raises(IndexContractError, match="a cosine lies between -1 and 1"):
        knn_body(VECTOR, top_k=1, min_similarity=min_similarity)
