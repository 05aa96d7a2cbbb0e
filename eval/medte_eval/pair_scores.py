"""Whether the scores of two results on pairs differ by more than chance.

Such a score is one of all pairs, the best F1 of any threshold, say, and no mean of what each pair gets. So it is
computed anew each time that the two results of pairs are swapped at random, and that pairs are drawn again (Yeh, COLING
2000; Efron and Tibshirani, 1993). Similarities count by their ranks, as in these scores, which lets those of two
systems change places.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

METRICS = ("f1", "ap", "accuracy")
RESAMPLES = 1999
_RANKS_AT_ONCE = 2_000_000

Ints = NDArray[np.int64]


def pair_score(metric: str, similarities: NDArray[Any], labels: Ints) -> float:
    """Return a score of pairs as mteb has it: no threshold divides equal similarities, or takes none or all pairs.

    :param metric: One of `METRICS`.
    :param similarities: Shape (n,).
    :param labels: 0 or 1, shape (n,).
    """
    return _score(metric, _ranks(similarities), labels)


def chance_of_pairs(
    metric: str, a: NDArray[Any], b: NDArray[Any], labels: Ints, *, level: float, seed: int
) -> tuple[float, tuple[float | None, float | None]]:
    """Test whether two results on the same pairs have different scores.

    :param metric: One of `METRICS`.
    :param a: Similarities, shape (n,).
    :param b: Of the same pairs in the same order.
    :param level: Of the interval.
    :returns: The p of a randomisation test, two-sided, and the ends of a percentile bootstrap's interval of the
        difference ``b - a``; None where all drawn differences are one.
    """
    first, second = _ranks(a), _ranks(b)
    if np.array_equal(first, second):
        return 1.0, (None, None)
    generator = np.random.default_rng(seed)
    batch = max(1, _RANKS_AT_ONCE // len(labels))

    def swapped(swaps: NDArray[Any]) -> float:
        places = swaps.astype(bool)
        one, other = np.where(places, second, first), np.where(places, first, second)
        return _score(metric, other, labels) - _score(metric, one, labels)

    def drawn(kept: Ints) -> float:
        return _score(metric, second[kept], labels[kept]) - _score(metric, first[kept], labels[kept])

    tested = stats.monte_carlo_test(
        np.zeros(len(labels)),
        lambda size: generator.integers(0, 2, size=size),
        swapped,
        vectorized=False,
        n_resamples=RESAMPLES,
        batch=batch,
    )
    found = stats.bootstrap(
        (np.arange(len(labels)),),
        drawn,
        vectorized=False,
        n_resamples=RESAMPLES,
        confidence_level=level,
        method="percentile",
        batch=batch,
        rng=generator,
    ).confidence_interval
    ends = (float(found.low), float(found.high))
    return float(tested.pvalue), ends if ends[0] < ends[1] else (None, None)


def _ranks(similarities: NDArray[Any]) -> Ints:
    """Return twice the mean ranks, from 2, so that they are whole numbers; equal similarities share one."""
    ranks: Ints = (2 * stats.rankdata(similarities)).astype(np.int64)
    return ranks


def _score(metric: str, ranks: Ints, labels: Ints) -> float:
    taken = np.bincount(ranks)[::-1].cumsum()  # pairs that are at least so similar, the most similar first
    hits = np.bincount(ranks, weights=labels)[::-1].cumsum()
    number, positives = taken[-1], hits[-1]
    if not positives:
        return 0.0
    if metric == "ap":
        return float((np.diff(hits, prepend=0.0) * hits / np.maximum(taken, 1)).sum() / positives)
    parts = (taken > 0) & (taken < number)
    taken, hits = taken[parts], hits[parts]
    f1, accuracy = 2 * hits / (taken + positives), (2 * hits - taken + number - positives) / number
    return float((f1 if metric == "f1" else accuracy).max(initial=0.0))
