"""The tasks by name: one row each.

To add a task, write its class in a file of its family and add a row. Importing this package is cheap: a class, and
mteb with it, is imported when its task is made.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medte_eval.tasks.retrieval import LocalRetrieval


class UnknownTaskError(ValueError):
    """No task has this name, or the name lacks what the task needs."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What the caller may choose of a task.

    :param argument: What stood behind the colon of the task's name.
    :param data: Data to use instead of the task's default.
    :param queries: Ask only so many random queries.
    :param top_k: Documents asked for a query.
    """

    argument: str = ""
    data: Path | None = None
    queries: int | None = None
    top_k: int = 100


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task, or a family of them.

    :param name: As given to ``--tasks``.
    :param type: mteb's task type.
    :param source: Where the data comes from.
    :param description: One line.
    :param make: Makes it.
    :param argument: What must follow the name after a colon; "" for nothing.
    :param takes_data: Whether ``--data`` may name other data.
    """

    name: str
    type: str
    source: str
    description: str
    make: Callable[[TaskOptions], "LocalRetrieval"]
    argument: str = ""
    takes_data: bool = False

    @property
    def usage(self) -> str:
        """The name as one writes it."""
        return f"{self.name}:{self.argument}" if self.argument else self.name


def _medquad(options: TaskOptions) -> "LocalRetrieval":
    from medte_eval.tasks.medquad import MedQuADRetrieval

    return MedQuADRetrieval(options.data, queries=options.queries, top_k=options.top_k)


def _beir(options: TaskOptions) -> "LocalRetrieval":
    from medte_eval.tasks.beir import BeirRetrieval

    return BeirRetrieval(Path(options.argument), queries=options.queries, top_k=options.top_k)


def _registry(rows: Iterable[TaskRow]) -> dict[str, TaskRow]:
    found: dict[str, TaskRow] = {}
    for row in rows:
        if row.name in found:
            raise ValueError(f"two tasks are called {row.name!r}")
        found[row.name] = row
    return found


TASKS = _registry(
    [
        TaskRow(
            "MedQuADRetrieval",
            "Retrieval",
            "the shipped MedQuAD sample, or --data",
            "question -> original answer; LLM-free variant, so results are named MedQuADRetrieval.LLMFree",
            _medquad,
            takes_data=True,
        ),
        TaskRow(
            "beir",
            "Retrieval",
            "a folder with corpus.jsonl, queries.jsonl, qrels/test.tsv, each plain or .gz",
            "test split of any BEIR data set, title and text",
            _beir,
            argument="FOLDER",
        ),
    ]
)


def find_tasks(
    names: Sequence[str], *, data: Path | None = None, queries: int | None = None, top_k: int = 100
) -> list[tuple[TaskRow, TaskOptions]]:
    """Look tasks up without making them.

    :param names: Such as ``MedQuADRetrieval`` or ``beir:FOLDER``.
    :param data: See `TaskOptions`, as are the others.
    :raises UnknownTaskError: If a name is not known, lacks its argument, or none of the tasks takes other data.
    """
    known = ", ".join(row.usage for row in TASKS.values())
    found = []
    for one in names:
        name, _, argument = one.partition(":")
        row = TASKS.get(name)
        if row is None:
            raise UnknownTaskError(f"unknown task {name!r}; the tasks are {known}")
        if bool(argument) != bool(row.argument):
            raise UnknownTaskError(f"{one!r} is not how the task is written; write {row.usage}")
        found.append((row, TaskOptions(argument, data if row.takes_data else None, queries, top_k)))
    if not found:
        raise UnknownTaskError(f"no task is named; the tasks are {known}")
    if data is not None and not any(row.takes_data for row, _ in found):
        raise UnknownTaskError(f"none of the tasks {', '.join(names)} takes other data; leave --data out")
    return found
