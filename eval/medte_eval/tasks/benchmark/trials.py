"""ClinicalTrials.gov: official titles of studies with their descriptions or primary outcomes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from medte_eval.tasks.benchmark.task import BenchmarkTask, HardNegatives, Kind, Recipe
from medte_eval.tasks.rows import Match

if TYPE_CHECKING:
    from medte_eval.sources.trials import Study
    from medte_eval.tasks.building.workbench import Workbench

SOURCE = "trials"
_STUDIES = 17_000
Second = Literal["detailedDescription", "primaryOutcomes"]


@dataclass(frozen=True)
class Titles(Recipe):
    """A study's official title and another of its texts.

    :param second: Which one, by its name in the register.
    """

    second: Second

    def rows(self, bench: "Workbench") -> Iterator[Match]:
        """Make the pairs of the studies that have both."""
        for study in bench.open_source(SOURCE).studies(limit=bench.at_most(_STUDIES)):
            text = study.detailed_description if self.second == "detailedDescription" else _outcomes(study)
            if study.official_title and text:
                yield Match(study.id, study.official_title, text)
            else:
                bench.dropped[f"studies without officialTitle or {self.second}"] += 1


def _outcomes(study: "Study") -> str:
    return "\n".join(f"measure: {one.measure} description: {one.description}" for one in study.outcomes)


def _titles(number: int, name: str, kind: Kind, second: Second) -> BenchmarkTask:
    words = "detailed description" if second == "detailedDescription" else "primary outcomes"
    paired = kind == "PairClassification"
    return BenchmarkTask(
        number,
        name,
        kind,
        SOURCE,
        f"{kind.lower()}_clinical_trials_officialTitle_vs{second}",
        f"Official title and {words} of one clinical trial, or of two that resemble each other."
        if paired
        else f"Given the official title of a clinical trial, find its {words}.",
        Titles(second),
        cap=16_384,
        negatives=HardNegatives(64) if paired else None,
    )


TASKS = (
    _titles(38, "TrialsTitleDescriptionPair", "PairClassification", "detailedDescription"),
    _titles(39, "TrialsTitleOutcomesPair", "PairClassification", "primaryOutcomes"),
    _titles(48, "TrialsTitleOutcomesRetrieval", "Retrieval", "primaryOutcomes"),
    _titles(0, "TrialsTitleDescriptionRetrieval", "Retrieval", "detailedDescription"),
)
