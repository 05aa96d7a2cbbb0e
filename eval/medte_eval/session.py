"""Tasks on systems, one after the other: what both need is opened once, what is done already is not done again."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, Self

from elasticsearch import Elasticsearch
from mteb.abstasks import AbsTask

from es_ingest.cluster import Connection, open_cluster
from es_ingest.faults import Exit, message_of, status_of
from es_ingest.search import model_for
from medte_eval.failures import failure_file, forget_failure, note_failure
from medte_eval.privacy import why_refused
from medte_eval.results import earlier_result, of_another_model
from medte_eval.run import RefusedError, describe_model, describe_system, describe_task, evaluate, queries_to_time
from medte_eval.systems import OWN_STORES, ChosenSystem, SystemOptions, UnknownSystemError
from medte_eval.systems.corpus import CorpusIndex
from medte_eval.systems.ownership import remove_orphans
from medte_eval.systems.system import ShowProgress, System
from medte_eval.systems.texts import TextIndex
from medte_haystack.encoder import DEFAULT_MODEL, Encoder

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A task that could not be run, on a system or at all.

    :param task: Its name.
    :param system: The system's name; None if the task's data could not be had.
    :param status: Exit status that stands for the reason.
    :param message: The reason.
    :param bug: The error, if it is none that a user can act on.
    """

    task: str
    system: str | None
    status: int
    message: str
    bug: Exception | None = None

    @classmethod
    def of(cls, error: Exception, task: str, system: str | None) -> Self:
        """Take an error."""
        if isinstance(error, RefusedError | UnknownSystemError):
            return cls(task, system, Exit.USAGE, str(error))
        status = status_of(error)
        return cls(task, system, status or Exit.BUG, message_of(error), error if status is None else None)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {"task": self.task, "system": self.system, "exit_status": int(self.status), "message": self.message}


class Session:
    """What systems are made of, each made when first asked for and closed at the end; see `Resources`.

    :param es: Where Elasticsearch is, as ``--es`` has it; or what gives a connection, which stays open.
    :param model: The model; None takes the given index's, or the default.
    :param load: Loads a model.
    :param options: Of the systems.
    :param show: Shows how far something long is.
    """

    def __init__(
        self,
        es: str | Callable[[], Connection],
        model: str | None,
        load: Callable[[str], Encoder],
        options: SystemOptions,
        show: ShowProgress,
    ) -> None:
        self.options = options
        self.show = show
        self._es, self._model, self._load = es, model, load
        self._open = ExitStack()
        self._systems: dict[str, System] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    @cached_property
    def connection(self) -> Connection:
        """The server."""
        return self._es() if callable(self._es) else self._open.enter_context(open_cluster(self._es))

    @cached_property
    def client(self) -> Elasticsearch:
        """A client of it; what killed evaluations had left there is removed."""
        client = self._open.enter_context(self.connection.client())
        remove_orphans(client)
        return client

    @cached_property
    def encoder(self) -> Encoder:
        """The model."""
        model = self._model
        if self.options.index is not None:
            model = model_for(self.client, self.options.index, model)
        return self._load(model or DEFAULT_MODEL)

    @cached_property
    def chunks(self) -> CorpusIndex:
        """An index with vectors."""
        client = self.client  # a server that is not there is told before a model is loaded
        return self._open.enter_context(closing(CorpusIndex(client, self.encoder, self.options, self.show)))

    @cached_property
    def texts(self) -> TextIndex:
        """An index of whole documents without vectors."""
        return self._open.enter_context(closing(TextIndex(self.client, self.show, analyzer=self.options.analyzer)))

    def asked(self) -> dict[str, Any]:
        """Return the model and the options that were given, JSON-able."""
        return {"model": self._model, **{name: getattr(self.options, name) for name in self.options.given()}}

    def system(self, chosen: ChosenSystem) -> System:
        """Return a system, the same one every time."""
        if chosen.name not in self._systems:
            self._systems[chosen.name] = chosen.open(self)
        return self._systems[chosen.name]


def run_all(
    tasks: Sequence[tuple[str, Callable[[], AbsTask]]],
    systems: Sequence[ChosenSystem],
    session: Session,
    *,
    out: Path | None = None,
    fresh: bool = False,
    latency_queries: int = 0,
    notes_may_leave: bool = False,
) -> Iterator[dict[str, Any] | Failure]:
    """Run every task on every system, and give each result when it is there and written.

    A task that fails is given as a failure, and the others go on. What fails to open before anything is given raises.

    :param tasks: Names, and what makes them.
    :param out: Folder for results; what it has already is given again, marked as ``reused``. What fails is noted there
        until it is done.
    :param fresh: Do again what it has.
    :param latency_queries: See `evaluate`.
    :param notes_may_leave: Whether clinical notes may be sent to another machine, or into a pipeline.
    :raises OSError: If a result cannot be written.
    """
    begun = False
    for name, make in tasks:
        noted = None if out is None else failure_file(out, name)
        try:
            task = make()
            task.load_data()
        except Exception as error:  # noqa: BLE001  it is told
            yield _noted(noted, Failure.of(error, name, None))
            begun = True
            continue
        forget_failure(noted)
        unopened = _open(task, systems, session, notes_may_leave=notes_may_leave, begun=begun)
        begun = True
        for chosen in systems:
            noted = None if out is None else failure_file(out, task.metadata.name, chosen.name, **session.asked())
            if (failure := unopened.get(chosen.name)) is not None:
                yield _noted(noted, failure)
                continue
            system = session.system(chosen)
            version = session.connection.version if chosen.row.uses_server else None
            try:
                found = None if out is None or fresh else _earlier(out, task, system, version, latency_queries)
                if found is None:
                    outcome = evaluate(task, system, server_version=version, latency_queries=latency_queries)
            except Exception as error:  # noqa: BLE001  it is told
                yield _noted(noted, Failure.of(error, task.metadata.name, chosen.name))
                continue
            forget_failure(noted)
            if found is None:
                found = outcome.to_dict() if out is None else outcome.write(out)
                yield {**found, "reused": False}
            else:
                logger.info("%s on %s: done before", task.metadata.name, chosen.name)
                yield {**found, "reused": True}
        task.unload_data()


def _open(
    task: AbsTask, systems: Sequence[ChosenSystem], session: Session, *, notes_may_leave: bool, begun: bool
) -> dict[str, Failure]:
    """Open the systems, and return those that a task is not run on: they cannot be opened, or do not get its texts.

    :param begun: Whether something was run already, that an error must not end.
    """
    about, found = task.metadata, dict[str, Failure]()

    def server() -> str:
        return session.connection.url

    for chosen in systems:
        try:
            why = None if notes_may_leave else why_refused(about.name, about.type, chosen, server)
            if why is None:
                session.system(chosen)
            else:
                found[chosen.name] = Failure(about.name, chosen.name, Exit.USAGE, why)
        except Exception as error:
            if not begun:
                raise
            found[chosen.name] = Failure.of(error, about.name, chosen.name)
    return found


def _noted(path: Path | None, failure: Failure) -> Failure:
    if path is not None:
        note_failure(path, failure.to_dict())
    return failure


def _earlier(
    out: Path, task: AbsTask, system: System, version: str | None, latency_queries: int
) -> dict[str, Any] | None:
    settings = describe_system(system, version)
    if settings.get(OWN_STORES):  # what is in them is not known
        return None
    described = describe_task(task), settings, describe_model(system.encoder)
    found = earlier_result(out, *described)
    if found is None and (other := of_another_model(out, *described)):
        logger.warning("%s on %s: %s; it is run again", task.metadata.name, system.name, other)
    if found is not None and (stale := _stale(found, task, latency_queries)):
        logger.warning("%s on %s: %s; it is run again", task.metadata.name, system.name, stale)
        return None
    return found


def _stale(found: Mapping[str, Any], task: AbsTask, latency_queries: int) -> str | None:
    """Return what an earlier result of the same key lacks; None if it can be taken."""
    for package in ("medte", "mteb"):
        made, here = found["versions"].get(package), package_version(package)
        if made != here:
            return f"its result was made by {package} {made}, this is {here}"
    if latency_queries and found["latency"] is None and queries_to_time(task):
        return "its result has no latency"
    return None
