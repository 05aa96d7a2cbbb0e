"""The tasks by name: those of the benchmark, as they were built; a BEIR folder; and mteb's own.

Importing this package is cheap: a class, and mteb with it, is imported when its task is made.
"""

import difflib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from es_ingest.records import ReadError
from medte_eval.tasks.benchmark import BENCHMARK, NAME, split_name
from medte_eval.tasks.benchmark.task import LLM_FREE, MAIN_SCORES, BenchmarkTask
from medte_eval.tasks.building.folder import default_data_dir, find_built

if TYPE_CHECKING:
    from mteb.abstasks.abstask import AbsTask

logger = logging.getLogger(__name__)

MEDQUAD = "MedQuADRetrieval"
BEIR = "beir"
_LIKE, _VERY_LIKE = 0.6, 0.8  # least likeness of a misspelt name; of mteb's there are so many that some are always near
_COMMA = re.compile(r",(?![^()]*\))")  # MTEB(Medical, v1) is one name


class UnknownTaskError(ValueError):
    """No task has this name, or the name lacks what the task needs."""


@dataclass(frozen=True, slots=True)
class TaskOptions:
    """What the caller may choose of a task.

    :param argument: What stood behind the colon of the task's name.
    :param data: Data to use instead of the task's default.
    :param queries: Ask only so many random queries; of retrieval tasks alone.
    :param top_k: Documents asked for a query; of retrieval tasks alone.
    :param data_dir: Where built tasks are; None for where `medte-eval build` puts them by itself.
    """

    argument: str = ""
    data: Path | None = None
    queries: int | None = None
    top_k: int = 100
    data_dir: Path | None = None


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task that can be run.

    :param name: As given to ``--tasks``.
    :param type: mteb's task type.
    :param main_score: mteb's name of the score that counts.
    :param make: Makes it.
    """

    name: str
    type: str
    main_score: str
    make: Callable[[TaskOptions], "AbsTask"]


def task_names(text: str) -> list[str]:
    """Split names at the commas between them, not at those in brackets."""
    return [name.strip() for name in _COMMA.split(text) if name.strip()]


def find_tasks(
    names: Sequence[str],
    *,
    data: Path | None = None,
    queries: int | None = None,
    top_k: int = 100,
    data_dir: Path | None = None,
) -> list[tuple[TaskRow, TaskOptions]]:
    """Look tasks up without making them.

    :param names: Such as ``MedQuADRetrieval``, ``MedTEB`` for all of the benchmark that are built, ``beir:FOLDER``,
        ``SciFact`` or ``MTEB(Medical, v1)``.
    :param data: See `TaskOptions`, as are the others.
    :raises UnknownTaskError: If a name is not known, lacks its argument, stands for two parts of a task, or none of the
        tasks takes other data.
    :raises ReadError: If all of the benchmark is asked for, and nothing is built.
    """
    options = TaskOptions("", None, queries, top_k, data_dir)
    found: dict[str, tuple[TaskRow, TaskOptions]] = {}
    for name in names:
        for row, its in _rows_of(name, options, data):
            if found.setdefault(row.name, (row, its))[0].make != row.make:
                raise UnknownTaskError(
                    f"{row.name} is named twice, with other subsets or splits; run one after the other"
                )
    if not found:
        raise UnknownTaskError(f"no task is named; name one that `medte-eval tasks` lists, or {NAME} for all")
    if data is not None and not any(its.data for _, its in found.values()):
        raise UnknownTaskError(f"none of the tasks {', '.join(names)} takes other data; leave --data out")
    return list(found.values())


def _rows_of(name: str, options: TaskOptions, data: Path | None) -> Iterator[tuple[TaskRow, TaskOptions]]:
    if name == NAME:
        for row in _built_rows(options):
            yield row, options
    elif name == BEIR or name.startswith(f"{BEIR}:"):
        argument = name.partition(":")[2]
        if not argument:
            raise UnknownTaskError(f"{name!r} is not how the task is written; write {BEIR}:FOLDER")
        yield TaskRow(name, "Retrieval", MAIN_SCORES["Retrieval"], _make_beir), replace(options, argument=argument)
    elif (known := split_name(name)) is not None:
        own = data if known[0].name == MEDQUAD else None
        yield TaskRow(name, known[0].kind, known[0].main_score, _Maker(*known)), replace(options, data=own)
    else:
        for row in _mteb_rows(name, options):
            yield row, options


def not_built(data_dir: Path | None) -> list[ReadError]:
    """Return what is missing of the benchmark, each with the command that builds it.

    :param data_dir: See `TaskOptions`.
    """
    folder = data_dir or default_data_dir()
    return [_absent(task.name, folder) for task in _whole() if _folder_of(folder, task, llm_free=False) is None]


def _absent(name: str, data_dir: Path) -> ReadError:
    return ReadError(name, f"is not built in {data_dir}; build it with: medte-eval build --tasks {name}")


def _whole() -> list[BenchmarkTask]:
    return [task for task in BENCHMARK.values() if not task.reserve]


def _built_rows(options: TaskOptions) -> Iterator[TaskRow]:
    """Give what is built of the benchmark."""
    data_dir = options.data_dir or default_data_dir()
    built = [task for task in _whole() if _folder_of(data_dir, task, llm_free=False) is not None]
    if not built:
        raise ReadError(str(data_dir), f"holds no built task; build some with: medte-eval build --tasks {NAME}")
    for task in built:
        yield TaskRow(task.name, task.kind, task.main_score, _Maker(task, llm_free=False))


def _folder_of(data_dir: Path, task: BenchmarkTask, *, llm_free: bool) -> Path | None:
    """Return where a task is built; without a language model's help, if it is not with it."""
    names = [task.llm_free_name] if llm_free else dict.fromkeys([task.name, task.llm_free_name])
    return next((folder for name in names if (folder := find_built(data_dir, name)) is not None), None)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes a task of the benchmark: as it was built, or of MedQuAD's sample, which needs no building."""

    task: BenchmarkTask
    llm_free: bool

    def __call__(self, options: TaskOptions) -> "AbsTask":
        from medte_eval.tasks.built import open_built

        data_dir = options.data_dir or default_data_dir()
        folder = None if options.data else _folder_of(data_dir, self.task, llm_free=self.llm_free)
        if folder is not None:
            if folder.name != self.task.name and not self.llm_free:
                logger.warning("%s is not built; %s is, and is taken", self.task.name, folder.name)
            return open_built(folder, queries=options.queries, top_k=options.top_k)
        if self.task.name == MEDQUAD:
            from medte_eval.tasks.medquad import MedQuADRetrieval

            return MedQuADRetrieval(options.data, queries=options.queries, top_k=options.top_k)
        name = self.task.llm_free_name if self.llm_free else self.task.name
        raise _absent(name, data_dir)


def _make_beir(options: TaskOptions) -> "AbsTask":
    from medte_eval.tasks.beir import BeirRetrieval

    return BeirRetrieval(Path(options.argument), queries=options.queries, top_k=options.top_k)


def _mteb_rows(name: str, options: TaskOptions) -> list[TaskRow]:
    from medte_eval.tasks.hub import find_in_mteb, names_of_mteb

    found = find_in_mteb(name)
    if found and options.queries is not None:
        raise UnknownTaskError(f"{name!r} is mteb's own, of which all queries are asked; leave --queries out")
    if found:
        return [TaskRow(task.name, task.type, task.main_score, task) for task in found]
    hint = do_you_mean(name, [f"{BEIR}:FOLDER"], names_of_mteb())
    raise UnknownTaskError(
        f"unknown task {name!r}; {hint}`medte-eval tasks` lists them, and mteb's own go by its names"
    )


def do_you_mean(name: str, more: Iterable[str] = (), many: Iterable[str] = ()) -> str:
    """Return a question whether the known name is meant that a misspelt one is like, whatever the case; "" if none is.

    :param more: Names that are known beside the benchmark's.
    :param many: Others, which must be more alike.
    """
    folded, suffix = name.casefold(), LLM_FREE.casefold()
    few = {one.casefold(): one for one in (*more, NAME, *BENCHMARK)}
    every = {one.casefold(): one for one in many} | few
    asked = folded if folded in every else folded.removesuffix(suffix)
    near = difflib.get_close_matches(asked, every, 1, _VERY_LIKE) or difflib.get_close_matches(asked, few, 1, _LIKE)
    if not near:
        return ""
    meant = every[near[0]]
    free = folded.endswith(suffix) and split_name(meant + LLM_FREE) is not None
    return f"do you mean {meant}{LLM_FREE * free}? "
