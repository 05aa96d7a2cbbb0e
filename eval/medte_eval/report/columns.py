"""The headers of the page's tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from medte_eval.report.model import Report, Setup
from medte_eval.report.standings import Leaderboard
from medte_eval.report.writing import count, metrics, type_name


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    :param unit: Of its values; or what else is said below its name.
    :param kind: Its CSS class: ``wide`` for a drawing, ``text`` for words, ``setup`` for a system's scores.
    """

    name: str
    unit: str = ""
    kind: str = ""


COSTS = (
    *(Column("System"), Column("Score"), Column("p50", "ms"), Column("p99", "ms"), Column("Queries/s")),
    *(Column("Vectors", "in memory"), Column("Index", "on disk"), Column("Indexing", "s"), Column("All queries", "s")),
)


def of_board(board: Leaderboard, report: Report) -> list[Column]:
    """Return those of a leaderboard."""
    types = [
        Column(type_name(kind), f"{metrics(report.tasks, kind, board.name)}, {count(number, 'task')}")
        for kind, number in board.types.items()
    ]
    means = (Column("Mean of types"), Column("Mean of tasks"), Column("Mean run time", "s a task"))
    return [Column("System and model"), *types, *means]


def of_setups(first: str, setups: Sequence[Setup]) -> list[Column]:
    """Return those of a table with a column for each system.

    :param first: Name of the first column.
    """
    return [Column(first), *(Column(one.mark, one.system, "setup") for one in setups)]


def of_sources(board: Leaderboard, report: Report) -> list[Column]:
    """Return those of a leaderboard's means by source."""
    return of_setups("Source", [report.setup(row.mark) for row in board.measured if row.mark is not None])


def of_differences(limit: str) -> list[Column]:
    """Return those of the differences to the model alone.

    :param limit: The greatest that is drawn.
    """
    return [
        *(Column("Task"), Column("Difference"), Column(f"\N{MINUS SIGN}{limit} to +{limit}", kind="wide")),
        *(Column("p"), Column("Verdict", kind="text"), Column("Model alone"), Column("System")),
        *(Column("Better", "queries"), Column("Worse", "queries")),
    ]
