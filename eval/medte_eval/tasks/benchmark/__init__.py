"""The benchmark's 51 tasks, and the one that may or may not belong to them, as rows of one table.

What each is made of is said by the file of its source. The benchmark is MedTEB, arXiv 2507.19407.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from medte_eval.tasks.benchmark import exams, medquad, mimic, pmc, preprints, pubmed, trials, wikipedia
from medte_eval.tasks.benchmark.sources import SOURCES
from medte_eval.tasks.benchmark.task import LLM_FREE, BenchmarkTask

NAME = "MedTEB"
"""Names all tasks but the reserve."""


def _registry(rows: Iterable[BenchmarkTask]) -> Mapping[str, BenchmarkTask]:
    found: dict[str, BenchmarkTask] = {}
    for row in sorted(rows, key=lambda row: (row.reserve, row.number)):
        if row.name in found:
            raise ValueError(f"two tasks are called {row.name!r}")
        found[row.name] = row
    return MappingProxyType(found)


_FAMILIES = (wikipedia, pmc, mimic, exams, pubmed, trials, medquad, preprints)
BENCHMARK = _registry(row for family in _FAMILIES for row in family.TASKS)
"""Tasks by name in the order of the table, the reserve last."""


def split_name(name: str) -> tuple[BenchmarkTask, bool] | None:
    """Look a name up.

    :param name: A task's, with `LLM_FREE` behind it or not.
    :returns: The task and whether the variant without a language model is meant; None if there is no such task.
    """
    task = BENCHMARK.get(name.removesuffix(LLM_FREE))
    if task is None or (name.endswith(LLM_FREE) and not task.uses_llm):
        return None
    return task, name.endswith(LLM_FREE)


def is_public(name: str) -> bool:
    """Tell whether texts of a task may leave the machine; of one that is none of the benchmark's nothing forbids it."""
    known = split_name(name)
    return known is None or SOURCES[known[0].source].public
