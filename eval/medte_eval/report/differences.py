"""What a whole system costs or brings beside its model alone, tested over the same queries or pairs."""

import logging
import math
import os
from collections.abc import Iterator, Mapping, Sequence

from scipy import stats  # type: ignore[import-untyped]

from medte_eval.comparison import SIGNIFICANT, Comparison, compare_results
from medte_eval.report.model import Difference, Setup
from medte_eval.report.reading import Result
from medte_eval.results import PREFIXES, ResultError

logger = logging.getLogger(__name__)

_ALONE = "encoder"
_PAIRS = "PairClassification"
_ON_A_SERVER = ("Retrieval", _PAIRS)
"""Types of tasks in which the index takes part; the others are the model's alone on any system."""


def find_differences(results: Sequence[Result], setups: Mapping[str, Setup]) -> tuple[list[Difference], list[str]]:
    """Compare every system with its model alone; one without a model with every model.

    :param results: Of the tasks in their order.
    :param setups: See `find_setups`.
    :returns: The differences, by setup; and notes on what could not be compared.
    """
    found: list[tuple[str, str, Comparison]] = []
    notes: list[str] = []
    pairs = list(_pairs(results, setups))
    for number, (baseline, one) in enumerate(pairs, start=1):
        logger.info("comparing %d of %d: %s on %s", number, len(pairs), setups[one.setup].name, one.task.name)
        marks = setups[one.setup].mark, setups[baseline.setup].mark
        if one.task.type == _PAIRS and any(map(one.run.model.get, PREFIXES)):
            notes.append(
                f"{one.task.name}: {marks[0]} and {marks[1]} are not compared: only {marks[0]} has prefixes;"
                " --no-prefixes runs both without"
            )
            continue
        try:
            found.append((*marks, _compared(baseline, one)))
        except (ResultError, KeyError, TypeError, ValueError) as error:
            why = error.args[0] if isinstance(error, ResultError) else "their items cannot be read; run the task again"
            for folder in (baseline.path.parent, one.path.parent):
                why = why.replace(f"{folder}{os.sep}", "")
            notes.append(f"{one.task.name}: {marks[0]} and {marks[1]} are not compared: {why}")
    return _judged(found), notes


def _compared(baseline: Result, one: Result) -> Comparison:
    found = compare_results(baseline.path, one.path)
    if not math.isfinite(found.difference):
        raise ResultError("some scores are no numbers")
    return found


def _pairs(results: Sequence[Result], setups: Mapping[str, Setup]) -> Iterator[tuple[Result, Result]]:
    alone = [one for one in results if one.run.system.get("name") == _ALONE]
    for key in setups:
        for one in results:
            if one.setup != key or one.task.type not in _ON_A_SERVER or one in alone or one.score is None:
                continue
            for baseline in alone:
                of_its_model = one.run.model.get("name") is None or one.run.model == baseline.run.model
                if of_its_model and baseline.task.name == one.task.name and baseline.score is not None:
                    yield baseline, one


def _judged(found: Sequence[tuple[str, str, Comparison]]) -> list[Difference]:
    tested = [compared.p for _, _, compared in found if compared.can_differ]
    adjusted = iter(stats.false_discovery_control(tested) if tested else ())
    every = [(*one, float(next(adjusted)) if one[2].can_differ else one[2].p) for one in found]
    return [Difference(*one, verdict=_verdict(one[2].difference, one[3])) for one in every]


def _verdict(difference: float, p: float | None) -> str:
    if p is None:
        return "untested"
    if p >= SIGNIFICANT or not difference:
        return "even"
    return "better" if difference > 0 else "worse"
