"""Texts of queries and titles of documents, read from the tasks: results hold none, nor do reports unless asked to."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medte_eval.items import trec_word
from medte_eval.report.reading import Result
from medte_eval.tasks import find_tasks
from medte_eval.tasks.benchmark import is_public

_MOST = 300  # characters of a query
_BEGINNING = 100  # characters of a title, or of a document without one


@dataclass(frozen=True, slots=True)
class TaskTexts:
    """Texts of a task, by ids as they stand in files of TREC.

    :param queries: Their texts.
    :param titles: Of documents; where there is none, the beginning of the text.
    """

    queries: Mapping[str, str] = field(default_factory=dict)
    titles: Mapping[str, str] = field(default_factory=dict)


def read_texts(
    names: Sequence[str], results: Sequence[Result], data_dir: Path | None = None
) -> tuple[dict[str, TaskTexts], list[str]]:
    """Read texts of retrieval tasks that there are results of.

    :param names: Tasks, as ``--tasks`` of `medte-eval run` has them.
    :param results: Their data must be that of the tasks.
    :param data_dir: Where built tasks are; None for where `medte-eval build` puts them by itself.
    :returns: Tasks to texts; and notes on those whose texts are not shown.
    :raises UnknownTaskError: If there is no task of a name.
    :raises ReadError: If a task's data cannot be read.
    """
    measured = {one.task.name: one.task for one in results}
    found: dict[str, TaskTexts] = {}
    notes: list[str] = []
    for row, options in find_tasks(names, data_dir=data_dir):
        if row.type != "Retrieval":
            continue
        if not is_public(row.name):
            notes.append(f"{row.name} is of notes that must not be passed on; its queries are shown by their ids alone")
            continue
        task: Any = row.make(options)
        wanted = measured.get(task.metadata.name)
        if wanted is None:
            notes.append(f"there is no result of {task.metadata.name}, so none of its texts are shown")
            continue
        if wanted.sampled_queries is not None:
            task = row.make(replace(options, queries=wanted.sampled_queries))
        task.load_data()
        if task.metadata.dataset["revision"] != wanted.data_sha256:
            notes.append(f"{wanted.name} has other data now than when it was run; its queries are shown by ids alone")
            continue
        found[wanted.name] = _texts(task)
        task.unload_data()
    return found, notes


def _texts(task: Any) -> TaskTexts:
    parts = list(_parts(task))
    queries = {
        trec_word(f"{place}/{row['id']}" if len(parts) > 1 else row["id"]): _beginning(row["text"], _MOST)
        for place, data in parts
        for row in data["queries"]
    }
    titles = {
        trec_word(row["id"]): _beginning(row.get("title") or row["text"], _BEGINNING)
        for _, data in parts
        for row in data["corpus"]
    }
    return TaskTexts(queries, titles)


def _beginning(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most].rstrip()}\N{HORIZONTAL ELLIPSIS}"


def _parts(task: Any) -> Iterator[tuple[str, Any]]:
    """Give each subset and split: its name, as `read_items` has it, and its data."""
    for subset in task.hf_subsets:
        for split in task.eval_splits:
            yield f"{subset}/{split}", task.dataset[subset][split]
