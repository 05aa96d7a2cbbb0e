"""PubMed: papers with questions about them, and pairs of sentences about one paper."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medte_eval.tasks.benchmark.prompts import LINKED_SENTENCES, QUESTION_AND_ANSWER
from medte_eval.tasks.benchmark.task import BenchmarkTask, HardNegatives, Prompt, Recipe
from medte_eval.tasks.rows import Match

if TYPE_CHECKING:
    from medte_eval.sources.pubmed import Paper
    from medte_eval.tasks.building.workbench import Workbench

SOURCE = "pubmed"
_QUERY, _LIMIT = "medicine", 16_384  # PubMed gives 9,999 at most


@dataclass(frozen=True)
class Papers(Recipe):
    """Two texts about a paper: two sentences, or a question and the abstract.

    :param paired: Whether both texts are the model's.
    :param prompt: What the model makes of it.
    """

    paired: bool
    prompt: Prompt | None = None
    llm_free: str = ""

    def rows(self, bench: "Workbench") -> Iterator[Match]:
        """Make the pairs."""
        found = bench.open_source(SOURCE).papers(_QUERY, limit=bench.at_most(_LIMIT))
        papers = sorted({paper.id: paper for paper in found}.values(), key=lambda paper: paper.id)
        if bench.rephraser is None:
            usable = [paper for paper in papers if paper.title and paper.abstract]
            bench.dropped["papers without title or abstract"] += len(papers) - len(usable)
            yield from (Match(paper.id, paper.title, paper.abstract) for paper in usable)
            return
        if not self.paired:
            usable = [paper for paper in papers if paper.abstract]
            bench.dropped["papers without abstract"] += len(papers) - len(usable)
            papers = usable
        assert self.prompt is not None  # noqa: S101  both tasks have one
        for paper, reply in bench.replies(self.prompt, papers, _parts):
            if self.paired:
                yield Match(paper.id, reply["sentence1"], reply["sentence2"])
            else:
                yield Match(paper.id, reply["question"], paper.abstract)


def _parts(paper: "Paper") -> dict[str, Any]:
    return {
        "title": paper.title,
        "abstract": paper.abstract,
        "mesh": list(paper.mesh),
        "keywords": list(paper.keywords),
    }


_ONCE = ("a paper that is found twice is taken once, where the benchmark removes nothing",)

TASKS = (
    BenchmarkTask(
        37,
        "PubMedPair",
        "PairClassification",
        SOURCE,
        "pairclassification_pubmed_pair_classification",
        "Two sentences about one paper of PubMed, or about two papers that resemble each other.",
        Papers(
            paired=True,
            prompt=LINKED_SENTENCES,
            llm_free="title and abstract of a paper, where the benchmark has two sentences that a language model wrote",
        ),
        cap=16_384,
        differences=_ONCE,
        negatives=HardNegatives(64),
    ),
    BenchmarkTask(
        47,
        "PubMedRetrieval",
        "Retrieval",
        SOURCE,
        "retrieval_pubmed_retrieval",
        "Given a question about a paper of PubMed, find its abstract.",
        Papers(
            paired=False,
            prompt=QUESTION_AND_ANSWER,
            llm_free="the paper's title for a query, where the benchmark has a question that a language model wrote",
        ),
        cap=16_384,
        differences=_ONCE,
    ),
)
