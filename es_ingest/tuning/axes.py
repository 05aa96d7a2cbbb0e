"""Where a setting stands in a picture: latency to the right on a logarithmic scale, recall upwards in nines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from es_ingest.tuning.measure import Measured

_NINES = 0.0005  # puts recall 1 as far above 0.99 as that is above 0.9, not infinitely far
_RECALLS = (0.0, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1.0)


@dataclass(frozen=True, slots=True)
class Axes:
    """Two scales that hold all of some points.

    :param fastest: Milliseconds at the left end.
    :param slowest: Milliseconds at the right end.
    :param lowest: Recall at the bottom; 1 is at the top.
    """

    fastest: float
    slowest: float
    lowest: float

    @classmethod
    def around(cls, points: Sequence[Measured], wanted_recall: float) -> "Axes":
        """Return axes that show all points and the recall wanted, with some room beside them."""
        times = [one.p50_ms for one in points]
        lowest = min(wanted_recall, *(one.recall for one in points))
        return cls(min(times) / 1.2, max(times) * 1.2, max(tick for tick in _RECALLS[:-1] if tick <= lowest))

    def across(self, p50_ms: float) -> float:
        """Return where a latency stands, from 0 at the left to 1 at the right."""
        return math.log(p50_ms / self.fastest) / math.log(self.slowest / self.fastest)

    def up(self, recall: float) -> float:
        """Return where a recall stands, from 0 at the bottom to 1 at the top."""
        return (_nines(recall) - _nines(self.lowest)) / (_nines(1.0) - _nines(self.lowest))

    @property
    def times(self) -> list[float]:
        """Round numbers of milliseconds to write below."""
        tens = range(math.floor(math.log10(self.fastest)), math.ceil(math.log10(self.slowest)))
        steps = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8]
        return [step * 10.0**ten for ten in tens for step in steps if self.fastest <= step * 10.0**ten <= self.slowest]

    @property
    def recalls(self) -> list[float]:
        """Recalls to write beside."""
        return [tick for tick in _RECALLS if tick >= self.lowest]


def _nines(recall: float) -> float:
    return -math.log10(1.0 - recall + _NINES)


def front(points: Sequence[Measured]) -> list[Measured]:
    """Return the points than which none is both faster and of higher recall, fastest first."""
    best: list[Measured] = []
    for one in sorted(points, key=lambda one: (one.p50_ms, -one.recall)):
        if not best or one.recall > best[-1].recall:
            best.append(one)
    return best
