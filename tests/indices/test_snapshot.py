"""Indices read page by page by whoever takes their time, on a real server that soon gives up what nobody asks for."""

import threading
import time
from itertools import chain

import pytest
from elasticsearch import ConnectionError as UnreachableError

from es_ingest.cluster.local import local_cluster
from es_ingest.cluster.server import Wish
from es_ingest.faults import Exit, reported
from es_ingest.indices.snapshot import SnapshotLostError, pages

_DOCUMENTS = 60


@pytest.fixture(scope="module")
def connection():
    """In the place of the server that all tests share, which looks once a minute for what has run out."""
    wish = Wish(heap="512m", port=0, settings={"search.keep_alive_interval": "200ms"})
    with local_cluster(None, wish, ephemeral=True, reason="a test's own") as own:
        yield own


@pytest.fixture
def filled(client, index):
    client.indices.create(index=index, settings={"number_of_shards": 3, "number_of_replicas": 0})
    lines = [line for n in range(_DOCUMENTS) for line in ({"index": {"_id": str(n)}}, {"number": n})]
    client.bulk(index=index, operations=lines)
    return index


def ids(some):
    return [hit["_id"] for hit in some]


def contexts(client):
    """How many states of indices the server keeps."""
    (node,) = client.nodes.stats(metric="indices", index_metric="search")["nodes"].values()
    return node["indices"]["search"]["open_contexts"]


def test_it_does_not_run_out_while_somebody_takes_their_time(client, filled):
    read = pages(client, filled, size=25, keep_alive=1, sort=["number"])
    first = next(read)
    client.delete(index=filled, id="59", refresh=True)
    client.index(index=filled, id="late", document={"number": 99}, refresh=True)
    time.sleep(4)
    assert ids(first) + [name for some in read for name in ids(some)] == [str(n) for n in range(_DOCUMENTS)]
    assert contexts(client) == 0
    assert "snapshot" not in {thread.name for thread in threading.enumerate()}


def test_it_runs_out_with_a_process_that_is_halted(client, filled, monkeypatch, capsys):
    read = pages(client, filled, size=25, keep_alive=1, sort=["number"])
    next(read)

    def halted(*_, **__):
        raise UnreachableError("halted")

    with monkeypatch.context() as patch:
        patch.setattr(type(client), "search", halted)
        time.sleep(3)
    with pytest.raises(BaseException, match="5") as caught, reported():
        for _ in read:
            pass
    assert caught.value.exit_code == Exit.CLUSTER
    said = capsys.readouterr().err
    assert said.startswith(f"error: the server has given up the state of index '{filled}'")
    assert "halted for more than 1 seconds" in said


def test_what_is_not_read_to_its_end_is_given_back(client, filled):
    read = pages(client, filled, size=10)
    next(read)
    assert contexts(client) == 3
    read.close()
    assert contexts(client) == 0


def test_one_shard(client, filled):
    found = [[name for some in pages(client, filled, size=7, shard=n) for name in ids(some)] for n in range(3)]
    assert all(found)
    assert sorted(chain(*found), key=int) == [str(n) for n in range(_DOCUMENTS)]


def test_a_shard_that_is_lost_is_not_left_out(client, filled):
    read = pages(client, filled, size=10, sort=["number"])
    next(read)
    (node,) = client.nodes.info(node_id="_local")["nodes"]
    client.cluster.reroute(commands=[{"cancel": {"index": filled, "shard": 1, "node": node, "allow_primary": True}}])
    client.cluster.health(index=filled, wait_for_status="green")
    with pytest.raises(SnapshotLostError, match="run the same command again"):
        list(read)
