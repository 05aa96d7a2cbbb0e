"""The stream of one run: read -> compare with the ledger -> split -> encode -> bulk, in bounded memory.

The first three run in one thread, the encoder in another, and bulk requests in several: the encoder waits for neither.
"""

import gc
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_ingest.progress import Shown
from es_ingest.records import Item, ReadError
from es_ingest.stream.ahead import ahead
from es_ingest.stream.content import beside_text
from es_ingest.stream.dead_letters import DeadLetters
from es_ingest.stream.entries import Entry
from es_ingest.stream.intake import Intake
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.making import Making
from es_ingest.stream.stopping import Stop
from es_ingest.stream.summary import Summary
from es_ingest.stream.writer import Writer
from medte_haystack.encoder import Encoder
from medte_haystack.index import Chunk, bulk, source, vector_json

logger = logging.getLogger(__name__)

_GROUPS_AHEAD = 8  # together more than the encoder takes in one go: it reads on while these are being made
_MADE_TOGETHER = 64  # vectors that are handed on in one go
_BESIDE_TOGETHER = 1 << 18  # characters of their records' titles and metadata
_MADE_AHEAD = 1 << 22  # numbers and characters of vectors and their records: some 4,000 short ones
_OBJECTS = 50_000  # a few megabytes


Placed = tuple[Entry, Chunk]
Made = tuple[Placed, NDArray[np.float32]]


class RunStream(Protocol):
    """What an ingester has of a stream: :class:`Stream`, or one whose encoder is elsewhere."""

    @property
    def unsettled(self) -> dict[str, int]:
        """Records that may be there in part, and how many chunks of each at most."""
        ...

    @property
    def deleted(self) -> set[str]:
        """Records that the sources say are no more."""
        ...

    def write(
        self,
        items: Iterable[Item],
        client: Elasticsearch,
        index: str,
        backoff: bulk.Backoff,
        *,
        base64_vectors: bool,
    ) -> None:
        """Write all records; if a source breaks off, what came before."""
        ...


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
        self._intake = Intake(making, ledger, dead, summary)
        self._making = making
        self._ledger = ledger
        self._summary = summary
        self._progress = progress
        self._stop = stop or Stop()
        self._watch = watch
        self._waited = 0.0  # the encoder, for what comes before it and after it
        self._writer: Writer | None = None
        self._encoded = 0  # records
        self._before = making.encoder.stats if making.encoder else None

    @property
    def unsettled(self) -> dict[str, int]:
        """Records that may be there in part; see :class:`Intake`."""
        return self._intake.unsettled

    @property
    def deleted(self) -> set[str]:
        """Records that the sources say are no more; see :class:`Intake`."""
        return self._intake.deleted

    def write(
        self,
        items: Iterable[Item],
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
        self._writer = writer = Writer(client, index, self._ledger, self._intake.refused, backoff, self._stop)
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

    def _take_own(self, writer: Writer) -> None:
        self._intake.take(writer.written, writer.concurrency.highest)
        self._summary.encoder_waited = self._waited

    def _prepare(self, items: Iterable[Item]) -> Iterator[list[Placed]]:
        """Leave out what the index has, and split the rest; runs in a thread of its own."""
        for group in self._intake.groups(items):
            yield list(self._split(self._intake.entries(group)))

    def _split(self, entries: list[Entry]) -> Iterator[Placed]:
        made = self._making.chunks([entry.record for entry in entries])
        for entry, chunks in zip(entries, made, strict=True):
            entry.begin(len(chunks))
            self._summary.chunks += len(chunks)
            self._intake.keep(entry)
            for chunk in chunks:
                yield entry, chunk

    @contextmanager
    def _with_vectors(self, groups: Iterable[list[Placed]]) -> Iterator[Iterable[list[Made]]]:
        encoder = self._making.encoder
        if encoder is None:
            yield (list(_brought(group)) for group in groups)
            return
        drained = Stop()  # what the encoder has been given is still written
        with ahead(self._encode(groups, encoder), _MADE_AHEAD, "encode", drained, _weight) as made:
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
        beside = 0
        try:
            for vector in encoder.encode_stream(texts(), beside=lambda: _beside(waiting[-1])):
                some.append((waiting.popleft(), vector))
                beside += _beside(some[-1][0])
                if len(some) == _MADE_TOGETHER or beside > _BESIDE_TOGETHER or not waiting:
                    started = time.perf_counter()
                    yield some
                    self._waited += time.perf_counter() - started
                    some, beside = [], 0
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
            records = self._summary.unchanged + self._summary.malformed + self._intake.unfit + self._encoded
            self._progress.update(records=records, chunks=self._summary.chunks, tokens=self._summary.tokens)


def _beside(placed: Placed) -> int:
    """Return how heavy a chunk is beside its text: its record's metadata is counted once, with the first one."""
    entry, chunk = placed
    return 0 if chunk.index else beside_text(entry.record)


def _weight(made: list[Made]) -> int:
    return sum(_beside(placed) + len(placed[1].content) + vector.size for placed, vector in made)


def _brought(group: list[Placed]) -> Iterator[Made]:
    for placed in group:
        vector = placed[0].record.vector
        assert vector is not None  # noqa: S101  see _entry
        yield placed, vector


@contextmanager
def _seldom_collected() -> Iterator[None]:
    """Have Python look for cycles less often: the stream makes no cycles, but many objects that live for a while."""
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
