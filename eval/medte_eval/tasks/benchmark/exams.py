"""MedMCQA and MedQA: questions of medical exams with their options, and with what explains the right one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from medte_eval.tasks.benchmark.task import BenchmarkTask, Recipe
from medte_eval.tasks.rows import Match, Pair

if TYPE_CHECKING:
    from medte_eval.tasks.building.workbench import Workbench

MEDMCQA, MEDQA = "medmcqa", "medqa"
_LETTERS = "ABCD"


class MedMCQAOptions(Recipe):
    """Each option that is not empty with its question, label 1 for the right one."""

    def rows(self, bench: "Workbench") -> Iterator[Pair]:
        """Make the pairs."""
        if bench.faithful:
            bench.differences.append("options of the test split, which hides its answers, are all labelled 0, as there")
        else:
            bench.differences.append(
                "the test split is left out: it hides its answers, so the benchmark labels all its options 0"
            )
        for question in bench.open_source(MEDMCQA).questions():
            if question.split == "test" and not bench.faithful:
                bench.dropped["questions of the test split"] += 1
                continue
            for at, option in enumerate(question.options):
                if question.question and option:
                    id_ = f"{question.split}/{question.id}/{_LETTERS[at]}"
                    yield Pair(id_, question.question, option, int(at == question.correct))


class MedQAOptions(Recipe):
    """Each option of the questions of train and test, label 1 for the right one."""

    def rows(self, bench: "Workbench") -> Iterator[Pair]:
        """Make the pairs."""
        for question in bench.open_source(MEDQA).questions():
            if question.split not in ("train", "test"):  # a local export may have others
                bench.dropped[f"questions of the {question.split} split"] += 1
                continue
            for letter, option in question.options.items():
                if option:
                    label = int(letter == question.answer)
                    yield Pair(f"{question.split}/{question.id}/{letter}", question.question, option, label)


class Explanations(Recipe):
    """A question with the explanation of its right option."""

    def rows(self, bench: "Workbench") -> Iterator[Match]:
        """Make the pairs of the questions that have one."""
        for question in bench.open_source(MEDMCQA).questions():
            if question.question and question.explanation:
                yield Match(f"{question.split}/{question.id}", question.question, question.explanation)
            else:
                bench.dropped["questions without an explanation"] += 1


TASKS = (
    BenchmarkTask(
        35,
        "MedMCQAPair",
        "PairClassification",
        MEDMCQA,
        "pairclassification_medmcqa_pair_classification",
        "A question of an Indian medical entrance exam and its right option, or a wrong one.",
        MedMCQAOptions(),
        cap=16_384,
    ),
    BenchmarkTask(
        36,
        "MedQAPair",
        "PairClassification",
        MEDQA,
        "pairclassification_medqa_pair_classification",
        "A question of the United States medical licensing exam and its right option, or a wrong one.",
        MedQAOptions(),
        cap=16_384,
    ),
    BenchmarkTask(
        46,
        "MedMCQARetrieval",
        "Retrieval",
        MEDMCQA,
        "retrieval_medmcqa_retrieval",
        "Given a question of an Indian medical entrance exam, find the explanation of its answer.",
        Explanations(),
        cap=16_384,
    ),
)
