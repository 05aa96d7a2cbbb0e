"""The stream of one run on Ray: the driver reads, compares with the ledger and gives out; workers encode and write."""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import ray
from elasticsearch import Elasticsearch

from es_ingest.cluster import Connection
from es_ingest.distributed.cluster import Workers
from es_ingest.distributed.errors import EngineError
from es_ingest.distributed.groups import Groups
from es_ingest.distributed.job import Job
from es_ingest.distributed.messages import Destination, Done, Failed, Given, Made, Note, Recipe
from es_ingest.progress import Shown
from es_ingest.records import Item, ReadError
from es_ingest.stream.ahead import ahead
from es_ingest.stream.dead_letters import DeadLetters
from es_ingest.stream.entries import Entry
from es_ingest.stream.intake import Intake
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.making import Making
from es_ingest.stream.stopping import Stop
from es_ingest.stream.summary import Summary
from medte_haystack.index import bulk

logger = logging.getLogger(__name__)

_GROUPS_AHEAD = 8
_EACH = 2  # groups that wait for each worker: one to encode, one to follow
_WRITING = 4  # groups that may be on their way to the server beside
_CHARACTERS_A_CORE = 1 << 14  # of a group: some seconds' work, so that a run that shall end soon does
_CHARACTERS_A_GPU = 1 << 20
_RECORDS = 256  # of a group at most
_LOOK = 0.2  # seconds between looks whether the run shall end
_PATIENCE = 30.0  # seconds for what is under way when something has failed


class RayStream:
    """One run's stream on a Ray cluster.

    :param workers: Who encodes.
    :param recipe: How.
    :param connection: Where workers find the server.

    The rest is as for :class:`~es_ingest.stream.flow.Stream`, and so is :meth:`write`.
    """

    def __init__(
        self,
        workers: Workers,
        recipe: Recipe,
        connection: Connection,
        making: Making,
        ledger: Ledger,
        dead: DeadLetters,
        summary: Summary,
        progress: Shown | None = None,
        stop: Stop | None = None,
        watch: Callable[[Summary], None] | None = None,
    ) -> None:
        workers.check_reach(connection.url)
        self._intake = Intake(making, ledger, dead, summary)
        self._making = making
        self._summary = summary
        self._progress = progress
        self._stop = stop or Stop()
        self._watch = watch
        self._workers = workers
        self._recipe = recipe
        self._connection = connection
        self._groups_out = Groups(ledger, self._intake.refused)
        self._most_out = _EACH * workers.number + _WRITING * workers.machines
        self._characters = _CHARACTERS_A_GPU if workers.device == "cuda" else _CHARACTERS_A_CORE * workers.cpus
        self._failure: Exception | None = None
        self._ended = threading.Event()  # nobody waits for records any more

    @property
    def unsettled(self) -> dict[str, int]:
        """Records that may be there in part; see :class:`~es_ingest.stream.intake.Intake`."""
        return self._intake.unsettled

    @property
    def deleted(self) -> set[str]:
        """Records that the sources say are no more; see :class:`~es_ingest.stream.intake.Intake`."""
        return self._intake.deleted

    def write(
        self,
        items: Iterable[Item],
        client: Elasticsearch,  # noqa: ARG002  workers have their own
        index: str,
        backoff: bulk.Backoff,
        *,
        base64_vectors: bool,
    ) -> None:
        """Write all records; if a source breaks off, what came before.

        :raises BulkWriteError: If the server stays unreachable, busy or blocked.
        :raises ReadError: If a source cannot be read.
        :raises EngineError: If the cluster loses work for good.
        """
        ca_certs = self._connection.ca_certs
        certificates = None if ca_certs is None else Path(ca_certs).read_text(encoding="utf-8")
        destination = Destination(self._connection, certificates, index, base64_vectors, backoff)
        try:
            with ahead(self._parts_of(items), _GROUPS_AHEAD, "read", self._stop) as groups:
                self._work(filter(None, self._shown(groups)), destination)
        finally:
            self._summary.interrupted = self._stop.asked
            self._tell()
            self._summary.removed += self._groups_out.written.removed

    def _work(self, groups: Iterator[list[Entry]], destination: Destination) -> None:
        first = next(groups, None)
        if first is None:
            return  # no worker need be started
        with Job(self._workers, self._recipe, destination) as job, self._answering(job):
            broken: ReadError | None = None
            try:
                for entries in chain([first], groups):
                    self._give(job, entries)
            except ReadError as error:
                broken = error
            self._finish(job)
            if broken is not None:
                raise broken
        self._say_truncated()

    def _shown(self, groups: Iterable[list[Entry]]) -> Iterator[list[Entry]]:
        for group in groups:
            self._tell()
            yield group

    def _parts_of(self, items: Iterable[Item]) -> Iterator[list[Entry]]:
        """Leave out what the index has; runs in a thread of its own."""
        for group in self._intake.groups(items):
            if not self._wait_for([record.id for record in group]):
                return
            entries = self._intake.entries(group)
            for entry in entries:
                entry.earlier = None  # it is settled
                self._intake.keep(entry)
            yield from self._parts(entries)

    def _wait_for(self, ids: Sequence[str]) -> bool:
        """Wait until earlier records of these ids are settled; tell whether they are, or the run ends before."""
        earlier = self._intake.under_way(ids)
        with self._groups_out.changed:
            while not all(entry.settled for entry in earlier):
                if self._failure or self._stop.asked or self._ended.is_set():
                    return False
                self._groups_out.changed.wait(_LOOK)
        return True

    def _parts(self, entries: list[Entry]) -> Iterator[list[Entry]]:
        """Divide records into as much work as a worker shall have at a time; they weigh no more than their group."""
        part: list[Entry] = []
        characters = 0
        for entry in entries:
            part.append(entry)
            characters += len(entry.record.text) if self._recipe.model else 0
            if characters >= self._characters or len(part) == _RECORDS:
                yield part
                part, characters = [], 0
        yield part  # also an empty one: there may be something to show

    def _give(self, job: Job, entries: list[Entry]) -> None:
        with self._groups_out.changed:
            while len(self._groups_out) >= self._most_out and not self._stop.asked and not job.ended.is_set():
                self._check()
                self._tell()
                self._groups_out.changed.wait(_LOOK)
        self._check()
        if job.ended.is_set():
            raise job.error or EngineError("Ray ended the job before its time; run the same command again")
        if not self._stop.asked:
            group = [Given(entry.record, entry.before) for entry in entries]
            _get(job.desk.give.remote(self._groups_out.give(entries), group))

    def _finish(self, job: Job) -> None:
        """Wait until all that was given out has come back, or has been taken back."""
        withdrawn = self._stop.asked
        _get(job.desk.close.remote(withdraw=withdrawn))
        while not job.ended.wait(_LOOK):
            self._check()
            self._tell()
            if self._stop.asked and not withdrawn:
                withdrawn = True
                _get(job.desk.close.remote(withdraw=True))

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure

    @contextmanager
    def _answering(self, job: Job) -> Iterator[None]:
        """Have a thread answer the workers; at the end every group must have come back."""
        answers = threading.Thread(target=self._answer, args=(job,), name="answers", daemon=True)
        answers.start()
        try:
            yield
        except Exception:
            _give_up(job)
            raise
        else:
            answers.join(_PATIENCE)  # the job is over: there is little left to hear
        finally:
            self._ended.set()
        self._check()
        if job.error is not None:
            raise job.error
        if len(self._groups_out) and not self._stop.asked:
            raise EngineError(
                f"{len(self._groups_out)} groups of records did not come back from Ray's workers; run the same command"
                " again, which writes what is missing"
            )

    def _answer(self, job: Job) -> None:
        """Hear what workers say until the job is over, also after a failure: what was under way is still settled."""
        try:
            over = False
            while not over:
                over = job.ended.is_set()  # what is said by now is all
                for number, message in _get(job.desk.messages.remote(0 if over else _LOOK)):
                    try:
                        self._hear(job, number, message)
                    except Exception as error:  # noqa: BLE001  raised where the groups are given out
                        self._fail(error)
        except EngineError as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        with self._groups_out.changed:
            self._failure = self._failure or error
            self._groups_out.changed.notify_all()

    def _hear(self, job: Job, number: int, message: object) -> None:
        match message:
            case Made():
                job.desk.answer.remote(number, self._failure is None and self._groups_out.made(message))
            case Done():
                self._groups_out.done(message)
                job.desk.settle.remote(message.number)
            case Failed():
                raise message.error
            case Note():
                logger.log(message.level, "%s", message.text)

    def _say_truncated(self) -> None:
        if self._making.encoder is not None and self._groups_out.stats.truncated:
            logger.warning(
                "%d of %d texts were longer than %d tokens and lost their end",
                self._groups_out.stats.truncated,
                self._groups_out.stats.texts,
                self._making.encoder.max_tokens,
            )

    def _tell(self) -> None:
        out, summary = self._groups_out, self._summary
        with out.changed:
            self._intake.take(out.written, out.requests_at_once)
            summary.chunks, summary.tokens, summary.truncated = out.chunks, out.stats.tokens, out.stats.truncated
            summary.encode_seconds, summary.encoder_waited = out.stats.seconds, out.waited
        if self._watch is not None:
            self._watch(summary)
        if self._progress is not None:
            records = summary.unchanged + summary.records + summary.failed
            self._progress.update(records=records, chunks=summary.chunks, tokens=summary.tokens)


def _get(answer: Any) -> Any:
    """Return the desk's answer.

    :raises EngineError: If the desk is gone.
    """
    try:
        return ray.get(answer)
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"the Ray cluster lost the run ({type(error).__name__}); what the server acknowledged stays, and the same"
            " command again completes it"
        ) from error


def _give_up(job: Job) -> None:
    """Let nothing more be sent, and wait for what is under way."""
    try:
        _get(job.desk.close.remote(give_up=True))
    except EngineError:
        return
    job.ended.wait(_PATIENCE)
