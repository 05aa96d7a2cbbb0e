"""Pairs of the sources that `medte-eval` builds its tasks from, as MedTE pairs them (section 5 of its recipe).

Where a source is what an evaluation is made of, as most of these are, take out of the pairs what the evaluation holds:
`medte-train decontaminate`.
"""

import datetime
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, pairwise
from types import MappingProxyType
from typing import Any

from medte_eval.sources.errors import NothingError
from medte_haystack.training.pairs import Pair

logger = logging.getLogger(__name__)

_WIKIPEDIA = ("Human diseases and disorders", "Clinical medicine", "Disability", "Infectious diseases", "Pathology")
_DEPTH = 2  # levels of subcategories; without a bound they drift far from medicine
_PUBMED = (
    '"Therapeutics"[MeSH] OR Pathology OR Clinical Trials OR medicine OR "Diagnosis"[MeSH] OR "Epidemiology"[MeSH]'
    ' OR "Treatment Outcome"[MeSH] OR "Public Health"[MeSH] OR "Pharmacology"[MeSH] OR "Internal Medicine"[MeSH]'
)
_PREPRINTS = {"biorxiv": datetime.date(2022, 12, 20), "medrxiv": datetime.date(2024, 12, 31)}
_SINCE = datetime.date(2016, 1, 1)
_TRAIN = "train"


@dataclass(frozen=True, slots=True)
class Origin:
    """A source of pairs.

    :param name: As in `medte_eval.tasks.benchmark.sources`.
    :param what: Text 1 -> text 2.
    :param pairs: Streams the pairs of the opened source, of at most so many items; texts may be blank.
    """

    name: str
    what: str
    pairs: Callable[[Any, int], Iterator[Pair]]


def _wikipedia(source: Any, limit: int) -> Iterator[Pair]:
    for page in islice(_pages(source, -(-limit // len(_WIKIPEDIA))), limit):
        texts = [text for text in page.sections.values() if len(text.split()) >= 5]
        for number, (first, second) in enumerate(pairwise(texts), start=1):
            yield Pair(f"{page.id}#{number}", "wikipedia", first, second, keys={"wikipedia": str(page.id)})


def _pages(source: Any, limit: int) -> Iterator[Any]:
    """Stream the pages of all categories, so many of each; an export need not have each of them."""
    lacking = []
    for category in _WIKIPEDIA:
        try:
            yield from source.pages(category, depth=_DEPTH, limit=limit)
        except NothingError as error:
            logger.warning("left out: %s", error)
            lacking.append(error)
    if len(lacking) == len(_WIKIPEDIA):
        raise lacking[0]


def _pubmed(source: Any, limit: int) -> Iterator[Pair]:
    for paper in source.papers(_PUBMED, limit=limit):
        yield Pair(paper.id, "pubmed", paper.title, paper.abstract, keys={"pmid": paper.id})


def _trials(source: Any, limit: int) -> Iterator[Pair]:
    for study in source.studies(limit=limit):
        first = study.outcomes[0] if study.outcomes else None
        outcome = " ".join(filter(None, (first.measure, first.description))) if first else ""
        yield Pair(study.id, "trials", study.official_title, outcome, keys={"nct": study.id})


def _preprints(server: str) -> Callable[[Any, int], Iterator[Pair]]:
    def pairs(source: Any, limit: int) -> Iterator[Pair]:
        for one in source.preprints(start=_SINCE, end=_PREPRINTS[server], limit=limit):
            yield Pair(f"{one.doi}v{one.version}", server, one.title, one.abstract, keys={"doi": one.doi})

    return pairs


def _medmcqa(source: Any, limit: int) -> Iterator[Pair]:
    for one in islice(_of_training(source), limit):
        yield Pair(one.id, "medmcqa", one.question, one.explanation, keys={"medmcqa": one.id})


def _medqa(source: Any, limit: int) -> Iterator[Pair]:
    for one in islice(_of_training(source), limit):
        yield Pair(one.id, "medqa", one.question, one.options[one.answer], keys={"medqa": one.id})


def _of_training(source: Any) -> Iterator[Any]:
    return (one for one in source.questions() if one.split == _TRAIN)


def _medquad(source: Any, limit: int) -> Iterator[Pair]:
    for one in source.pairs[:limit]:
        yield Pair(one.id, "medquad", one.question, one.answer, keys={"medquad": one.id})


def _mimic(source: Any, limit: int) -> Iterator[Pair]:
    for number, stay in enumerate(source.stays()):
        if number == limit:
            return
        diagnosis = stay.sections.get("Discharge Diagnosis", "")
        parts = (stay.sections.get(name, "") for name in ("Chief Complaint", "History of Present Illness"))
        keys = {"hadm_id": str(stay.hadm_id), "subject_id": str(stay.subject_id)}
        yield Pair(str(stay.hadm_id), "mimic", diagnosis, "\n".join(filter(None, parts)), keys=keys)


ORIGINS: Mapping[str, Origin] = MappingProxyType(
    {
        one.name: one
        for one in (
            Origin("wikipedia", "section -> next section of a page", _wikipedia),
            Origin("pubmed", "title -> first part of the abstract", _pubmed),
            Origin("trials", "official title -> first primary outcome", _trials),
            Origin("biorxiv", "title -> abstract", _preprints("biorxiv")),
            Origin("medrxiv", "title -> abstract", _preprints("medrxiv")),
            Origin("medmcqa", "question -> explanation, training split", _medmcqa),
            Origin("medqa", "question -> right option, training split", _medqa),
            Origin("medquad", "question -> answer", _medquad),
            Origin("mimic", "discharge diagnosis -> complaint and history", _mimic),
        )
    }
)
