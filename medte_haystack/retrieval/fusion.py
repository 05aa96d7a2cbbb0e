"""Two rankings made one; pure functions.

Each method gives every item a contribution of each side that found it, at least 0 and, for the higher ranked, never
less; the score of an item is the weighted sum of its contributions.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

Ranking = Sequence[tuple[str, float]]
"""Items and their scores, best first; an item stands there once."""

RRF_CONSTANT = 60
_SIGMAS = 3.0


@dataclass(frozen=True, slots=True)
class Weights:
    """How much each side counts.

    :param dense: Of the vectors' ranking.
    :param lexical: Of BM25's.
    """

    dense: float
    lexical: float


@dataclass(frozen=True, slots=True)
class Place:
    """Where one side ranked an item.

    :param rank: From 1.
    :param score: The side's own.
    """

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Fused:
    """An item of the fused ranking.

    :param item: What the rankings call it.
    :param score: Weighted sum of the contributions.
    :param dense: Its place among the vectors' hits, None if they did not find it.
    :param lexical: Its place among BM25's.
    """

    item: str
    score: float
    dense: Place | None
    lexical: Place | None


def reciprocal_ranks(scores: Sequence[float]) -> list[float]:
    """Return 61 / (60 + rank), so that the first counts 1: reciprocal rank fusion, with k = 60.

    Source: Cormack, Clarke, Buettcher, SIGIR 2009. The factor 61 changes no ranking.
    """
    return [(RRF_CONSTANT + 1) / (RRF_CONSTANT + rank) for rank in range(1, len(scores) + 1)]


def min_max(scores: Sequence[float]) -> list[float]:
    """Return scores moved to [0, 1]: the best becomes 1, the last 0; scores that are all the same become 1."""
    if not scores:
        return []
    low, high = min(scores), max(scores)
    return [(one - low) / (high - low) if high > low else 1.0 for one in scores]


def distribution(scores: Sequence[float]) -> list[float]:
    """Return scores moved so that mean - 3 sigma becomes 0 and mean + 3 sigma becomes 1, and cut off there.

    Distribution-based score fusion: one outlier squeezes the others less than under :func:`min_max`. Scores that are
    all the same become 0.5.
    """
    if not scores:
        return []
    mean = math.fsum(scores) / len(scores)
    sigma = math.sqrt(math.fsum((one - mean) ** 2 for one in scores) / len(scores))
    if sigma <= 1e-12 * max(1.0, abs(mean)):
        return [0.5] * len(scores)
    return [min(1.0, max(0.0, 0.5 + (one - mean) / (2 * _SIGMAS * sigma))) for one in scores]


METHODS: Mapping[str, Callable[[Sequence[float]], list[float]]] = MappingProxyType(
    {"rrf": reciprocal_ranks, "min_max": min_max, "distribution": distribution}
)


def fuse(method: str, dense: Ranking, lexical: Ranking, weights: Weights) -> list[Fused]:
    """Return all items of both rankings, best first; of equal ones, those first that the vectors ranked higher.

    :param method: ``rrf``, ``min_max`` or ``distribution``.
    :raises KeyError: If the method is none of these.
    """
    contribution = METHODS[method]
    totals: dict[str, float] = {}
    for ranking, weight in ((dense, weights.dense), (lexical, weights.lexical)):
        for (item, _), share in zip(ranking, contribution([score for _, score in ranking]), strict=True):
            totals[item] = totals.get(item, 0.0) + weight * share
    places = [{item: Place(rank, score) for rank, (item, score) in enumerate(one, 1)} for one in (dense, lexical)]
    fused = [Fused(item, score, places[0].get(item), places[1].get(item)) for item, score in totals.items()]
    return sorted(fused, key=lambda one: -one.score)  # stable: `totals` has the dense ones first, in their order
