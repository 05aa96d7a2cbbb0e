"""Graphs that are built after loading, on the real server."""

import logging
import time
from contextlib import nullcontext
from unittest.mock import Mock

import numpy as np
import pytest
from elasticsearch import AuthorizationException

from es_ingest.indices import graph
from es_ingest.indices.builds import building
from es_ingest.indices.graph import await_graph, graph_pending
from es_ingest.indices.loading import begin_loading, end_loading
from es_ingest.indices.meta import read_meta
from es_ingest.indices.switch import take_over
from es_ingest.indices.verify import verify
from es_ingest.ingest import Ingester, RunOptions
from es_ingest.records import ReadError, Record
from es_ingest.stream.stopping import Stop
from medte_haystack.errors import IndexContractError
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
    def load(vectors, *, first=0, stop=None, **shape):
        records = (Record(f"r{n}", "", f"text {n}", {}, f"t:{n}", one) for n, one in enumerate(vectors, first))
        ingester = Ingester(client, index, None, vectors_by=MADE_BY, replicas=0, **shape)
        return ingester.run(records, options=RunOptions(ledger=tmp_path / "ledger"), stop=stop)

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
    assert not graph.graph_postponed(client, index)
    assert set(read_meta(client, index)) == {"medte"}


def test_what_comes_later_is_left_to_the_server(client, index, load, vectors, monkeypatch):
    load(vectors[:2000])
    while graph_pending(client, index):
        time.sleep(0.2)
    merge = Mock(side_effect=AssertionError("a live index"))
    monkeypatch.setattr(type(client.indices), "forcemerge", merge)
    for first in (2000, 3000, 3500):
        load(vectors[first : first + 500], first=first)
        assert not graph_pending(client, index)
    assert options(client, index).get("flat_index_threshold", -1) == -1
    assert set(read_meta(client, index)) == {"medte"}


def test_an_index_is_not_merged_for_ever(client, index, load, vectors, monkeypatch):
    load(vectors)
    assert await_graph(client, index)
    client.bulk(index=index, operations=[{"delete": {"_id": "r1#0"}}], refresh=True)  # leaves a second segment
    merges = []
    monkeypatch.setattr(type(client.indices), "forcemerge", lambda *_, **__: merges.append(1))
    graph.begin_graph(client, index)
    for _ in range(5):
        graph.resume_graph(client, index)
    assert len(merges) == graph._TRIES
    assert set(read_meta(client, index)) == {"medte"}


@pytest.mark.parametrize("how", ["asked to stop", "failed"])
def test_a_load_that_breaks_off_goes_on_without_graphs(client, index, load, vectors, monkeypatch, how):
    stop = Stop()

    def some(number):
        for n, one in enumerate(vectors[:number]):
            if n == 3000:
                if how == "failed":
                    raise ReadError("made", "broken")
                stop.ask()
            yield one

    with nullcontext() if how == "asked to stop" else pytest.raises(ReadError):
        load(some(NUMBER), stop=stop)
    assert graph.graph_postponed(client, index)
    assert graph_bytes(client, index) == 0
    settings = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    assert "index.refresh_interval" not in settings
    assert load(vectors).records
    assert client.count(index=index)["count"] == NUMBER
    assert await_graph(client, index)
    assert graph_bytes(client, index)


def test_an_alias_waits_for_the_graph(client, alias, vectors, tmp_path, monkeypatch):
    monkeypatch.setattr("es_ingest.indices.switch.move", lambda client, *_: seen.append(graph_bytes(client, name)))
    seen: list[int] = []
    with building(client, alias, alias=alias, origin="test", fresh=False, by_ledger=True) as build:
        name = build.index
        ingester = Ingester(client, name, None, vectors_by=MADE_BY, replicas=0, meta=build.to_meta())
        records = (Record(f"r{n}", "", f"text {n}", {}, f"t:{n}", one) for n, one in enumerate(vectors))
        ingester.run(records, options=RunOptions(ledger=tmp_path / "ledger"))
        take_over(client, build, verify(client, name, expected="not looked at"))
    assert len(seen) == 1
    assert seen[0] > 0


def test_shards_that_are_away_are_waited_for(client, index, load, vectors, monkeypatch):
    load(vectors)
    client.indices.close(index=index)
    monkeypatch.setattr(graph, "_AWAY", 1.0)
    client.indices.open(index=index, wait_for_active_shards=0)
    assert await_graph(client, index)
    segments = client.indices.segments(index=index)
    monkeypatch.setattr(
        type(client.indices), "segments", lambda *_, **__: {"indices": {}, "_shards": segments["_shards"]}
    )
    with pytest.raises(IndexContractError, match=f"shards of index '{index}' are not there"):
        graph._segments(client, index)


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
