"""What is searched, and with what vectors; no server."""

import numpy as np
import pytest

from medte_haystack.errors import IndexContractError
from medte_haystack.index import IndexInfo, Server
from medte_haystack.retrieval import Target, checked_vector, neighbours


def info(similarity="cosine", **fields):
    return IndexInfo("notes", 2, similarity, "hnsw", None, fields)


@pytest.mark.parametrize(
    ("similarity", "vector", "says"),
    [
        ("cosine", [0.0, 0.0], "is zero, which has no cosine"),
        ("dot_product", [0.0, 0.0], "has length 0"),
        ("dot_product", [float("nan"), 0.0], "has length nan"),
        ("cosine", [float("nan"), 1.0], "no finite numbers"),
        ("l2_norm", [float("inf"), 1.0], "no finite numbers"),
        ("cosine", [1e39, 1.0], "no finite numbers"),  # of more than a float32 holds
        ("cosine", [1.0], "has 1 dimensions, index 'notes' has 2"),
        ("cosine", [[1.0, 0.0]], "has 1 x 2 dimensions"),
    ],
)
def test_vectors_that_cannot_be_compared(similarity, vector, says):
    with np.errstate(over="ignore"), pytest.raises(IndexContractError, match=says):
        checked_vector(vector, info(similarity))


@pytest.mark.parametrize("similarity", ["l2_norm", "max_inner_product"])
def test_zero_is_a_place_like_any_other_where_lengths_count(similarity):
    assert checked_vector([0.0, 0.0], info(similarity)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("fields", [{}, {"parent_id": "keyword"}, {"parent_id": "text", "chunk_index": "integer"}])
def test_no_neighbours_where_chunks_are_not_known_by_their_document(fields):
    steps = neighbours(Target("notes", info(**fields), Server(None)), [], 1, None)
    with pytest.raises(IndexContractError, match="'notes' lacks the keyword field 'parent_id' or 'chunk_index'"):
        next(steps)
