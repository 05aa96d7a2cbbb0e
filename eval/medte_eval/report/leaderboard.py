"""Means of tasks as the benchmark's paper has them; a mean of fewer tasks never passes for one of all."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from statistics import fmean, stdev

from medte_eval.report.model import Setup, TaskScores
from medte_eval.report.published import published_means
from medte_eval.report.scores import type_order
from medte_eval.report.standings import Leaderboard, Mean, Standing
from medte_eval.tasks.benchmark import BENCHMARK, NAME, split_name
from medte_eval.tasks.benchmark.sources import SOURCES

Counted = Mapping[str, tuple[TaskScores, float]]
"""What counts for a leaderboard's row: tasks, by their names in the benchmark, with their main scores."""


def make_leaderboards(tasks: Sequence[TaskScores], setups: Sequence[Setup]) -> list[Leaderboard]:
    """Return a leaderboard of the benchmark and one of the tasks that are not of it, where there are any."""
    return [_leaderboard(name, its, setups) for name, its in _by_benchmark(tasks)]


def _by_benchmark(tasks: Sequence[TaskScores]) -> Iterator[tuple[str, list[TaskScores]]]:
    for name in dict.fromkeys(task.benchmark for task in tasks):
        yield name, [task for task in tasks if task.benchmark == name]


def _leaderboard(name: str, tasks: Sequence[TaskScores], setups: Sequence[Setup]) -> Leaderboard:
    counted = [row for row in BENCHMARK.values() if not row.reserve] if name == NAME else []
    kinds = [row.kind for row in counted] if counted else [one.type for one in tasks]
    types = dict(sorted(Counter(kinds).items(), key=lambda one: type_order(one[0])))
    sources = dict(Counter(SOURCES[row.source].title for row in counted))
    found = [(setup, _counted(setup.mark, tasks)) for setup in setups]
    rows = [_standing(setup, its, types, sources) for setup, its in found if its]
    return Leaderboard(name, types, sources, sorted([*rows, *(published_means() if counted else [])], key=_order))


def _order(row: Standing) -> tuple[object, ...]:
    score = row.mean if row.mean is not None else fmean(mean.value for mean in row.means.values())
    return (not row.whole, 0 if row.whole else -len(row.over_tasks.tasks), -score, row.name.lower())


def _counted(mark: str, tasks: Iterable[TaskScores]) -> Counted:
    """Return what a setup has scores of. A variant counts where the task itself is missing."""
    found: dict[str, tuple[TaskScores, float]] = {}
    for task in tasks:
        score = next((one.score for one in task.scores if one.mark == mark), None)
        known = split_name(task.name)
        base = known[0].name if known else task.name
        if score is not None and (base not in found or task.name == base):
            found[base] = task, score
    return found


def _standing(setup: Setup, found: Counted, types: Mapping[str, int], sources: Mapping[str, int]) -> Standing:
    means = _means(found, types, lambda task: task.type)
    return Standing(
        name=setup.name,
        mark=setup.mark,
        published=None,
        means=means,
        mean=fmean(mean.value for mean in means.values()) if means.keys() == types.keys() else None,
        over_tasks=_mean(found, sum(types.values())),
        by_source=_means(found, sources, lambda task: task.source),
        seconds=_seconds(setup.mark, [task for task, _ in found.values()]),
    )


def _seconds(mark: str, tasks: Sequence[TaskScores]) -> float | None:
    every = [(one.index_seconds, one.search_seconds) for task in tasks for one in task.scores if one.mark == mark]
    known = [index + search for index, search in every if index is not None and search is not None]
    return fmean(known) if len(known) == len(every) else None


def _means(found: Counted, groups: Mapping[str, int], group: Callable[[TaskScores], str | None]) -> dict[str, Mean]:
    parts = {name: {base: one for base, one in found.items() if group(one[0]) == name} for name in groups}
    return {name: _mean(its, groups[name]) for name, its in parts.items() if its}


def _mean(found: Counted, of: int) -> Mean:
    scores = [score for _, score in found.values()]
    return Mean(
        fmean(scores),
        tuple(task.name for task, _ in found.values()),
        of,
        stdev(scores) if len(scores) > 1 else None,
        sum(base in BENCHMARK and _is_variant(task) for base, (task, _) in found.items()),
    )


def _is_variant(task: TaskScores) -> bool:
    return task.name not in BENCHMARK or task.sampled_queries is not None or task.reduced
