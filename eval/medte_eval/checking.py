"""Runs the commands of checks and compares their scores with what was expected."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Any, Self

from es_ingest.cluster import Connection, open_cluster
from medte_eval.checks import Check, CheckFileError, Expected, Verdict
from medte_eval.evaluation import Evaluation, ModelChoice
from medte_eval.results import HEADLINE
from medte_eval.session import Failure, Session, run_all
from medte_eval.systems.system import ShowProgress
from medte_haystack.encoder import Encoder

logger = logging.getLogger(__name__)

Found = Mapping[str, Any] | Failure
"""A result, see `Outcome.to_dict`, or why there is none."""
NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Planned:
    """A check whose command can be run, as far as can be told before.

    :param evaluation: What the command asks for.
    :param system: The one whose score is checked.
    """

    check: Check
    evaluation: Evaluation
    system: str

    @classmethod
    def of(cls, check: Check, evaluation: Evaluation) -> Self:
        """Find in a command what a check is about.

        :raises CheckFileError: If the command has no such task, system or score.
        """
        expected = check.expected
        rows = {row.name: row for row, _ in evaluation.tasks}
        if expected.task not in rows:
            raise CheckFileError(f"expected.task: {expected.task!r} is none of the command's: {', '.join(rows)}")
        systems = [one.name for one in evaluation.systems]
        if expected.system is None and len(systems) > 1:
            raise CheckFileError(f"expected.system: is missing; the command's are {', '.join(systems)}")
        system = expected.system or systems[0]
        if system not in systems:
            raise CheckFileError(f"expected.system: {system!r} is none of the command's: {', '.join(systems)}")
        row = rows[expected.task]
        scores = dict.fromkeys((*HEADLINE.get(row.type, ()), row.main_score))
        if expected.metric not in scores:
            raise CheckFileError(
                f"expected.metric: {expected.metric!r} is no score of {row.name}; they are {', '.join(scores)}"
            )
        return cls(check, evaluation, system)


@dataclass(frozen=True, slots=True)
class Checked:
    """A check and what came of it."""

    planned: Planned
    found: Found

    @property
    def measured(self) -> float | None:
        """The score; None if there is none."""
        return None if isinstance(self.found, Failure) else self.found["scores"].get(self._expected.metric)

    @property
    def verdict(self) -> Verdict | None:
        """What is said of the score; None if the command could not be run."""
        if isinstance(self.found, Failure):
            return None
        return Verdict.FAIL if self.measured is None else self.planned.check.judge(self.measured)

    @property
    def message(self) -> str:
        """Why there is no score; "" if there is one."""
        if isinstance(self.found, Failure):
            return self.found.message
        return "" if self.measured is not None else f"its result has only {', '.join(self.found['scores'])}"

    @property
    def difference(self) -> float | None:
        """How far the score is above (or, negative, below) what was expected."""
        return None if self.measured is None else self.measured - self._expected.value

    @property
    def reused(self) -> bool:
        """Whether the result was there already."""
        return not isinstance(self.found, Failure) and bool(self.found["reused"])

    @property
    def _expected(self) -> Expected:
        return self.planned.check.expected

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        check = self.planned.check
        return {
            "name": check.name,
            "status": self.verdict or NOT_RUN,
            "command": check.command,
            "task": self._expected.task,
            "system": self.planned.system,
            "metric": self._expected.metric,
            "expected": self._expected.value,
            "measured": self.measured,
            "difference": self.difference,
            "tolerance": check.tolerance,
            "okish": check.widest,
            "reused": self.reused,
            "message": self.message,
        }


def run_checks(
    planned: Sequence[Planned], es: str, show: ShowProgress, *, out: Path | None = None, fresh: bool = False
) -> Iterator[Checked]:
    """Run the commands, equal ones once, and give each check when its score is there.

    A command that cannot be run is given as such, and the others go on. They share a server.

    :param es: Where Elasticsearch is, as ``--es`` has it.
    :param show: Shows how far something long is.
    :param out: Folder for results; see `run_all`.
    :param fresh: Do again what it has.
    :raises OSError: If a result cannot be written.
    """
    every: dict[str, Mapping[tuple[str, str], Found]] = {}
    load = lru_cache(maxsize=1)(ModelChoice.load)  # most often the next command's is the same
    with ExitStack() as stack:
        server = cache(lambda: stack.enter_context(open_cluster(es)))
        for one in planned:
            line = one.check.command
            if line not in every:
                every[line] = _run(one.evaluation, server, load, show, out=out, fresh=fresh)
            checked = Checked(one, every[line][one.check.expected.task, one.system])
            logger.info("%s: %s", one.check.name, checked.verdict or f"{NOT_RUN}: {checked.message}")
            yield checked


def _run(
    asked: Evaluation,
    server: Callable[[], Connection],
    load: Callable[[ModelChoice, str], Encoder],
    show: ShowProgress,
    **kept: Any,
) -> Mapping[tuple[str, str], Found]:
    """Return what came of each task on each system."""
    names = [one.name for one in asked.systems]
    found: dict[tuple[str, str], Found] = {}
    try:
        with Session(server, asked.model.name, partial(load, asked.model), asked.options, show) as session:
            for task, make in asked.made():
                more: dict[str, Any] = {
                    "latency_queries": asked.latency_queries,
                    "notes_may_leave": asked.notes_may_leave,
                    **kept,
                }
                its = list(run_all([(task, make)], asked.systems, session, **more))
                if len(its) < len(names):  # the task itself could not be had
                    its *= len(names)
                found |= {(task, name): one for name, one in zip(names, its, strict=True)}
    except Exception as error:  # noqa: BLE001  it is told
        for task, _ in asked.made():
            for name in names:
                found.setdefault((task, name), Failure.of(error, task, name))
    return found
