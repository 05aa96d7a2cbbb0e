"""Which of the texts near an anchor are hard negatives: not too near, not the same again, drawn with a seed."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from medte_haystack.errors import TrainingConfigError
from medte_haystack.training.near import Grams, jaccard

Sampling = Literal["top", "random"]
NEAR = 0.8
"""Jaccard index of n-grams from which a candidate is taken for a positive, or for a negative that is there already."""

TOO_NEAR = "score too near the positive's"
LIKE_POSITIVE = "nearly the same as a positive or the anchor"
LIKE_NEGATIVE = "nearly the same as another negative"


@dataclass(frozen=True, slots=True)
class NegativeOptions:
    """How negatives are chosen; the names are those of sentence-transformers' `mine_hard_negatives`.

    :param num_negatives: Most negatives of a pair.
    :param range_min: Nearest candidates that are passed over, an anchor's own positives not counted.
    :param range_max: Rank behind which nothing is taken.
    :param relative_margin: Share of the positive's score by which a negative's must be below it: 0.05 takes what has at
        most 95 % (NV-Retriever, arXiv 2407.15831). Candidates above may be positives that nobody noted.
    :param absolute_margin: Cosine by which it must be below it as well.
    :param sampling: ``top`` takes the nearest of the candidates that are left, ``random`` draws among them.
    :param seed: Of the draws.
    :param near: See `NEAR`.
    :raises TrainingConfigError: If a number is out of range.
    """

    num_negatives: int = 5
    range_min: int = 0
    range_max: int = 100
    relative_margin: float = 0.05
    absolute_margin: float = 0.0
    sampling: Sampling = "top"
    seed: int = 42
    near: float = NEAR

    def __post_init__(self) -> None:
        if self.num_negatives < 1:
            raise TrainingConfigError(f"num_negatives is {self.num_negatives}; it must be 1 or more")
        if not 0 <= self.range_min < self.range_max:
            raise TrainingConfigError(
                f"range_min is {self.range_min} and range_max {self.range_max}; the first must be 0 or more and below"
                " the second"
            )
        for name, value in (("relative_margin", self.relative_margin), ("absolute_margin", self.absolute_margin)):
            if not 0 <= value <= 1:
                raise TrainingConfigError(f"{name} is {value:g}; it must lie between 0 and 1")
        if not 0 < self.near <= 1:
            raise TrainingConfigError(f"near is {self.near:g}; it must be above 0 and at most 1")

    def highest(self, positive: float) -> float:
        """Return the highest score of a negative.

        :param positive: The positive's.
        """
        return positive - max(self.absolute_margin, self.relative_margin * abs(positive))


def choose(
    candidates: Iterable[tuple[int, float]],
    own: set[int],
    positive: float,
    known: Sequence[Grams],
    options: NegativeOptions,
    *,
    pair: str,
    grams: Callable[[int], Grams],
    dropped: Counter[str],
    taken: Sequence[Grams] = (),
) -> list[tuple[int, float]]:
    """Choose the negatives of a pair.

    :param candidates: Numbers of texts with their cosines to the anchor, nearest first.
    :param own: Numbers of all positives of the anchor.
    :param positive: Cosine of the pair's positive to the anchor.
    :param known: N-grams of the anchor and its positives.
    :param pair: Id of the pair; with the seed it decides what is drawn.
    :param grams: N-grams of a text by its number.
    :param dropped: Counts what was not taken, by the reason; only as far as was looked.
    :param taken: N-grams of negatives that the pair has already.
    :returns: Numbers and cosines, nearest first.
    """
    others = [one for one in candidates if one[0] not in own]
    highest = options.highest(positive)
    left = [one for one in others[options.range_min : options.range_max] if one[1] <= highest]
    dropped[TOO_NEAR] += len(others[options.range_min : options.range_max]) - len(left)
    if options.sampling == "random":
        random.Random(f"{options.seed} {pair}").shuffle(left)  # noqa: S311  a repeatable draw
    found: list[tuple[int, float]] = []
    chosen = list(taken)
    for number, score in left:
        if len(found) == options.num_negatives:
            break
        its = grams(number)
        if any(jaccard(its, one) >= options.near for one in known):
            dropped[LIKE_POSITIVE] += 1
        elif any(jaccard(its, one) >= options.near for one in chosen):
            dropped[LIKE_NEGATIVE] += 1
        else:
            found.append((number, score))
            chosen.append(its)
    return sorted(found, key=lambda one: (-one[1], one[0]))
