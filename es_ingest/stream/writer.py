"""Sends chunks to an index from a few threads, and enters in the ledger what the server has acknowledged."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from elasticsearch import Elasticsearch

from es_ingest.stream.concurrency import Concurrency
from es_ingest.stream.entries import BulkRequest, Entry
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.settling import Written, settle
from es_ingest.stream.stopping import Stop
from medte_haystack.errors import IndexContractError
from medte_haystack.index import BulkResult, Chunk, Failure, Operation, bulk, operation, run
from medte_haystack.index.contract import chunk_id

logger = logging.getLogger(__name__)

_MOST = 8  # requests at a time
_WAITING = 2  # filled requests that may wait for their turn


class Writer:
    """Writes chunks in bulk requests; a context manager that leaves no request behind.

    :param client: The server.
    :param index: The index.
    :param ledger: Where acknowledged records are entered.
    :param dead: Takes an entry that was refused; called under a lock, from any thread.
    :param backoff: How long to wait for a server that is busy, blocked or away.
    :param stop: Once it asks for the end, a server that does not take what is under way is waited for a little only.
    :ivar written: What the server has answered so far.
    :ivar concurrency: How many requests go at a time.
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        ledger: Ledger,
        dead: Callable[[Entry], None],
        backoff: bulk.Backoff,
        stop: Stop,
    ) -> None:
        self.written = Written()
        self.concurrency = Concurrency(_MOST)
        self._client = client
        self._index = index
        self._ledger = ledger
        self._dead = dead
        self._backoff = backoff
        self._stop = stop
        self._filling = BulkRequest()
        self._waiting = 0  # requests that are filled and not sent
        self._open = 0  # requests that are filled and not answered
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._pool = ThreadPoolExecutor(_MOST, thread_name_prefix="bulk")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()  # ends the pauses between tries
        self._pool.shutdown(wait=True, cancel_futures=True)

    def put(self, entry: Entry, chunk: Chunk, body: Mapping[str, Any]) -> None:
        """Write one chunk, sooner or later; waits while the server is behind. An entry's chunks come in order.

        :param body: Its `_source`.
        :raises BulkWriteError: If the server stays unreachable, busy or blocked.
        :raises LedgerError: If the ledger cannot be written.
        """
        if entry.earlier is not None:
            if not entry.earlier.settled:
                self.finish()
            entry.earlier = None
        try:
            self._add(entry, operation("index", chunk.id, body))
        except IndexContractError as error:
            failure = Failure(chunk.id, 400, "contract", str(error))
            self._settle([Operation("index", chunk.id)], [entry], BulkResult(failures=(failure,)))
        if chunk.index == entry.chunks - 1:
            for number in entry.surplus:
                self._add(entry, Operation("delete", chunk_id(entry.record.id, number)))

    def finish(self) -> None:
        """Send what is left and wait until everything that was sent is answered."""
        self._send()
        with self._changed:
            self._changed.wait_for(lambda: self._failure or not self._open)
        self._check()

    def _add(self, entry: Entry, one: Operation) -> None:
        full = len(self._filling.operations) == bulk.MAX_COUNT or self._filling.size + one.size > bulk.MAX_BYTES
        if full and self._filling.operations:
            self._send()
        self._filling.add(entry, one)

    def _send(self) -> None:
        self._check()
        request, self._filling = self._filling, BulkRequest()
        if not request.operations:
            return
        with self._changed:
            self._changed.wait_for(lambda: self._failure or self._waiting < _WAITING)
            self._waiting += 1
            self._open += 1
        self._check()
        self._pool.submit(self._carry_out, request)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _carry_out(self, request: BulkRequest) -> None:
        try:
            with self.concurrency as gate:
                self._count(waiting=-1)
                pause = self._stop.patience(self._index, self._stopped)
                pause(0)  # nothing new after the end was called for
                request.note = self._ledger.sending((entry.record.id, entry.most) for entry in request.entries)
                started = time.perf_counter()
                steps = bulk.send(self._index, request.operations, backoff=self._backoff, on_rejection=gate.rejected)
                result = run(self._client, steps, pause)
                gate.done(time.perf_counter() - started, request.size)
            self._settle(request.operations, request.owners, result)
        except Exception as error:  # noqa: BLE001  raised in the thread that writes
            with self._changed:
                self._failure = self._failure or error
        finally:
            self._count(open=-1)

    def _count(self, *, waiting: int = 0, open: int = 0) -> None:  # noqa: A002
        with self._changed:
            self._waiting += waiting
            self._open += open
            self._changed.notify_all()

    def _settle(self, operations: Sequence[Operation], owners: Sequence[Entry], result: BulkResult) -> None:
        """Take note of the answers to operations."""
        with self._changed:
            self.written.add(result)
            if result.failures:
                refused = {failure.id: failure.reason or failure.type for failure in result.failures}
                for one, entry in zip(operations, owners, strict=True):
                    if one.id in refused:
                        entry.reasons += (refused[one.id],)
            complete = []
            for entry in owners:
                entry.unanswered -= 1
                if not entry.unanswered:
                    complete.append(entry)
            if complete:
                self._complete(complete)

    def _complete(self, entries: Sequence[Entry]) -> None:
        notes = []
        for entry in entries:
            for request in entry.requests:
                request.unsettled -= 1
                if not request.unsettled:
                    notes.append(request.note)
            entry.requests = ()
        settle(entries, notes, self._ledger, self.written, self._dead)
