"""Wikipedia: sections of the pages of medical categories, and pairs of sentences about one disease."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medte_eval.tasks.benchmark.prompts import LINKED_SENTENCES
from medte_eval.tasks.benchmark.task import BenchmarkTask, HardNegatives, Kind, Prompt, Recipe
from medte_eval.tasks.building.cleaning import clean_wikipedia
from medte_eval.tasks.rows import Example, Match

if TYPE_CHECKING:
    from medte_eval.sources.wikipedia import Page
    from medte_eval.tasks.building.workbench import Workbench

SOURCE = "wikipedia"
_SHORTEST = 50  # characters; a section must be longer
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9])")

LABEL_SETS: Mapping[str, tuple[str, ...]] = {
    "Syndromes": (
        "Syndromes affecting the eye",
        "Syndromes affecting blood",
        "Syndromes affecting the nervous system",
        "Syndromes affecting hearing",
    ),
    "Pain vs Fever": ("Pain", "Fever"),
    "Core Medical Specialties": ("Cardiology", "Neurology", "Gastroenterology", "Endocrinology", "Pulmonology"),
    "Diagnostic and Interdisciplinary Fields": (
        "Radiology",
        "Pathology",
        "Nuclear medicine",
        "Anesthesiology",
        "Intensive care medicine",
    ),
    "Disease by System": (
        "Cardiovascular diseases",
        "Respiratory diseases",
        "Neurological disorders",
        "Musculoskeletal disorders",
        "Digestive diseases",
    ),
    "Broad Medical Topics": ("Diseases and disorders", "Therapy", "Symptoms", "Pathology"),
    "Surgical Specialties": (
        "Orthopedics",
        "Ophthalmology",
        "Gynaecology",
        "Neurosurgery",
        "Transplantation medicine",
    ),
    "Preventive and Community Health": (
        "Public health",
        "Preventive medicine",
        "Occupational medicine",
        "Sports medicine",
        "Tropical medicine",
    ),
}


@dataclass(frozen=True)
class Sections(Recipe):
    """Each section of a category's pages, its subcategories' included, is an example of the category.

    :param categories: The labels.
    :param pages: Most pages of a category.
    """

    categories: tuple[str, ...]
    pages: int

    def rows(self, bench: "Workbench") -> Iterator[Example]:
        """Make the examples; a page of two categories is an example of both."""
        wikipedia = bench.open_source(SOURCE)
        for category in self.categories:
            found = wikipedia.pages(category, depth=1, limit=bench.at_most(self.pages))
            for page in {page.id: page for page in found}.values():
                for title, text in page.sections.items():
                    cleaned = clean_wikipedia(text)
                    if len(cleaned) > _SHORTEST:
                        yield Example(f"{category}/{page.id}/{title}", cleaned, category)
                    else:
                        bench.dropped[f"sections of {_SHORTEST} characters or fewer"] += 1


@dataclass(frozen=True)
class PageSentences(Recipe):
    """Two sentences about a page.

    :param category: The root of the pages.
    :param depth: Levels of subcategories that are walked.
    :param pages: Most pages.
    """

    category: str
    depth: int
    pages: int
    prompt: Prompt = LINKED_SENTENCES
    llm_free: str = (
        "the first sentences of a page's first two sections, where the benchmark has two sentences that a language"
        " model wrote"
    )

    def rows(self, bench: "Workbench") -> Iterator[Match]:
        """Make the pairs."""
        found = bench.open_source(SOURCE).pages(self.category, depth=self.depth, limit=bench.at_most(self.pages))
        pages = sorted({page.id: page for page in found}.values(), key=lambda page: page.id)
        if bench.rephraser is not None:
            for page, reply in bench.replies(self.prompt, pages, _parts):
                yield Match(str(page.id), reply["sentence1"], reply["sentence2"])
            return
        for page in pages:
            sentences = [_first_sentence(text) for text in page.sections.values() if len(text) > _SHORTEST]
            if len(sentences) < 2:
                bench.dropped["pages with fewer than two sections of some length"] += 1
            else:
                yield Match(str(page.id), sentences[0], sentences[1])


def _parts(page: "Page") -> dict[str, Any]:
    return {"title": page.title, "sections": dict(page.sections)}


def _first_sentence(text: str) -> str:
    return _SENTENCE_END.split(" ".join(text.split()), maxsplit=1)[0]


_ONCE = ("a page that is reached twice below a category is taken once, where the benchmark removes nothing",)


def _sections(number: int, name: str, kind: Kind, title: str) -> BenchmarkTask:
    labels = LABEL_SETS[title]
    stem = f"wiki_{title.lower().replace(' ', '_')}_dataset"
    return BenchmarkTask(
        number,
        name,
        kind,
        SOURCE,
        f"{kind.lower()}_{stem}",
        f"Sections of Wikipedia pages by category ({title}).",
        Sections(labels, pages=2000 if kind == "Classification" else 1000),
        cap=8192,
        labels=labels,
        differences=_ONCE,
    )


TASKS = (
    _sections(1, "WikiSyndromesClassification", "Classification", "Syndromes"),
    _sections(2, "WikiPainVsFeverClassification", "Classification", "Pain vs Fever"),
    _sections(3, "WikiCoreSpecialtiesClassification", "Classification", "Core Medical Specialties"),
    _sections(4, "WikiDiagnosticFieldsClassification", "Classification", "Diagnostic and Interdisciplinary Fields"),
    _sections(16, "WikiDiseaseBySystemClustering", "Clustering", "Disease by System"),
    _sections(17, "WikiSyndromesClustering", "Clustering", "Syndromes"),
    _sections(18, "WikiBroadMedicalTopicsClustering", "Clustering", "Broad Medical Topics"),
    _sections(19, "WikiSurgicalSpecialtiesClustering", "Clustering", "Surgical Specialties"),
    _sections(20, "WikiDiagnosticFieldsClustering", "Clustering", "Diagnostic and Interdisciplinary Fields"),
    _sections(21, "WikiPreventiveHealthClustering", "Clustering", "Preventive and Community Health"),
    BenchmarkTask(
        28,
        "WikiDiseasesPair",
        "PairClassification",
        SOURCE,
        "pairclassification_wiki_diseases_dataset",
        "Two sentences about one disease page of Wikipedia, or about two pages that resemble each other.",
        PageSentences("Diseases and disorders by system", depth=2, pages=16_384),
        cap=16_384,
        negatives=HardNegatives(32),
        differences=_ONCE,
    ),
)
