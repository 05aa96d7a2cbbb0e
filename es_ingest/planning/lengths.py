"""How long texts are, counted exactly."""

from collections import Counter
from collections.abc import Iterable
from typing import Any


class Lengths:
    """Lengths in tokens, as a count of each length that occurs: no more is kept, however many texts there are.

    :param lengths: The first of them.
    """

    def __init__(self, lengths: Iterable[int] = ()) -> None:
        self.counts: Counter[int] = Counter(lengths)

    def add(self, lengths: Iterable[int]) -> None:
        """Count more lengths."""
        self.counts.update(lengths)

    @property
    def number(self) -> int:
        """How many there are."""
        return self.counts.total()

    @property
    def longest(self) -> int:
        """The greatest of them, 0 if there are none."""
        return max(self.counts, default=0)

    def total(self, limit: int | None = None) -> int:
        """Return their sum, each cut at a limit if one is given."""
        return sum((length if limit is None else min(length, limit)) * count for length, count in self.counts.items())

    def over(self, limit: int) -> int:
        """Return how many exceed a limit."""
        return sum(count for length, count in self.counts.items() if length > limit)

    def quantile(self, share: float) -> int:
        """Return the least length that this share of them does not exceed, 0 if there are none."""
        wanted, passed = share * self.number, 0
        for length in sorted(self.counts):
            passed += self.counts[length]
            if passed >= wanted:
                return length
        return 0

    def to_dict(self) -> dict[str, Any]:
        """Return mean, quantiles and maximum, in tokens."""
        return {
            "mean": round(self.total() / self.number, 1) if self.number else 0.0,
            **{f"p{percent}": self.quantile(percent / 100) for percent in (50, 90, 99)},
            "max": self.longest,
        }
