"""Means of tasks by type, as the benchmark's paper has them; a mean of fewer tasks never passes for one of all."""

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean

from medte_eval.report.model import Leaderboard, Mean, Setup, Standing, TaskScores
from medte_eval.report.published import published_means
from medte_eval.report.scores import type_order
from medte_eval.tasks.benchmark import BENCHMARK, NAME, split_name


def make_leaderboards(tasks: Sequence[TaskScores], setups: Sequence[Setup]) -> list[Leaderboard]:
    """Return a leaderboard of the benchmark and one of the tasks that are not of it, where there are any."""
    return [_leaderboard(name, its, setups) for name, its in _by_benchmark(tasks)]


def _by_benchmark(tasks: Sequence[TaskScores]) -> Iterator[tuple[str, list[TaskScores]]]:
    for name in dict.fromkeys(task.benchmark for task in tasks):
        yield name, [task for task in tasks if task.benchmark == name]


def _leaderboard(name: str, tasks: Sequence[TaskScores], setups: Sequence[Setup]) -> Leaderboard:
    counted = (
        [row.kind for row in BENCHMARK.values() if not row.reserve] if name == NAME else [one.type for one in tasks]
    )
    types = dict(sorted(Counter(counted).items(), key=lambda one: type_order(one[0])))
    rows = [_standing(setup, tasks, types) for setup in setups]
    rows = [row for row in rows if row.tasks] + (published_means() if name == NAME else [])
    return Leaderboard(name, types, sorted(rows, key=_order))


def _order(row: Standing) -> tuple[object, ...]:
    score = row.mean if row.mean is not None else fmean(mean.value for mean in row.means.values())
    return (not row.whole, 0 if row.whole else -row.tasks, -score, row.name.lower())


def _standing(setup: Setup, tasks: Sequence[TaskScores], types: dict[str, int]) -> Standing:
    means = {kind: mean for kind, number in types.items() if (mean := _mean(setup.mark, kind, number, tasks))}
    return Standing(
        name=setup.name,
        mark=setup.mark,
        published=None,
        means=means,
        mean=fmean(mean.value for mean in means.values()) if means.keys() == types.keys() else None,
        tasks=sum(len(mean.tasks) for mean in means.values()),
        whole=means.keys() == types.keys() and all(mean.whole for mean in means.values()),
    )


def _mean(mark: str, kind: str, number: int, tasks: Sequence[TaskScores]) -> Mean | None:
    """Return a setup's mean of a type; None without any. A variant counts where the task itself is missing."""
    found: dict[str, tuple[TaskScores, float]] = {}
    for task in tasks:
        score = next((one.score for one in task.scores if one.mark == mark), None)
        known = split_name(task.name)
        base = known[0].name if known else task.name
        if task.type == kind and score is not None and (base not in found or task.name == base):
            found[base] = task, score
    if not found:
        return None
    variants = [task for base, (task, _) in found.items() if base in BENCHMARK and _is_variant(task)]
    names = tuple(task.name for task, _ in found.values())
    return Mean(fmean(score for _, score in found.values()), names, number, len(variants))


def _is_variant(task: TaskScores) -> bool:
    return task.name not in BENCHMARK or task.sampled_queries is not None or task.reduced
