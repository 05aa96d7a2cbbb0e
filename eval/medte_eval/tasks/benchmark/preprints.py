"""bioRxiv and medRxiv: preprints with questions that lead to them."""

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medte_eval.tasks.benchmark.prompts import SEARCH_QUESTION
from medte_eval.tasks.benchmark.task import BenchmarkTask, Prompt, Recipe
from medte_eval.tasks.rows import Match

if TYPE_CHECKING:
    from medte_eval.sources.preprints import Preprint
    from medte_eval.tasks.building.workbench import Workbench

_START, _END = datetime.date(2018, 1, 1), datetime.date(2022, 12, 20)
_LIMIT = 32_800  # pages of 100 come until the cursor exceeds 32,768
_DRAWN = 16_384


@dataclass(frozen=True)
class Abstracts(Recipe):
    """A question about a preprint with its abstract.

    :param server: biorxiv or medrxiv.
    """

    server: str
    prompt: Prompt = SEARCH_QUESTION
    llm_free: str = "the preprint's title for a query, where the benchmark has a question that a language model wrote"

    def rows(self, bench: "Workbench") -> Iterator[Match]:
        """Make the pairs of a sample of the preprints that have both a title and an abstract."""
        found = bench.open_source(self.server).preprints(start=_START, end=_END, limit=bench.at_most(_LIMIT))
        versions = [preprint for preprint in found if preprint.title and preprint.abstract]
        if bench.faithful:
            bench.differences.append("every version of a preprint is a document of its own, as there")
        else:
            bench.differences.append(
                "only the first version of a preprint is a document; the benchmark takes every version, and each of"
                " the others counts as wrong"
            )
            number, versions = len(versions), _first_versions(versions)
            bench.dropped["later versions"] += number - len(versions)
        preprints = bench.draw_exactly(versions, _DRAWN, key=lambda one: (one.doi, one.version))
        if bench.rephraser is None:
            yield from (Match(_id(one), one.title, one.abstract, one.licence) for one in preprints)
            return
        parts = bench.replies(self.prompt, preprints, lambda one: {"title": one.title, "abstract": one.abstract})
        for one, reply in parts:
            yield Match(_id(one), reply["question"], one.abstract, one.licence)


def _first_versions(preprints: "Iterable[Preprint]") -> "list[Preprint]":
    first: dict[str, Preprint] = {}
    for one in preprints:
        if one.doi not in first or one.version < first[one.doi].version:
            first[one.doi] = one
    return list(first.values())


def _id(preprint: "Preprint") -> str:
    return f"{preprint.doi}v{preprint.version}"


def _abstracts(number: int, name: str, server: str, title: str) -> BenchmarkTask:
    return BenchmarkTask(
        number,
        name,
        "Retrieval",
        server,
        f"retrieval_{server}_dataset",
        f"Given a search question, find the abstract of the {title} preprint that it was written for.",
        Abstracts(server),
        cap=_DRAWN,
    )


TASKS = (
    _abstracts(50, "BioRxivRetrieval", "biorxiv", "bioRxiv"),
    _abstracts(51, "MedRxivRetrieval", "medrxiv", "medRxiv"),
)
