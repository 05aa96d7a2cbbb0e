"""PubMed Central: articles by the query that found them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medte_eval.tasks.benchmark.task import BenchmarkTask, Kind, Recipe
from medte_eval.tasks.building.cleaning import clean_pmc
from medte_eval.tasks.rows import Example

if TYPE_CHECKING:
    from medte_eval.tasks.building.workbench import Workbench

SOURCE = "pmc"
LABEL_SETS: Mapping[str, Mapping[str, str]] = {
    "Medical Imaging Types": {name: name for name in ("MRI", "CT scan", "Ultrasound", "X-ray", "PET scan")},
    "Diagnostic vs Therapeutic": {"Diagnostic": "diagnostic", "Therapeutic": "therapeutic"},
}


@dataclass(frozen=True)
class Articles(Recipe):
    """Each article that a query finds is an example of the query's category.

    :param queries: Categories to queries.
    :param articles: Most articles of a query.
    """

    queries: Mapping[str, str]
    articles: int

    def rows(self, bench: "Workbench") -> Iterator[Example]:
        """Make the examples; an article that two queries find is an example of both."""
        pmc = bench.open_source(SOURCE)
        for category, query in self.queries.items():
            for article in pmc.articles(query, limit=bench.at_most(self.articles)):
                text = clean_pmc(f"title: {article.title} abstract: {article.abstract}")
                yield Example(f"{category}/{article.id}", text, category, article.licence)


def _articles(number: int, name: str, kind: Kind, title: str) -> BenchmarkTask:
    queries = LABEL_SETS[title]
    return BenchmarkTask(
        number,
        name,
        kind,
        SOURCE,
        f"{kind.lower()}_pmc_{title.lower().replace(' ', '_')}_dataset",
        f"Titles and abstracts of PubMed Central by the query that found them ({title}).",
        Articles(queries, articles=2000 if kind == "Classification" else 1000),
        cap=16_384,
        labels=tuple(queries),
        differences=(
            "only the open-access subset of PubMed Central is asked, whose texts may be passed on; the benchmark asks"
            " all of it",
        ),
    )


TASKS = (
    _articles(5, "PmcImagingTypesClassification", "Classification", "Medical Imaging Types"),
    _articles(6, "PmcDiagnosticVsTherapeuticClassification", "Classification", "Diagnostic vs Therapeutic"),
    _articles(22, "PmcImagingTypesClustering", "Clustering", "Medical Imaging Types"),
)
