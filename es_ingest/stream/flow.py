"""The stream of one run: read -> compare with the ledger -> split -> encode -> bulk, in bounded memory.

The first three run in one thread, the encoder in another, and bulk requests in several: the encoder waits for neither.
"""

import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_ingest.progress import Shown
from es_ingest.records import Malformed, ReadError, Record
from es_ingest.stream.ahead import ahead
from es_ingest.stream.content import content_hash
from es_ingest.stream.dead_letters import DeadLetters
from es_ingest.stream.entries import Entry
from es_ingest.stream.ledger import Known, Ledger
from es_ingest.stream.making import Making
from es_ingest.stream.settling import Written
from es_ingest.stream.stopping import Stop
from es_ingest.stream.summary import Summary
from es_ingest.stream.writer import Writer
from medte_haystack.encoder import Encoder
from medte_haystack.errors import IndexContractError
from medte_haystack.index import Chunk, bulk, check_vector, chunk_id, source, vector_json
from medte_haystack.index.contract import check_id

logger = logging.getLogger(__name__)

_TOGETHER = 2048  # records that are compared with the ledger, and split, in one go
_CHARACTERS_TOGETHER = 1 << 18
_GROUPS_AHEAD = 8  # together more than the encoder takes in one go: it reads on while these are being made
_MADE_TOGETHER = 64  # vectors that are handed on in one go
_MADE_AHEAD = 64
_OBJECTS = 50_000  # a few megabytes
_REPORTED = 20  # failures that are logged one by one; the rest is counted


Placed = tuple[Entry, Chunk]
Made = tuple[Placed, NDArray[np.float32]]


class Stream:
    """One run's stream.

    :param making: How vectors are made.
    :param ledger: What has been acknowledged before, and will be.
    :param dead: Takes what does not get into the index.
    :param summary: Is kept up to date.
    :param progress: Is told the totals.
    :param watch: Is shown the summary now and then.
    :param stop: Ends the stream early: what has been handed to the encoder is still written.
    """

    def __init__(
        self,
        making: Making,
        ledger: Ledger,
        dead: DeadLetters,
        summary: Summary,
        progress: Shown | None = None,
        stop: Stop | None = None,
        watch: Callable[[Summary], None] | None = None,
    ) -> None:
        self._watch = watch
        self._started = time.perf_counter()
        self._waited = 0.0  # the encoder, for what comes before it and after it
        self._writer: Writer | None = None
        self._making = making
        self._stop = stop or Stop()
        self._ledger = ledger
        self._dead = dead
        self._summary = summary
        self._progress = progress
        self._encoded = self._unfit = 0  # records
        self._before = making.encoder.stats if making.encoder else None
        self._preparing: dict[str, Entry] = {}  # not settled: the ledger does not know them yet
        self._sweep_at = _TOGETHER
        self.unsettled = ledger.unsettled()
        """Records that may be there in part: of an interrupted run and not met by this one, or refused by the server;
        and how many chunks of each at most."""

    def write(
        self,
        items: Iterable[Record | Malformed],
        client: Elasticsearch,
        index: str,
        backoff: bulk.Backoff,
        *,
        base64_vectors: bool,
    ) -> None:
        """Write all records; if a source breaks off, what came before.

        :raises BulkWriteError: If the server stays unreachable, busy or blocked.
        :raises ReadError: If a source cannot be read.
        """
        self._writer = writer = Writer(client, index, self._ledger, self._refused, backoff, self._stop)
        try:
            with _seldom_collected(), writer:
                try:
                    with (
                        ahead(self._prepare(items), _GROUPS_AHEAD, "read", self._stop) as groups,
                        self._with_vectors(groups) as made,
                    ):
                        for some in made:
                            for (entry, chunk), vector in some:
                                body = source(chunk, vector_json(vector, base64_vectors=base64_vectors))
                                writer.put(entry, chunk, body)
                            self._encoded += sum(chunk.index == 0 for (_, chunk), _ in some)
                            self._tell()
                    writer.finish()
                except ReadError:
                    writer.finish()
                    raise
        finally:  # what was under way when something failed has been answered by now
            self._summary.interrupted = self._stop.asked
            self._take_own(writer)
            self._summary.removed += writer.written.removed

    def _take(self, done: Written, requests_at_once: int) -> None:
        """Take over into the summary what the server has answered."""
        summary = self._summary
        summary.created, summary.updated, summary.written = done.created, done.updated, done.created + done.updated
        summary.records, summary.refused, summary.retried = done.records, done.refused + self._unfit, done.retried
        summary.failed = summary.malformed + summary.refused
        summary.requests_at_once = requests_at_once
        summary.seconds = time.perf_counter() - self._started

    def _take_own(self, writer: Writer) -> None:
        self._take(writer.written, writer.concurrency.highest)
        self._summary.encoder_waited = self._waited

    def _prepare(self, items: Iterable[Record | Malformed]) -> Iterator[list[Placed]]:
        """Leave out what the index has, and split the rest; runs in a thread of its own."""
        for group in self._groups(items):
            yield list(self._split(self._entries(group)))

    def _groups(self, items: Iterable[Record | Malformed]) -> Iterator[list[Record]]:
        group: list[Record] = []
        ids: set[str] = set()
        characters = 0
        try:
            for item in items:
                self._summary.read += 1
                if isinstance(item, Malformed):
                    self._malformed(item)
                    continue
                full = len(group) == _TOGETHER or characters > _CHARACTERS_TOGETHER
                if full or item.id in ids:  # a later version of a record is compared with the earlier one
                    yield group
                    group, ids, characters = [], set(), 0
                group.append(item)
                ids.add(item.id)
                characters += len(item.text) + (0 if item.vector is None else item.vector.size)
        except ReadError:
            yield group
            raise
        yield group

    def _malformed(self, item: Malformed) -> None:
        self._summary.malformed += 1
        self._summary.gaps += item.gap
        _report(self._summary.malformed, "%s: not a record: %s", item.position, item.reason)
        self._dead.put(item, item.reason)

    def _refused(self, entry: Entry) -> None:
        if entry.partly_there:
            self.unsettled[entry.record.id] = entry.most
        self._refuse(entry.record, "; ".join(dict.fromkeys(entry.reasons)))

    def _refuse(self, record: Record, reason: str) -> None:
        _report(self._dead.count + 1, "%s: record %s refused: %s", record.position, record.id, reason)
        self._dead.put(record, reason)

    def _entries(self, records: Iterable[Record]) -> list[Entry]:
        """Return what is to be done for records that differ in their ids."""
        fit = [record for record in records if self._fits(record)]
        known = self._ledger.known([record.id for record in fit])
        return [entry for record in fit if (entry := self._entry(record, known.get(record.id)))]

    def _fits(self, record: Record) -> bool:
        if unfit := _unfit(record, self._making):
            self._unfit += 1
            self._refuse(record, unfit)
        return not unfit

    def _entry(self, record: Record, known: Known | None) -> Entry | None:
        """Return what is to be done for a record, None if nothing is."""
        digest = content_hash(record)
        earlier = self._preparing.get(record.id)
        partly = self.unsettled.pop(record.id, 0)
        self._summary.repeated += earlier is not None or bool(known and known.repeated)
        if known and known.hash == digest and not partly and not earlier:
            self._summary.unchanged += 1
            return None
        before = max(partly, known.chunks if known else 0, earlier.most if earlier else 0)
        return Entry(record, digest, before, uncertain=partly > 0, earlier=earlier)

    def _split(self, entries: list[Entry]) -> Iterator[Placed]:
        made = self._making.chunks([entry.record for entry in entries])
        for entry, chunks in zip(entries, made, strict=True):
            entry.begin(len(chunks))
            self._summary.chunks += len(chunks)
            self._keep(entry)
            for chunk in chunks:
                yield entry, chunk

    def _keep(self, entry: Entry) -> None:
        self._preparing[entry.record.id] = entry
        if len(self._preparing) >= self._sweep_at:
            self._preparing = {name: one for name, one in self._preparing.items() if not one.settled}
            self._sweep_at = 2 * len(self._preparing) + _TOGETHER

    @contextmanager
    def _with_vectors(self, groups: Iterable[list[Placed]]) -> Iterator[Iterable[list[Made]]]:
        encoder = self._making.encoder
        if encoder is None:
            yield (list(_brought(group)) for group in groups)
            return
        drained = Stop()  # what the encoder has been given is still written
        with ahead(self._encode(groups, encoder), _MADE_AHEAD, "encode", drained) as made:
            yield made

    def _encode(self, groups: Iterable[list[Placed]], encoder: Encoder) -> Iterator[list[Made]]:
        """Encode chunks; runs in a thread of its own, so that the encoder waits for nothing but its neighbours."""
        waiting: deque[Placed] = deque()  # read ahead by the encoder: a few of its windows

        def texts() -> Iterator[str]:
            for group in self._waiting_for(groups):
                for placed in group:
                    waiting.append(placed)
                    yield placed[1].embedded_text

        some: list[Made] = []
        try:
            for vector in encoder.encode_stream(texts()):
                some.append((waiting.popleft(), vector))
                if len(some) == _MADE_TOGETHER or not waiting:
                    started = time.perf_counter()
                    yield some
                    self._waited += time.perf_counter() - started
                    some = []
        except ReadError:
            yield some
            raise
        yield some

    def _waiting_for(self, groups: Iterable[list[Placed]]) -> Iterator[list[Placed]]:
        started = time.perf_counter()
        for group in groups:
            self._waited += time.perf_counter() - started
            yield group
            started = time.perf_counter()

    def _tell(self) -> None:
        if self._making.encoder and self._before:
            done = self._making.encoder.stats - self._before
            self._summary.tokens, self._summary.truncated = done.tokens, done.truncated
            self._summary.encode_seconds = done.seconds
        if self._writer is not None and self._watch is not None:
            self._take_own(self._writer)
            self._watch(self._summary)
        if self._progress is not None:
            records = self._summary.unchanged + self._summary.malformed + self._unfit + self._encoded
            self._progress.update(records=records, chunks=self._summary.chunks, tokens=self._summary.tokens)


def _brought(group: list[Placed]) -> Iterator[Made]:
    for placed in group:
        vector = placed[0].record.vector
        assert vector is not None  # noqa: S101  see _entry
        yield placed, vector


def _unfit(record: Record, making: Making) -> str | None:
    """Return why a record cannot be stored, None if nothing is known against it."""
    if making.encoder is None and record.vector is None:
        return "it brings no vector"
    if making.splitter is not None and not record.text.strip():
        return "its text is blank"
    try:
        check_id(chunk_id(record.id, 0))
        if making.encoder is None and record.vector is not None:
            check_vector(record.vector, making.dim, name=f"record {record.id!r}")
    except IndexContractError as error:
        return str(error)
    return None


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Have Python look for cycles less often: the stream makes no cycles, but many objects that live for a while."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _report(number: int, message: str, *values: str) -> None:
    """Log one of many failures; from a certain number on they are counted only."""
    if number <= _REPORTED:
        logger.warning(message, *values)
    elif number == _REPORTED + 1:
        logger.warning("more of the same kind are counted, and kept with the dead letters, but not named")
