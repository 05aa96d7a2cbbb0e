"""Learns the weights of a hybrid search from a part of a task's queries, and reports them on the rest.

Both sides are asked once; their rankings are then fused here with many weights, by the very functions that the
retriever uses. What is reported of the other queries is searched for.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medte_eval.comparison import Comparison, compare_values
from medte_eval.items import Qrels, Run
from medte_eval.rating import rate_queries, without_own
from medte_eval.systems.bm25 import Bm25System
from medte_eval.systems.corpus import Corpus, CorpusIndex
from medte_eval.systems.dense import DenseSystem
from medte_eval.systems.hybrid import HybridSystem
from medte_eval.systems.searching import SearchSystem
from medte_eval.weights import Learned
from medte_haystack.errors import IndexContractError
from medte_haystack.retrieval import DEFAULT_FUSION, HybridOptions, Weights, default_weights, fuse
from medte_haystack.retrieval.fusion import METHODS

MEASURE = "ndcg_at_10"
SEED = 42
_STEPS = 20
_LEAST = 10  # queries of either part


@dataclass(frozen=True, slots=True)
class Judged:
    """Queries with judgements.

    :param queries: Ids to texts.
    :param qrels: Of these queries.
    :param ignore_own: Whether what is found under a query's own id does not count.
    """

    queries: Mapping[str, str]
    qrels: Qrels
    ignore_own: bool = False

    def split(self, share: float, seed: int = SEED) -> tuple["Judged", "Judged"]:
        """Return two random parts, the first of about this share of the queries.

        :raises IndexContractError: If one would have fewer than 10 queries.
        """
        names = sorted(self.queries)
        random.Random(seed).shuffle(names)  # noqa: S311  a repeatable split
        first = round(share * len(names))
        if min(first, len(names) - first) < _LEAST:
            raise IndexContractError(
                f"{len(names)} queries, {share:.0%} of them to learn from, leave fewer than {_LEAST} to learn from or"
                " to report on; take a task with more queries, or another share",
                queries=len(names),
            )
        return self._of(names[:first]), self._of(names[first:])

    def _of(self, names: Sequence[str]) -> "Judged":
        queries = {name: self.queries[name] for name in names}
        return replace(self, queries=queries, qrels={name: self.qrels[name] for name in names})


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was learned.

    :param learned: The best settings on the queries learned from.
    :param grid: Mean nDCG@10 on these of every fusion and weight of the dense side.
    :param train: How many they were.
    :param scores: Mean nDCG@10 on the others: of each side alone, of the hybrid search's defaults and of what was
        learned.
    :param comparison: The defaults (a) against what was learned (b), on the others.
    """

    learned: Learned
    grid: Mapping[str, Mapping[float, float]]
    train: int
    scores: Mapping[str, float]
    comparison: Comparison

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "hybrid": {"fusion": self.learned.fusion, "weights": list(self.learned.weights)},
            "measure": MEASURE,
            "train_queries": self.train,
            "held_out_queries": self.comparison.items,
            "held_out": dict(self.scores),
            "comparison": self.comparison.to_dict(),
            "grid": {
                fusion: {f"{weight:g}": score for weight, score in its.items()} for fusion, its in self.grid.items()
            },
        }


def learn_weights(
    task: str,
    corpus: Corpus,
    judged: Judged,
    index: CorpusIndex,
    *,
    share: float = 0.5,
    top_k: int = 100,
    fusions: Sequence[str] = tuple(METHODS),
    oversample: float | None = None,
    num_candidates: int | None = None,
) -> Tuned:
    """Learn from a part of the queries and report on the rest.

    :param task: Name of the task.
    :param corpus: Rows with ``id``, ``title`` and ``text``.
    :param index: Where the corpus is or will be.
    :param share: Of the queries to learn from.
    :param top_k: Documents that the hybrid search is asked for, which decides how many each side gives.
    :param fusions: Ways of fusion to choose from, of those that are computed in the client.
    :param oversample: See `DenseSystem`, as for `num_candidates`.
    :raises IndexContractError: If there are too few queries.
    """
    train, held_out = judged.split(share)
    options: dict[str, Any] = {"oversample": oversample, "num_candidates": num_candidates}
    sides = [DenseSystem(index, **options), Bm25System(index)]
    for side in sides:
        side.index(corpus)
    hybrid = HybridOptions(top_k=top_k)
    windows = (hybrid.dense_hits, hybrid.lexical_hits)
    rankings = [side.find(list(train.queries.values()), window) for side, window in zip(sides, windows, strict=True)]
    grid = {fusion: dict(_grid(fusion, rankings, train, top_k)) for fusion in fusions}
    learned = _best(grid)
    hybrids = [
        HybridSystem(index, fusion=DEFAULT_FUSION, **options),
        HybridSystem(index, fusion=learned.fusion or DEFAULT_FUSION, weights=learned.weights, **options),
    ]
    found: dict[str, NDArray[np.float64]] = {}
    for name, system in zip(("dense", "bm25", "default", "learned"), [*sides, *hybrids], strict=True):
        system.index(corpus)  # which it is there already
        found[name] = _measure(_search(system, held_out, top_k), held_out)
    return Tuned(
        learned,
        grid,
        len(train.queries),
        {name: float(values.mean()) for name, values in found.items()},
        compare_values(task, MEASURE, found["default"], found["learned"]),
    )


def _grid(
    fusion: str, rankings: Sequence[Sequence[Mapping[str, float]]], train: Judged, top_k: int
) -> Iterator[tuple[float, float]]:
    ordered = [[sorted(one.items(), key=lambda hit: -hit[1]) for one in side] for side in rankings]
    for step in range(_STEPS + 1):
        weight = step / _STEPS
        weights = Weights(weight, 1 - weight)
        run: Run = {}
        for query, dense, lexical in zip(train.queries, *ordered, strict=True):
            run[query] = {one.item: one.score for one in fuse(fusion, dense, lexical, weights)[:top_k]}
        yield weight, float(_measure(run, train).mean())


def _best(grid: Mapping[str, Mapping[float, float]]) -> Learned:
    """Return the best of a grid; of equal ones that which is nearest to the fusion's default."""

    def rank(one: tuple[str, float]) -> tuple[float, float]:
        fusion, weight = one
        return grid[fusion][weight], -abs(weight - default_weights(fusion).dense)

    fusion, weight = max(((fusion, weight) for fusion, its in grid.items() for weight in its), key=rank)
    return Learned(fusion, (weight, round(1 - weight, 6)))


def _search(system: SearchSystem, judged: Judged, top_k: int) -> Run:
    return dict(zip(judged.queries, system.find(list(judged.queries.values()), top_k), strict=True))


def _measure(run: Run, judged: Judged) -> NDArray[np.float64]:
    counted = without_own(run) if judged.ignore_own else run
    return np.array([row[MEASURE] for row in rate_queries(counted, judged.qrels)])
