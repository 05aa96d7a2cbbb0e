"""One index and the runs that write into it."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from elasticsearch import ApiError, Elasticsearch, TransportError

from es_ingest.indices.loading import begin_loading, end_loading
from es_ingest.indices.removal import records_in, remove_records, there
from es_ingest.progress import Shown
from es_ingest.records import Item
from es_ingest.stream.dead_letters import DeadLetters
from es_ingest.stream.flow import RunStream, Stream
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.making import Making
from es_ingest.stream.stopping import Stop
from es_ingest.stream.summary import Summary
from es_ingest.stream.target import Target, ledger_path, target_of
from medte_haystack.encoder import Encoder, TokenSplitter
from medte_haystack.errors import IndexContractError
from medte_haystack.index import (
    DEFAULT_QUANTISATION,
    Fingerprint,
    IndexInfo,
    IndexSpec,
    Server,
    bulk,
    describe_index,
    detect_server,
    open_index,
    run,
)

logger = logging.getLogger(__name__)

MakeRoom = Callable[[IndexSpec, Server], None]
"""Deletes what is in the place of an index that shall be made so; nothing if that cannot be made."""

_TRIES = 40  # of a bulk request: some ten minutes in all
_LOOK = 30.0  # seconds between looks whether the index is still the same


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a run keeps, and when it gives up.

    :param ledger: File of the ledger; None keeps it for this run alone, True where ledgers are kept.
    :param job: What is read, e.g. the sources and their format: records missing from one job are not another's.
    :param mapping: How records are made of it; a job whose mapping has changed is refused.
    :param dead: File for dead letters; None keeps none.
    :param max_dead: How many dead letters end the run.
    :param dead_before: How many of these there were already, e.g. of other jobs.
    :param delete_missing: Remove what this job brought before and no longer has.
    :param watch: Is shown the summary now and then, and at the end, also if that is an error.
    :param tries: How often a bulk request is tried while the server is busy, blocked or away.
    :param stream: Makes the run's stream; takes what :class:`Stream` takes.
    """

    ledger: Path | bool | None = None
    job: str = ""
    mapping: Mapping[str, Any] = field(default_factory=dict)
    dead: Path | None = None
    max_dead: int | None = None
    dead_before: int = 0
    delete_missing: bool = False
    watch: Callable[[Summary], None] | None = None
    tries: int = _TRIES
    stream: Callable[..., RunStream] = Stream

    def ledger_of(self, target: Target) -> Path | None:
        """Return the ledger's file for an index; None if none is kept."""
        return ledger_path(target) if self.ledger is True else self.ledger or None


class Ingester:
    """Writes streams of records into one index.

    :param client: The server.
    :param index: The index; it is made when it is missing.
    :param encoder: The model; None for records that bring their vectors, which `vectors_by` has made.
    :param vectors_by: Fingerprint of what made the vectors that records bring.
    :param chunk_tokens: Most tokens of a chunk; None takes what the model takes.
    :param chunk_overlap: Tokens that a chunk repeats from the one before it.
    :param quantisation: Vector index type; None takes the existing index's, or ``int8`` for a new one.
    :param analyzer: Of the text of a new index; ``auto`` takes ``english`` where the server has it.
    :param shards: Primary shards of a new index.
    :param replicas: Copies of each; None leaves it to the server.
    :param meta: What a new index keeps in its mapping's `_meta`, beside the fingerprint.
    :param precision: What vectors are computed in, where another than `encoder` makes them.
    :param make_room: Is called before the index is looked for.
    :raises FingerprintMismatchError: If the index was made with another model or chunking.
    :raises IndexContractError: If it was not made by this project, with another quantisation, or cannot be made.
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        encoder: Encoder | None,
        *,
        vectors_by: Fingerprint | None = None,
        chunk_tokens: int | None = None,
        chunk_overlap: int = 0,
        quantisation: str | None = None,
        analyzer: str = "auto",
        shards: int = 1,
        replicas: int | None = None,
        meta: Mapping[str, Any] | None = None,
        precision: str | None = None,
        make_room: MakeRoom | None = None,
    ) -> None:
        self.client = client
        self.index = index
        if encoder is not None:
            splitter = TokenSplitter(encoder.tokeniser, chunk_tokens=chunk_tokens, overlap=chunk_overlap)
            self.fingerprint = Fingerprint.of_encoder(
                encoder, chunk_tokens=splitter.chunk_tokens, chunk_overlap=chunk_overlap
            )
            if precision is not None:
                self.fingerprint = replace(self.fingerprint, precision=precision)
            self.making = Making(encoder.dim, encoder, splitter)
        elif vectors_by is not None:
            self.fingerprint = vectors_by
            self.making = Making(vectors_by.dim)
        else:
            raise TypeError("give an encoder, or say by vectors_by what made the records' vectors")
        shape = IndexSpec(
            self.fingerprint,
            DEFAULT_QUANTISATION if quantisation is None else quantisation,
            analyzer=analyzer,
            shards=shards,
            replicas=replicas,
            meta=meta or {},
        )
        self.server: Server = run(client, detect_server())
        if make_room is not None:
            make_room(shape, self.server)
        self.info: IndexInfo = run(client, open_index(index, shape, self.server))
        if self.info.fingerprint is None:
            raise IndexContractError(
                f"index {index!r} was not made by medte, so what made its vectors is unknown; choose another name",
                index=index,
            )
        if quantisation not in (None, self.info.quantisation):
            raise IndexContractError(
                f"index {index!r} has quantisation {self.info.quantisation!r}, not {quantisation!r}; leave the option"
                " out, or make a new index",
                index=index,
            )

    def target(self) -> Target:
        """Return which index this is, as a ledger knows it."""
        return target_of(self.client, self.info.name)

    def run(
        self,
        items: Iterable[Item],
        progress: Shown | None = None,
        options: RunOptions = RunOptions(),
        stop: Stop | None = None,
    ) -> Summary:
        """Write all records that the index does not have as they are.

        Malformed rows and refused records are logged with their position, counted and kept as dead letters; everything
        else goes on. Writing the same records again changes nothing, since ids derive from the records'. A record that
        has become shorter loses the chunks that it no longer has.

        :param items: Records, rows that are none, and deletions, which are carried out at the end.
        :param progress: Is told the totals.
        :param stop: Ends the run early; what is under way is still written.
        :raises ReadError: If a source cannot be read; what came before is written.
        :raises BulkWriteError: If the server stays unreachable, busy or blocked, or refuses to remove something.
        :raises LedgerError: If the ledger cannot be used.
        :raises DeadLetterError: If dead letters cannot be kept, or are more than allowed.
        """
        stop = stop or Stop()
        started = time.perf_counter()
        summary = Summary(self.index, quantisation=self.info.quantisation)
        summary.fingerprint = (self.info.fingerprint or self.fingerprint).to_dict()
        target = self.target()
        base64_vectors = self.info.takes_base64(self.server)
        path = options.ledger_of(target)
        backoff = bulk.Backoff(tries=options.tries, patient=True)
        with Ledger(path, target, options.job, options.mapping) as ledger, _letters(options, ledger.began) as dead:
            if ledger.new:
                self._adopt(ledger)  # which refreshes: what a killed load wrote may not be counted yet
            empty = self.client.count(index=self.info.name)["count"] == 0
            watch = self._watching(target, options.watch)
            stream = options.stream(self.making, ledger, dead, summary, progress, stop, watch)
            try:
                with self._loading(summary, new=empty):
                    stream.write(items, self.client, self.info.name, backoff, base64_vectors=base64_vectors)
                    if not summary.interrupted:
                        self._tidy(ledger, stream, summary, backoff, stop, delete_missing=options.delete_missing)
                self._check_still_there(target)
            finally:
                summary.dead_letters = str(dead.path) if dead.count and dead.path else None
                summary.seconds = time.perf_counter() - started
                if options.watch is not None:
                    options.watch(summary)
        if summary.repeated:
            logger.warning(
                "ids repeat in the sources (%d times); of the records with one id the last counts", summary.repeated
            )
        return summary

    def _adopt(self, ledger: Ledger) -> None:
        for page in records_in(self.client, self.info.name):
            ledger.adopt(page)
        records, chunks = ledger.totals()
        if records:
            logger.info(
                "index %s holds %d records (%d chunks) that this ledger knows nothing of; those that are read again are"
                " written again",
                self.index,
                records,
                chunks,
            )
        ledger.adopted()

    @contextmanager
    def _loading(self, summary: Summary, *, new: bool) -> Iterator[None]:
        loading, ended = begin_loading(self.client, self.info.name, new=new), False
        try:
            yield
            ended = True
        finally:
            try:
                if loading:
                    end_loading(self.client, self.info.name, whole=ended and not summary.interrupted)
                else:
                    self.client.indices.refresh(index=self.info.name)
            except (ApiError, TransportError) as error:
                logger.warning(
                    "refresh and replicas of index %s could not be put back (%s); the next run does it",
                    self.index,
                    type(error).__name__,
                )
                if ended:  # else another error is on its way
                    raise

    def _tidy(
        self,
        ledger: Ledger,
        stream: RunStream,
        summary: Summary,
        backoff: bulk.Backoff,
        stop: Stop,
        *,
        delete_missing: bool,
    ) -> None:
        """Remove what the sources delete or no longer have; they have been read to their end."""
        deleted = there(sorted(stream.deleted), ledger, stream.unsettled)
        for records, chunks in remove_records(self.client, self.info.name, deleted, ledger, backoff, stop):
            summary.deleted += records
            summary.removed += chunks
        for name in stream.deleted:
            stream.unsettled.pop(name, None)
        if delete_missing and (summary.malformed or not summary.read):
            reason = f"{summary.malformed} rows cannot be read" if summary.malformed else "the sources are empty"
            logger.warning("nothing missing was removed: %s, so it cannot be told what is missing", reason)
        elif delete_missing:
            for records, chunks in remove_records(self.client, self.info.name, ledger.missing(), ledger, backoff, stop):
                summary.missing += records
                summary.removed += chunks
            if others := ledger.of_others():
                logger.warning(
                    "what other sources have brought stays: %d records; if these sources are a pattern, quote it: as"
                    " the shell expands it, it names other sources whenever its files are others",
                    others,
                )
        known = ledger.entered(list(stream.unsettled))
        strays = {name: most for name, most in stream.unsettled.items() if name not in known}
        for _, chunks in remove_records(self.client, self.info.name, strays.items(), ledger, backoff, stop):
            summary.removed += chunks
        summary.interrupted = stop.asked
        if summary.interrupted:  # the notes stay for the next run
            return
        if kept := [(name, most) for name, most in stream.unsettled.items() if name in known]:
            ledger.sending(kept)  # the index may hold another content than the one that was acknowledged
        ledger.settled()

    def _watching(self, target: Target, watch: Callable[[Summary], None] | None) -> Callable[[Summary], None]:
        """Return what is shown the summary and looks now and then whether the index is still the same."""
        looked = time.monotonic()

        def look(summary: Summary) -> None:
            nonlocal looked
            if watch is not None:
                watch(summary)
            if time.monotonic() - looked > _LOOK:
                looked = time.monotonic()
                with suppress(ApiError, TransportError):  # requests that cannot be carried out tell it better
                    self._check_still_there(target)

        return look

    def _check_still_there(self, target: Target) -> None:
        if self.target() == target:
            return
        what = f"index {self.index!r} was deleted and made anew while it was written to; "
        if run(self.client, describe_index(target.index)).fingerprint is None:  # by a request, without our mapping
            what += "what is there now was not made by medte: delete it, then "
        raise IndexContractError(f"{what}run the same command again", index=self.index)


@contextmanager
def _letters(options: RunOptions, run: str) -> Iterator[DeadLetters]:
    letters = DeadLetters(
        options.dead, options.max_dead, options.job, options.mapping, before=options.dead_before, run=run
    )
    try:
        yield letters
    finally:
        letters.close()
