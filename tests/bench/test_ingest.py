import numpy as np
import pytest

from bench.ingest import DIM, Field, measure


@pytest.mark.filterwarnings("ignore")  # of what is measured beside
def test_all_ways_write_the_same_documents(connection, tmp_path):
    vectors = np.random.default_rng(0).standard_normal((1_500, DIM), dtype=np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with connection.client(request_timeout=60) as client:
        rows = measure(Field(connection, client, vectors, tmp_path, "int8"), 1_500, 100, 1)
        client.indices.delete(index="bench")
    assert [row["documents"] for row in rows] == [100, 100, 100, 1_500, 1_500]
    assert rows[0]["searchable_ratio"] == rows[0]["at_rest_ratio"] == 1.0
    assert all(row["at_rest_seconds"] >= row["searchable_seconds"] for row in rows)
    assert rows[-1]["segments"] == [1], "one graph of all"
