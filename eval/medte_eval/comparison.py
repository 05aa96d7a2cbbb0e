"""Whether two results differ by more than chance: paired tests over the same queries, pairs or texts.

The randomisation test swaps the two results of an item or not, at random (Smucker, Allan, Carterette, CIKM 2007); the
interval of the mean difference is a bias-corrected and accelerated bootstrap. Both are SciPy's. For pairs, whose score
is no mean, see `medte_eval.pair_scores`.
"""

import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from medte_eval.pair_scores import METRICS, chance_of_pairs
from medte_eval.results import RUN_SUFFIX, STATE, ResultError, read_result

RESAMPLES = 9999
SEED = 42
LEVEL = 0.95
SIGNIFICANT = 0.05
"""Least p that chance explains."""
_CONTENT = re.compile("[0-9a-f]{64}")  # a hash of all data, not a commit of several tasks
_VALUES_AT_ONCE = 2_000_000
_PAIRS = "PairClassification"
_MEASURE = {"Classification": "accuracy"}
_RETRIEVAL = "ndcg_at_10"
_SIMILARITY = "similarity"
_Items = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results on one task.

    :param task: The task.
    :param measure: What is compared of every item, or of all pairs; None where a task has no items, such as clustering,
        or some could not be measured, and only the task's main score is.
    :param items: How many queries, pairs or texts there are.
    :param a: Mean over them, or the main score.
    :param b: The same of the other.
    :param difference: `b` less `a`.
    :param low: Lower end of the interval of the difference; None without items, or where all differences are one.
    :param high: Its upper end.
    :param p: Probability of a difference at least so large by chance, two-sided; None without items.
    :param better: Items for which `b` is better; None without items, and of pairs, which have no score of their own.
    :param worse: Items for which it is worse.
    """

    task: str
    measure: str | None
    items: int
    a: float
    b: float
    difference: float
    low: float | None = None
    high: float | None = None
    p: float | None = None
    better: int | None = None
    worse: int | None = None

    @property
    def can_differ(self) -> bool:
        """Whether its test could find anything: not where no item differs, whatever the others are."""
        return self.p is not None and (self.better, self.worse) != (0, 0)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)


def find_results(path: Path, system: str | None = None) -> dict[str, Path]:
    """Return the result of each task.

    :param path: A file ``*.run.json``, or a folder with one of each task.
    :param system: Of a folder take those of this system alone.
    :returns: Names of tasks to files.
    :raises ResultError: If there are none, or several of one task.
    """
    if not path.is_dir():
        return {str(read_result(path)["task"]["name"]): path}
    found: dict[str, Path] = {}
    for file in sorted(path.glob(f"*{RUN_SUFFIX}")):
        result = read_result(file)
        if system not in (None, result["system"]["name"]):
            continue
        other = found.setdefault(str(result["task"]["name"]), file)
        if other != file:
            raise ResultError(
                f"{path} has several results of {result['task']['name']}, such as {other.name} and {file.name}; name"
                " one of these files, or the system"
            )
    if not found:
        what = "result" if system is None else f"result of system {system!r}"
        raise ResultError(f"{path} has no {what}; `medte-eval run --out {path}` writes them")
    return found


def compare_results(a: Path, b: Path) -> Comparison:
    """Compare two results of one task.

    :param a: A file ``*.run.json``.
    :param b: The other.
    :raises ResultError: If one cannot be read, or they are of different data.
    """
    first, second = read_result(a), read_result(b)
    _check_same_data(a, first, b, second)
    task = first["task"]
    items = [_items(path, result) for path, result in ((a, first), (b, second))]
    measure = _SIMILARITY if task["type"] == _PAIRS else _MEASURE.get(task["type"], _RETRIEVAL)
    if not all(its and all(map(_is_number, (row.get(measure) for row in its.values()))) for its in items):
        return _untested(a, first, b, second)
    if items[0].keys() != items[1].keys():
        raise ResultError(f"{a} and {b} are of the same data but not of the same items; run one of them again")
    if task["type"] == _PAIRS:
        return _compare_pairs(_untested(a, first, b, second), str(task["main_score"]), items[0], items[1])
    values = [np.array([its[name][measure] for name in items[0]], dtype=np.float64) for its in items]
    return compare_values(task["name"], measure, values[0], values[1])


def compare_values(
    task: str, measure: str, a: NDArray[np.float64], b: NDArray[np.float64], *, seed: int = SEED
) -> Comparison:
    """Compare two measurements of the same items.

    :param a: One value an item, shape (n,).
    :param b: Of the same items in the same order.
    """
    differences = b - a
    low = high = None
    p = 1.0
    if differences.any():
        p = _chance(differences, seed)
        low, high = _interval(differences, seed)
    return Comparison(
        task,
        measure,
        len(a),
        float(a.mean()),
        float(b.mean()),
        float(differences.mean()),
        low,
        high,
        p,
        better=int((differences > 0).sum()),
        worse=int((differences < 0).sum()),
    )


def _is_number(value: object) -> bool:
    """Tell whether a value is there: what could not be computed is left out of results."""
    return isinstance(value, int | float) and math.isfinite(value)


def _untested(a: Path, first: Mapping[str, Any], b: Path, second: Mapping[str, Any]) -> Comparison:
    """Compare no more than the main scores."""
    scores = []
    for path, result in ((a, first), (b, second)):
        if (score := result["scores"].get(result["task"]["main_score"])) is None:
            raise ResultError(f"{path} has no {result['task']['main_score']}: it could not be computed")
        scores.append(score)
    return Comparison(first["task"]["name"], None, 0, scores[0], scores[1], scores[1] - scores[0])


def _compare_pairs(untested: Comparison, main_score: str, a: _Items, b: _Items) -> Comparison:
    """Test the main score, if it is of one set of pairs: of several it is their mean."""
    metric = main_score.rpartition("_")[2]
    if metric not in METRICS or any("/" in name for name in a):
        return untested
    similarities = [np.array([its[name][_SIMILARITY] for name in a], dtype=np.float64) for its in (a, b)]
    labels = np.array([row["label"] for row in a.values()], dtype=np.int64)
    p, (low, high) = chance_of_pairs(metric, similarities[0], similarities[1], labels, level=LEVEL, seed=SEED)
    return replace(untested, measure=main_score, items=len(labels), low=low, high=high, p=p)


def _chance(differences: NDArray[np.float64], seed: int) -> float:
    """Return the p of the randomisation test: by all ways to swap where these are few, else by a sample of them."""
    if len(differences) < math.log2(RESAMPLES):
        every = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=RESAMPLES)
        return float(every.pvalue)
    generator = np.random.default_rng(seed)

    def swapped(size: tuple[int, ...]) -> NDArray[np.float64]:
        return differences * (2 * generator.integers(0, 2, size=size, dtype=np.int8) - 1)

    # SciPy's permutation_test draws the same, one item at a time: minutes instead of seconds for a task of 16,384 items
    sample = stats.monte_carlo_test(
        differences, swapped, np.mean, vectorized=True, n_resamples=RESAMPLES, batch=_batch(differences)
    )
    return float(sample.pvalue)


def _interval(differences: NDArray[np.float64], seed: int) -> tuple[float | None, float | None]:
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None, None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (differences,),
            np.mean,
            n_resamples=RESAMPLES,
            confidence_level=LEVEL,
            method="BCa",
            batch=_batch(differences),
            rng=np.random.default_rng(seed),
        ).confidence_interval
    ends = float(found.low), float(found.high)
    return ends if np.isfinite(ends).all() else (None, None)


def _batch(values: NDArray[np.float64]) -> int:
    """Return how many resamples to hold at a time."""
    return max(1, _VALUES_AT_ONCE // len(values))


def _check_same_data(a: Path, first: Mapping[str, Any], b: Path, second: Mapping[str, Any]) -> None:
    same = _CONTENT.fullmatch(str(first["task"]["data_sha256"])) and first["task"]["data_sha256"]
    for name in STATE:
        if name == "name" and same == second["task"]["data_sha256"]:
            continue  # a folder of the same data may be called otherwise
        values = first["task"].get(name), second["task"].get(name)
        if values[0] != values[1]:
            raise ResultError(
                f"{a} and {b} are not of the same data and searches: {name} is {values[0]!r} and {values[1]!r}; compare"
                " results of one task, of one state of its data, with one --top-k"
            )


def _items(path: Path, result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    name = result["files"].get("items")
    if name is None:
        return {}
    file = path.parent / name
    try:
        rows: Sequence[dict[str, Any]] = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        return {str(row["id"]): row for row in rows}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(f"{file} cannot be read ({type(error).__name__}); run the task again") from None
