"""A server that is overwhelmed, and one that is killed in the middle of a run."""

import time
from contextlib import ExitStack
from dataclasses import replace
from urllib.parse import urlsplit

import psutil
import pytest

from es_ingest.cluster.local import find, local_cluster
from es_ingest.cluster.server import Wish

RECORDS = 20_000


class Server:
    """A server that can be killed, and started again on the same data and port."""

    def __init__(self, data, **settings):
        self._data = data
        self._wish = Wish(heap="512m", port=0, settings=settings)
        self._running = ExitStack()

    def start(self):
        cluster = local_cluster(self._data, self._wish, ephemeral=False, reason="a test's own")
        self.connection = self._running.enter_context(cluster)
        self._wish = replace(self._wish, port=urlsplit(self.connection.url).port)

    def kill(self):
        _, guard = find(self._data)
        processes = psutil.Process(guard.pid).children(recursive=True)
        for process in processes:
            process.kill()
        psutil.wait_procs(processes)  # so that the port is free
        self.stop()

    def stop(self):
        self._running.close()


@pytest.fixture(scope="module")
def server(folder):
    """One thread that writes, and room for one request before it."""
    own = Server(folder / "server", **{"thread_pool.write.size": 1, "thread_pool.write.queue_size": 1})
    own.start()
    yield own
    own.stop()


@pytest.fixture(scope="module")
def connection(server):
    """In the place of the server that all tests share."""
    return server.connection


def test_what_a_full_queue_rejects_is_sent_again(task, finish, check_whole):
    wanted = task(RECORDS)
    summary = finish(wanted)
    assert summary["retried"] > 0
    assert (summary["read"], summary["records"], summary["created"]) == (RECORDS, RECORDS, RECORDS)
    assert (summary["updated"], summary["failed"], summary["dead_letters"]) == (0, 0, None)
    check_whole(wanted)


def test_a_run_waits_for_a_killed_server(server, task, start, finish, check_whole, index):
    wanted = task(RECORDS, pace=5_000)
    process = start(wanted)
    for away in (0, 15):  # seconds
        with server.connection.client() as client:
            while _indexed(client, index) < RECORDS / 4:
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)
        server.kill()
        time.sleep(away)
        assert process.poll() is None, process.stderr.read()
        server.start()
    summary = finish(wanted, process)
    assert (summary["read"], summary["records"], summary["written"]) == (RECORDS, RECORDS, RECORDS)
    assert RECORDS / 2 <= summary["created"] == RECORDS - summary["updated"]
    assert (summary["failed"], summary["unchanged"], summary["interrupted"]) == (0, 0, False)
    check_whole(wanted)


def _indexed(client, index):
    """Return how many documents the server has taken since it started, visible or not."""
    stats = client.options(ignore_status=404).indices.stats(index=index, metric="indexing")
    return stats["_all"]["primaries"].get("indexing", {}).get("index_total", 0) if "_all" in stats else 0
