"""MedQuAD: questions of patients with the answers of the NIH."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from medte_eval.tasks.benchmark.prompts import REWORDED_ANSWER
from medte_eval.tasks.benchmark.task import BenchmarkTask, Prompt, Recipe
from medte_eval.tasks.rows import Match

if TYPE_CHECKING:
    from medte_eval.tasks.building.workbench import Workbench

SOURCE = "medquad"
_CAP = 16_384


@dataclass(frozen=True)
class Answers(Recipe):
    """A question with its answer, reworded by a language model."""

    prompt: Prompt = REWORDED_ANSWER
    llm_free: str = (
        "the original answer, where the benchmark has it reworded by a language model; that is far easier to find"
    )

    def rows(self, bench: "Workbench") -> Iterator[Match]:
        """Make the pairs of a sample of the answered questions."""
        found = bench.open_source(SOURCE)
        if found.left_out:
            bench.dropped["rows that could not be read"] += found.left_out
        asked = [pair for pair in found.pairs if pair.question]
        if len(asked) < len(found.pairs):
            bench.dropped["answers without a question"] += len(found.pairs) - len(asked)
        pairs = bench.draw(asked, _CAP, key=lambda pair: pair.id)
        if bench.rephraser is None:
            yield from (Match(pair.id, pair.question, pair.answer) for pair in pairs)
            return
        shown = bench.replies(self.prompt, pairs, lambda pair: {"question": pair.question, "answer": pair.answer})
        for pair, reply in shown:
            yield Match(pair.id, pair.question, reply["text"])


TASKS = (
    BenchmarkTask(
        49,
        "MedQuADRetrieval",
        "Retrieval",
        SOURCE,
        "retrieval_medquad_dataset",
        "Given a consumer health question of MedQuAD, find its own answer.",
        Answers(),
        cap=_CAP,
        differences=(
            "questions without an answer are left out before the sample is drawn; of the rows that the benchmark draws"
            " about 65 % have none, and their documents are invented",
        ),
    ),
)
