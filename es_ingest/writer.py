"""Sends chunks to an index from a few threads, while the caller's thread goes on encoding."""

import logging
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from elasticsearch import Elasticsearch

from medte_haystack.errors import BulkWriteError, IndexContractError
from medte_haystack.index import BulkResult, Chunk, Failure, Operation, bulk, operation, run
from medte_haystack.index.contract import CHUNK_INDEX, PARENT_ID

logger = logging.getLogger(__name__)

_THREADS = 2
_IN_FLIGHT = 4  # bulk requests that may wait for the server before encoding waits too
_REPORTED = 20  # failures that are logged one by one; the rest is counted
_SWEPT_TOGETHER = 500  # documents whose surplus chunks one search looks for
_PAGE = 10_000


@dataclass(frozen=True, slots=True)
class PlacedChunk:
    """A chunk and where it comes from.

    :param chunk: The chunk.
    :param of: How many chunks its document has.
    :param position: Where its record is, for messages.
    """

    chunk: Chunk
    of: int
    position: str


class Writer:
    """Writes chunks in bulk requests; a context manager that leaves no request behind.

    :param client: The server.
    :param index: The index.
    :ivar result: What the server has answered so far.
    :ivar removed: Chunks removed because their document has fewer now.
    """

    def __init__(self, client: Elasticsearch, index: str) -> None:
        self.client = client
        self.index = index
        self.result = BulkResult()
        self.removed = 0
        self._batch: list[Operation] = []
        self._places: dict[str, PlacedChunk] = {}  # of the batch, by chunk id
        self._bytes = 0
        self._flying: deque[tuple[Future[BulkResult], dict[str, PlacedChunk]]] = deque()
        self._changed: dict[str, int] = {}  # documents that were there before -> chunks they have now
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="bulk")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()  # ends the pauses between tries
        self._pool.shutdown(wait=True, cancel_futures=True)

    def put(self, placed: PlacedChunk, body: Mapping[str, Any]) -> None:
        """Write one chunk, sooner or later; waits while the server is behind.

        :param placed: The chunk.
        :param body: Its `_source`.
        :raises BulkWriteError: If the server stays unreachable.
        """
        name = placed.chunk.id
        try:
            one = operation("index", name, body)
        except IndexContractError as error:
            failure = Failure(name, 400, type(error).__name__, str(error))
            self._account(BulkResult(failures=(failure,)), {name: placed})
            return
        if name in self._places or len(self._batch) == bulk.MAX_COUNT or self._bytes + one.size > bulk.MAX_BYTES:
            self._send()
        if any(name in places for _, places in self._flying):
            self._drain()  # the same document twice: the later one must win
        self._batch.append(one)
        self._places[name] = placed
        self._bytes += one.size

    def finish(self) -> None:
        """Write what is left, remove surplus chunks, and make everything visible to searches."""
        self._send()
        self._drain()
        self._sweep()
        self.client.indices.refresh(index=self.index)

    def _send(self) -> None:
        if not self._batch:
            return
        if len(self._flying) == _IN_FLIGHT:
            self._land()
        sent = self._pool.submit(run, self.client, bulk.send(self.index, self._batch), self._pause)
        self._flying.append((sent, self._places))
        self._batch, self._places, self._bytes = [], {}, 0

    def _drain(self) -> None:
        while self._flying:
            self._land()

    def _land(self) -> None:
        sent, places = self._flying.popleft()
        self._account(sent.result(), places)

    def _account(self, result: BulkResult, places: Mapping[str, PlacedChunk]) -> None:
        for number, failure in enumerate(result.failures, start=len(self.result.failures) + 1):
            reason = failure.reason or failure.type
            report(number, "%s: chunk %s refused: %s", places[failure.id].position, failure.id, reason)
        self.result += result
        if result.updated:
            self._changed |= {placed.chunk.parent_id: placed.of for placed in places.values()}
            if len(self._changed) >= _SWEPT_TOGETHER:
                self._drain()
                self._sweep()

    def _pause(self, seconds: float) -> None:
        if self._stopped.wait(seconds):
            raise BulkWriteError(f"writing to index {self.index!r} was given up", index=self.index)

    def _sweep(self) -> None:
        """Remove the chunks that documents had before and have no more."""
        if not self._changed:
            return
        changed, self._changed = self._changed, {}
        self.client.indices.refresh(index=self.index)
        names = list(changed)
        for start in range(0, len(names), _SWEPT_TOGETHER):
            surplus = [_surplus(parent, changed[parent]) for parent in names[start : start + _SWEPT_TOGETHER]]
            while found := self._ids({"bool": {"should": surplus}}):
                self.removed += run(
                    self.client, bulk.write(self.index, [Operation("delete", one) for one in found])
                ).written
                self.client.indices.refresh(index=self.index)

    def _ids(self, query: Mapping[str, Any]) -> list[str]:
        answer = self.client.search(index=self.index, query=query, size=_PAGE, source=False)
        return [hit["_id"] for hit in answer["hits"]["hits"]]


def _surplus(parent: str, chunks: int) -> dict[str, Any]:
    return {"bool": {"filter": [{"term": {PARENT_ID: parent}}, {"range": {CHUNK_INDEX: {"gte": chunks}}}]}}


def report(number: int, message: str, *values: str) -> None:
    """Log one of many failures; from a certain number on they are counted only.

    :param number: Which of its kind it is, from 1.
    """
    if number <= _REPORTED:
        logger.warning(message, *values)
    elif number == _REPORTED + 1:
        logger.warning("more of the same kind are counted, not named")
