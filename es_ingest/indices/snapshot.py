"""Reads an index of any size page by page, as it was when the reading began."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from elasticsearch import ApiError, Elasticsearch, NotFoundError, TransportError

from es_ingest.cluster import ClusterError

logger = logging.getLogger(__name__)

KEEP_ALIVE = 300  # seconds for which a server keeps what a process that was killed has left
_PATIENCE = 5.0  # seconds


class SnapshotLostError(ClusterError):
    """The server has given up the state of an index that is being read."""


def pages(
    client: Elasticsearch,
    index: str,
    *,
    size: int,
    refresh: bool = True,
    shard: int | None = None,
    keep_alive: int = KEEP_ALIVE,
    **search: Any,
) -> Iterator[list[dict[str, Any]]]:
    """Yield the hits of a search in pages. Whoever takes them may take any time.

    :param refresh: See what was written before it began; where an index is only read, as searches see it.
    :param size: Most hits of a page, at most 10,000.
    :param shard: Read this shard alone.
    :param keep_alive: Seconds for which the server keeps the state without being asked for it: after a kill, say.
    :param search: What `Elasticsearch.search` takes beside index and paging; without `sort` the order is the server's.
    :raises SnapshotLostError: If the server was restarted or lost a shard, or this process was halted for too long.
    """
    if refresh:
        client.indices.refresh(index=index)
    after: list[Any] | None = None
    with _kept(_Snapshot(client, index, shard, keep_alive)) as snapshot:
        while True:
            hits = snapshot.search(**{"sort": ["_shard_doc"], **search}, size=size, search_after=after)
            if hits:
                yield hits
            if len(hits) < size:
                return
            after = hits[-1]["sort"]


class _Snapshot:
    """A state of an index, kept on the server until it is not asked for long enough."""

    def __init__(self, client: Elasticsearch, index: str, shard: int | None, keep_alive: int) -> None:
        preference = None if shard is None else f"_shards:{shard}"
        self.keep_alive = keep_alive
        self._client = client
        self._index = index
        self._id = client.open_point_in_time(index=index, keep_alive=f"{keep_alive}s", preference=preference)["id"]
        self._lock = threading.Lock()  # every answer may bring another id

    def search(self, **body: Any) -> list[dict[str, Any]]:
        with self._lock:
            try:
                answer = self._client.search(
                    **body,
                    pit={"id": self._id, "keep_alive": f"{self.keep_alive}s"},
                    track_total_hits=False,
                    allow_partial_search_results=False,  # else a shard that is gone would be left out without a word
                )
            except NotFoundError as error:
                raise SnapshotLostError(
                    f"the server has given up the state of index {self._index!r} that was being read: it was restarted,"
                    f" or this process was halted for more than {self.keep_alive} seconds; run the same command again"
                ) from error
            self._id = answer["pit_id"]
        hits: list[dict[str, Any]] = answer["hits"]["hits"]
        return hits

    def close(self) -> None:
        with self._lock, suppress(ApiError, TransportError):  # it ends of itself
            self._client.close_point_in_time(id=self._id)


@contextmanager
def _kept(snapshot: _Snapshot) -> Iterator[_Snapshot]:
    """Ask for a snapshot now and then for the time of a ``with`` block, so that it does not run out."""
    closed = threading.Event()

    def ask() -> None:
        while not closed.wait(snapshot.keep_alive / 3):
            try:
                snapshot.search(size=0, terminate_after=1)
            except (ApiError, TransportError, ClusterError) as error:  # the reading itself will tell
                logger.debug("a snapshot could not be asked for: %s", type(error).__name__)

    thread = threading.Thread(target=ask, name="snapshot", daemon=True)
    thread.start()
    try:
        yield snapshot
    finally:
        closed.set()
        thread.join(_PATIENCE)
        snapshot.close()
