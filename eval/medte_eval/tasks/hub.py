"""mteb's own tasks and benchmarks by their names there; their data comes from the Hugging Face hub."""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import mteb
from mteb.abstasks.abstask import AbsTask
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.get_tasks import TASK_LIST

from es_ingest.records import ReadError
from medte_eval.tasks.retrieval import K_VALUES

if TYPE_CHECKING:
    from medte_eval.tasks import TaskOptions

_DEPTH = re.compile(r"_at_(\d+)$")


class HubTask(AbsTask):
    """What is added to a task class of mteb's: what our runs need to know, and one clear error."""

    left_out = 0
    sampled: int | None = None
    own_corpus = "title and text"

    def load_data(self, *given: Any, **options: Any) -> None:
        """Load the data from the hub or its cache.

        :raises ReadError: If it cannot be had.
        """
        try:
            super().load_data(*given, **options)
        except Exception as error:
            reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
            path = self.metadata.dataset["path"]
            raise ReadError(
                self.metadata.name,
                f"its data {path} is not to be had from the hub: {reason}\n  fetch it once where the hub is reachable"
                f" (`hf download --repo-type dataset {path}`) and set HF_HOME to that cache",
            ) from error


@dataclass(frozen=True, slots=True)
class FromMteb:
    """A task of mteb's that can be made; making it twice makes two.

    :param name: mteb's.
    :param type: mteb's.
    :param main_score: mteb's.
    :param subsets: Its subsets that a benchmark asks for, or all.
    :param splits: The same of its splits.
    """

    name: str
    type: str
    main_score: str
    subsets: tuple[str, ...]
    splits: tuple[str, ...]

    def __call__(self, options: "TaskOptions") -> AbsTask:
        """Make it."""
        kind = type(mteb.get_task(self.name))
        task: AbsTask = type(kind.__name__, (HubTask, kind), {})()
        task.filter_languages(None, hf_subsets=self.subsets)
        task.filter_eval_splits(self.splits)
        if isinstance(task, AbsTaskRetrieval):
            counted = {k for k in K_VALUES if k <= options.top_k}
            if depth := _DEPTH.search(self.main_score):  # that of map_at_1000 must be reached, whatever was asked for
                counted.add(int(depth[1]))
            task.k_values = tuple(sorted(counted))
            task._top_k = max(counted)
        return task


def names_of_mteb() -> list[str]:
    """Return all that `find_in_mteb` finds something by."""
    return [*(task.metadata.name for task in TASK_LIST), *(one.name for one in mteb.get_benchmarks())]


def find_in_mteb(name: str) -> list[FromMteb]:
    """Look a task or a benchmark up by mteb's name for it; without one, return nothing."""
    try:
        tasks = list(mteb.get_benchmark(name).tasks)
    except KeyError:
        try:
            tasks = [mteb.get_task(name)]
        except KeyError:
            return []
    about = [(task.metadata, tuple(task.hf_subsets), tuple(task.eval_splits)) for task in tasks]
    return [FromMteb(one.name, one.type, one.main_score, *parts) for one, *parts in about]
