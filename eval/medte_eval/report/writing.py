"""How numbers and names of a report are written, on the page and in Markdown."""

from collections import Counter
from collections.abc import Iterable

from medte_eval.report.model import Report, Scored, TaskScores
from medte_eval.report.published import SOURCES
from medte_eval.report.scores import ENCODING
from medte_eval.report.standings import Leaderboard, Mean, Standing
from medte_eval.report.terminal import score_name
from medte_eval.tasks.benchmark import BENCHMARK, NAME

_TYPES = {"PairClassification": "Pair classification"}
VERDICTS = {"better": "better", "worse": "worse", "even": "within chance", "untested": "not tested"}
NONE = "\N{EN DASH}"


def type_name(kind: str) -> str:
    """Return a task type as people write it."""
    return _TYPES.get(kind, kind)


def score(value: float | None, *, rounded: bool = False) -> str:
    """Write a score with three decimals.

    :param rounded: With the two that are published of it.
    """
    return NONE if value is None else f"{value:.{2 if rounded else 3}f}"


def signed(value: float) -> str:
    """Write a difference with its sign."""
    return f"{value:+.4f}".replace("-", "\N{MINUS SIGN}")


def about_mean(mean: Mean) -> str:
    """Write how far the scores of a mean lie apart, and of how many tasks it is where it is not of all."""
    told = [] if mean.deviation is None else [f"± {score(mean.deviation)}"]
    if not mean.whole:
        told.append(f"{len(mean.tasks)} of {mean.of}")
    if mean.variants:
        told.append(count(mean.variants, "variant"))
    return ", ".join(told)


def chance(p: float | None) -> str:
    """Write the p of a test."""
    if p is None:
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def tenths(value: float | None) -> str:
    """Write milliseconds, seconds and rates with one decimal."""
    return NONE if value is None else f"{value:,.1f}"


def megabytes(value: int | None) -> str:
    """Write bytes as megabytes, of a million bytes."""
    return NONE if value is None else f"{value / 1e6:,.1f} MB"


def whole(number: int | None) -> str:
    """Write how many."""
    return NONE if number is None else f"{number:,}"


def count(number: int, word: str) -> str:
    """Write a number of things."""
    plural = f"{word[:-1]}ies" if word.endswith("y") else f"{word}s"
    return f"{number:,} {word if number == 1 else plural}"


def metrics(tasks: Iterable[TaskScores], kind: str, benchmark: str) -> str:
    """Write the main scores of the tasks of a type on a leaderboard."""
    found = {task.main_score: None for task in tasks if task.type == kind and task.benchmark == benchmark}
    found |= {one.main_score: None for one in BENCHMARK.values() if one.kind == kind and benchmark == NAME}
    return " and ".join(map(score_name, found))


def about_board(board: Leaderboard, report: Report) -> str:
    """Return what a reader of a leaderboard must know."""
    told = [
        "Means of each task's main score with their standard deviations over tasks; in the mean of types each type"
        " counts the same, in that of tasks each task. The run time is that of indexing and of all queries."
    ]
    if board.name == NAME:
        told.append(f"Published rows are {SOURCES[NAME]}.")
        told += _prefixed(report)
    if not all(row.whole for row in board.rows):
        told.append("A mean of fewer tasks says how many; it is to be compared only with means of the same tasks.")
    if any(row.over_tasks.variants for row in board.rows):
        told.append(
            "Variants are tasks built without a language model or of a part of their source (--max-rows, or the sample"
            " of MedQuAD that ships), which makes them easier, or asked a sample of their queries."
        )
    return " ".join(told)


def averaged(board: Leaderboard) -> str:
    """Return which retrieval tasks the benchmark's mean is of, since its definition leaves one open; else nothing."""
    if board.name != NAME:
        return ""
    every = [one for one in BENCHMARK.values() if one.kind == "Retrieval"]
    counted, reserve = ([one.name for one in every if one.reserve is there] for there in (False, True))
    return (
        f"The {len(counted)} retrieval tasks that are averaged are {', '.join(counted)}. {', '.join(reserve)}, which"
        " may be one of the benchmark's, is not counted."
    )


def about_published(report: Report) -> str:
    """Return what a reader of published scores of tasks must know."""
    sources = [f"{name}: {where}." for name, where in SOURCES.items() if name != NAME]
    told = "Tasks of which others have published the same metric on the same data."
    return " ".join([told, *sources, *_prefixed(report)])


def _prefixed(report: Report) -> list[str]:
    marks = ", ".join(setup.mark for setup in report.setups if setup.prefixed)
    return [f"Prefixes stand before queries and passages of {marks} (--no-prefixes leaves them out)."] if marks else []


def groups(board: Leaderboard) -> list[list[Standing]]:
    """Return the rows with all tasks and those with some, which do not compare; first what has something measured."""
    whole = [row for row in board.rows if row.whole]
    some = [row for row in board.rows if not row.whole]
    first = any(row.published is None for row in whole)
    return [rows for rows in ((whole, some) if first else (some, whole)) if rows]


def beside_alone(report: Report, mark: str) -> str:
    """Write on how many tasks a system is better or worse than its model alone; empty where none are compared."""
    found: dict[str, Counter[str]] = {}
    for one in report.differences:
        if one.mark == mark:
            found.setdefault(one.baseline, Counter())[one.verdict] += 1
    told = {
        baseline: ", ".join(f"{VERDICTS[verdict]} on {its[verdict]}" for verdict in VERDICTS if its[verdict])
        + f" of {count(its.total(), 'task')}"
        for baseline, its in found.items()
    }
    lines = [f"beside {baseline}: {text}" for baseline, text in told.items()]
    learned = [task.name for task in report.tasks for one in task.scores if one.mark == mark and one.learned_from]
    return "; ".join([*lines, *(["weights learned from queries of " + ", ".join(learned)] if learned else [])])


def failed_together(report: Report) -> list[tuple[list[str], str | None, str]]:
    """Return tasks, the system and the reason of what could not be run, tasks with one reason together."""
    found: dict[tuple[str | None, str], list[str]] = {}
    for one in report.failures:
        found.setdefault((one.system, one.message), []).append(one.task)
    return [(tasks, system, message) for (system, message), tasks in found.items()]


def about_score(one: Scored) -> list[str]:
    """Return what keeps a search from being put beside the others, in a few words each."""
    told = ["encoding alone timed"] if one.timed == ENCODING else []
    told += [] if one.at_most is None else [f"at most {count(one.at_most, 'document')}"]
    told += [] if one.learned_from is None else [f"weights learned from {one.learned_from:,} of the queries"]
    return told


def notes_of(task: TaskScores) -> list[str]:
    """Return what a reader of a task's scores must know, each once."""
    return list(dict.fromkeys(note for one in task.scores for note in one.notes))
