"""Graphs that are built after loading, on the real server."""

import logging

import numpy as np
import pytest
from elasticsearch import AuthorizationException

from es_ingest.indices import graph
from es_ingest.indices.graph import await_graph, begin_graph, graph_pending
from es_ingest.indices.loading import begin_loading, end_loading
from es_ingest.indices.meta import read_meta
from es_ingest.ingest import Ingester, RunOptions
from es_ingest.records import Record
from medte_haystack.index import Fingerprint, Server, detect_server, run

DIM = 64
MADE_BY = Fingerprint("random", DIM, "mean", max_tokens=256, analyzer="standard")
NUMBER = 4000  # more than the thousand for which the server builds no graph


@pytest.fixture(autouse=True)
def _postponing_server(client):
    if not run(client, detect_server()).postpones_graphs:
        pytest.skip("this server builds graphs as it pleases")


@pytest.fixture(scope="module")
def vectors():
    found = np.random.default_rng(0).standard_normal((NUMBER, DIM)).astype(np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.fixture
def load(client, index, tmp_path):
    def load(vectors, *, first=0, **shape):
        records = (Record(f"r{n}", "", f"text {n}", {}, f"t:{n}", one) for n, one in enumerate(vectors, first))
        ingester = Ingester(client, index, None, vectors_by=MADE_BY, replicas=0, **shape)
        return ingester.run(records, options=RunOptions(ledger=tmp_path / "ledger"))

    return load


def graph_bytes(client, index):
    stats = client.indices.stats(index=index, metric="dense_vector")
    return stats["_all"]["primaries"]["dense_vector"]["off_heap"]["total_vex_size_bytes"]


def options(client, index):
    (found,) = client.indices.get_mapping(index=index).values()
    return found["mappings"]["properties"]["embedding"]["index_options"]


@pytest.mark.parametrize(("quantisation", "shards"), [("int8", 1), ("bbq", 1), ("hnsw", 3)])
def test_one_graph_is_built_of_all_vectors(client, index, load, vectors, quantisation, shards):
    assert load(vectors, quantisation=quantisation, shards=shards).records == NUMBER
    assert await_graph(client, index)
    assert len(graph._segments(client, index)) == shards
    assert all(len(sizes) == 1 for sizes in graph._segments(client, index))
    assert graph_bytes(client, index) > NUMBER * 16, "several neighbours each"
    assert options(client, index).get("flat_index_threshold", -1) == -1
    assert set(read_meta(client, index)) == {"medte"}
    assert client.count(index=index)["count"] == NUMBER
    found = client.search(
        index=index, knn={"field": "embedding", "query_vector": vectors[7].tolist(), "k": 5, "num_candidates": 50}
    )
    assert found["hits"]["hits"][0]["_id"] == "r7#0"


def test_a_load_builds_no_graph_on_its_way(client, index, load, vectors, monkeypatch):
    monkeypatch.setattr("es_ingest.indices.loading.begin_graph", lambda client, index: False)
    load(vectors)
    assert options(client, index)["flat_index_threshold"] == 20_000
    assert graph_bytes(client, index) == 0


def test_the_first_thousand_need_none(client, index, load, vectors):
    load(vectors[:900])
    assert not graph_pending(client, index)
    assert set(read_meta(client, index)) == {"medte"}
    assert options(client, index).get("flat_index_threshold", -1) == -1


def test_a_flat_index_has_none(client, index, load, vectors):
    load(vectors, quantisation="flat")
    assert options(client, index) == {"type": "flat"}
    assert not begin_graph(client, index)


def test_what_comes_later_is_left_to_the_server(client, index, load, vectors):
    load(vectors[:2000])
    assert await_graph(client, index)
    load(vectors[2000:], first=2000)
    assert not graph_pending(client, index)
    assert options(client, index).get("flat_index_threshold", -1) == -1


def test_a_load_that_was_killed_has_its_graph_from_the_next_run(client, index, load, vectors):
    load([])
    begin_loading(client, index, new=True)  # as a killed run leaves it
    load(vectors)
    assert await_graph(client, index)
    assert graph_bytes(client, index)


def test_a_graph_that_the_server_has_forgotten_is_begun_again(client, index, load, vectors, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(graph, "_give_each_shard_a_segment", lambda *_: None)  # so the merge finds nothing to do
        load(vectors)
    client.options(ignore_status=404).delete(index=index, id="none", refresh=True)
    assert graph_pending(client, index)
    assert not graph_bytes(client, index)
    monkeypatch.setattr(graph, "_PATIENCE", 1.0)
    assert await_graph(client, index)
    assert graph_bytes(client, index)


def test_the_next_run_begins_again_too(client, index, load, vectors, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(graph, "_give_each_shard_a_segment", lambda *_: None)
        load(vectors)
    client.options(ignore_status=404).delete(index=index, id="none", refresh=True)
    assert graph_pending(client, index)
    load(vectors[:1])
    assert await_graph(client, index)
    assert graph_bytes(client, index)


def test_who_may_not_merge_is_told(client, index, load, vectors, monkeypatch, caplog):
    caplog.set_level(logging.WARNING)

    def refuse(*_, **__):
        raise AuthorizationException("no", _Meta(), {"error": {"type": "security_exception", "reason": "not allowed"}})

    monkeypatch.setattr(type(client.indices), "forcemerge", refuse)
    load(vectors)
    assert "has no graph of its vectors" in caplog.text
    assert client.count(index=index)["count"] == NUMBER
    settings = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    assert "index.refresh_interval" not in settings, "it is loaded all the same"


class _Meta:
    status = 403


def test_older_servers_are_left_alone(client, index, load, vectors, monkeypatch):
    monkeypatch.setattr(Server, "postpones_graphs", False)
    load(vectors)
    assert graph_bytes(client, index)
    assert set(read_meta(client, index)) == {"medte"}
    assert not end_loading(client, index)
