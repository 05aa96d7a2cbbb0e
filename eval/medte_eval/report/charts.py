"""Where bars, points and intervals stand: in percent of the width, so that text keeps its size at any width."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from medte_eval.report.model import Difference, Scored, TaskScores
from medte_eval.report.scores import ENCODING
from medte_eval.report.standings import Leaderboard, Standing

_LEFT, _RIGHT = 13.0, 95.0  # percent: the room of the points
_TOP, _BOTTOM = 30.0, 232.0  # pixels
HEIGHT = 280
"""Of a trade-off, in pixels."""
_NOMINAL = 480  # pixels that a percent is taken of, where labels must keep apart


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar with its label.

    :param name: Of the system and model, or the published model.
    :param mark: The setup's; None for published scores.
    :param published: Where they are published; None for what was measured.
    :param value: The score.
    """

    name: str
    mark: str | None
    published: str | None
    value: float

    @property
    def share(self) -> float:
        """Percent of the width; a score below 0 has no bar."""
        return round(100 * max(0.0, min(1.0, self.value)), 2)


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of scores that can be compared with each other.

    :param tasks: How many tasks each is the mean of.
    :param of: How many there are.
    """

    type: str
    tasks: int
    of: int
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class Point:
    """A setup in the plane of latency and quality.

    :param x: Percent of the width.
    :param y: Pixels from the top.
    :param radius: Pixels; its area grows with the memory of the vectors.
    :param known: Whether that is known.
    :param label_dx: Pixels from the middle to that of the mark.
    :param label_dy: The same downwards, to the mark's foot.
    """

    mark: str
    x: float
    y: float
    radius: float
    known: bool
    label_dx: float
    label_dy: float


@dataclass(frozen=True, slots=True)
class Tradeoff:
    """A chart of quality by latency.

    :param x_ticks: Percent of the width, and what is written there.
    :param y_ticks: Pixels from the top, and what is written there.
    :param alone: Pixels from the top of the model alone, whose latency cannot be compared; by mark.
    """

    points: Sequence[Point]
    x_ticks: Sequence[tuple[float, str]]
    y_ticks: Sequence[tuple[float, str]]
    alone: Sequence[tuple[float, str]]


def bars_by_type(board: Leaderboard) -> list[Bars]:
    """Return bars for each type of a leaderboard.

    They are of all its tasks; where nothing was measured on all of them, of those that most setups have in common, and
    then without what is published of all.
    """
    return [found for kind, of in board.types.items() if (found := _bars(board.rows, kind, of)) is not None]


def _bars(rows: Sequence[Standing], kind: str, of: int) -> Bars | None:
    having = [row for row in rows if kind in row.means]
    measured = [row for row in having if row.published is None]
    if not measured:
        return None
    shown = [row for row in having if row.means[kind].whole]
    if not any(row.published is None for row in shown):
        sets = [row.means[kind].tasks for row in measured]
        common = max(sets, key=lambda one: (sets.count(one), len(one)))
        shown = [row for row in measured if row.means[kind].tasks == common]
    bars = [Bar(row.name, row.mark, row.published, row.means[kind].value) for row in shown]
    tasks = len(shown[0].means[kind].tasks)
    return Bars(kind, tasks, of, sorted(bars, key=lambda one: -one.value))


def task_bars(task: TaskScores, names: dict[str, str]) -> Bars:
    """Return bars of what was measured and what is published of a task.

    :param names: Of the setups, by mark.
    """
    own = [Bar(names[one.mark], one.mark, None, one.score) for one in task.scores if one.score is not None]
    others = [Bar(one.model, None, one.source, one.score) for one in task.published]
    return Bars(task.type, 1, 1, sorted([*own, *others], key=lambda one: -one.value))


def widest(differences: Sequence[Difference]) -> float:
    """Return a round number that no end of an interval is beyond."""
    ends = [
        abs(end) for one in differences for end in (one.compared.low, one.compared.high, one.compared.difference) if end
    ]
    most = max(ends, default=0.01)
    step = 10.0 ** math.floor(math.log10(most))
    return next(step * times for times in (1, 2, 5, 10) if step * times >= most)


def across(value: float, limit: float) -> float:
    """Return where a difference stands between ``-limit`` and ``limit``, in percent."""
    return round(50 + 48 * max(-1.0, min(1.0, value / limit)), 2)


def is_compared(score: Scored) -> bool:
    """Tell whether the latency is that of a search as deep as the others; that of encoding alone says little."""
    timed = score.timed != ENCODING and score.at_most is None
    return score.score is not None and (score.p50_ms or 0) > 0 and timed


def unbeaten(scores: Iterable[Scored]) -> set[str]:
    """Return the marks of those than which no other is as good in quality, latency and memory, and better in one.

    Those of which the memory is not known have no part in it.
    """
    every = {
        one.mark: (one.score or 0.0, -(one.p50_ms or 0.0), -one.vector_bytes)
        for one in scores
        if is_compared(one) and one.vector_bytes is not None
    }
    return {
        mark
        for mark, own in every.items()
        if not any(other != own and _as_good(other, own) for other in every.values())
    }


def _as_good(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(mine >= theirs for mine, theirs in zip(one, other, strict=True))


def tradeoff(scores: Sequence[Scored]) -> Tradeoff | None:
    """Return a chart of a task; None of fewer than two searches that were timed."""
    timed = [one for one in scores if is_compared(one)]
    if len(timed) < 2:
        return None
    alone = [one for one in scores if one.score is not None and one.timed == ENCODING]
    low_x, high_x = _padded([math.log10(one.p50_ms or 1.0) for one in timed], least=0.15)
    low_y, high_y = _padded([one.score or 0.0 for one in (*timed, *alone)], least=0.01)

    def x_of(milliseconds: float) -> float:
        return round(_LEFT + (_RIGHT - _LEFT) * (math.log10(milliseconds) - low_x) / (high_x - low_x), 2)

    def y_of(score: float) -> float:
        return round(_BOTTOM - (_BOTTOM - _TOP) * (score - low_y) / (high_y - low_y), 1)

    most = max((one.vector_bytes or 0 for one in timed), default=0) or 1
    sizes = [round(5 + 15 * math.sqrt((one.vector_bytes or 0) / most), 1) for one in timed]
    places = [(x_of(one.p50_ms or 1.0), y_of(one.score or 0.0), size) for one, size in zip(timed, sizes, strict=True)]
    labels = _labels(places)
    ticks = list(_ticks(low_y, high_y))
    decimals = max(len(f"{one:g}".partition(".")[2]) for one in ticks)
    return Tradeoff(
        points=[
            Point(one.mark, *place, one.vector_bytes is not None, *label)
            for one, place, label in zip(timed, places, labels, strict=True)
        ],
        x_ticks=[(x_of(one), f"{one:g}") for one in _log_ticks(low_x, high_x)],
        y_ticks=[(y_of(one), f"{one:.{decimals}f}") for one in ticks],
        alone=[(y_of(one.score or 0.0), one.mark) for one in alone],
    )


def _padded(values: Sequence[float], least: float) -> tuple[float, float]:
    pad = max(least, 0.12 * (max(values) - min(values)))
    return min(values) - pad, max(values) + pad


def _ticks(low: float, high: float) -> Iterator[float]:
    """Give three to seven round numbers."""
    magnitude = 10.0 ** math.floor(math.log10(high - low))
    step = next(magnitude * one for one in (2, 1, 0.5, 0.2) if (high - low) / (magnitude * one) >= 3)
    for number in range(math.ceil(low / step), math.floor(high / step) + 1):
        yield round(number * step, 10)


def _log_ticks(low: float, high: float) -> list[float]:
    """Return at most six round numbers of which the logarithms are within."""
    for digits in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        every = [10.0**power * one for power in range(math.floor(low), math.ceil(high) + 1) for one in digits]
        found = [one for one in every if low <= math.log10(one) <= high]
        if len(found) <= 6:
            break
    return found


def _labels(places: Sequence[tuple[float, float, float]]) -> list[tuple[float, float]]:
    """Return where marks are written: beside the points, apart from each other, and off other points if it can be."""
    found: list[tuple[float, float]] = []
    taken: list[tuple[float, float]] = []
    for own, (x, y, radius) in enumerate(places):
        aside = radius + 9
        around = [(aside, 5.0), (-aside, 5.0), (0.0, -radius - 5), (0.0, radius + 15)]
        around += [(aside, 21.0), (aside, -11.0), (-aside, 21.0), (-aside, -11.0)]
        at = [(x * _NOMINAL / 100 + dx, y + dy) for dx, dy in around]
        others = [one for number, one in enumerate(places) if number != own]
        free = [number for number, place in enumerate(at) if not any(_meet(place, other) for other in taken)]
        clear = (number for number in free if not any(_covers(point, at[number]) for point in others))
        best = next(clear, next(iter(free), 0))
        found.append(around[best])
        taken.append(at[best])
    return found


def _meet(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return abs(one[0] - other[0]) <= 16 and abs(one[1] - other[1]) <= 14


def _covers(point: tuple[float, float, float], label: tuple[float, float]) -> bool:
    x, y, radius = point
    return math.hypot(label[0] - x * _NOMINAL / 100, label[1] - 5 - y) < radius + 6
