"""MedMCQA: multiple-choice questions of Indian medical entrance exams; from the hub, or a local copy of its files.

The test split hides its answers. Options and explanations are never read by way of CSV: texts such as "None" and "NA"
are answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field

from medte_eval.sources.access import Access
from medte_eval.sources.errors import not_none
from medte_eval.sources.hub import split_rows
from medte_eval.sources.shapes import Text, checked

SOURCE = "MedMCQA"
REPOSITORY = "openlifescienceai/medmcqa"
HIDDEN = -1


@dataclass(frozen=True, slots=True)
class Question:
    """A question.

    :param id: As the data set has it.
    :param options: Its four options; "" for one that is empty.
    :param correct: Position of the right option, from 0; `HIDDEN` in the test split.
    :param explanation: Why it is right; "" where there is none.
    :param split: train, validation or test.
    """

    id: str
    question: str
    options: tuple[str, ...]
    correct: int
    explanation: str
    split: str


class _Row(BaseModel):
    id: str = Field(min_length=1)
    question: Text
    opa: Text
    opb: Text
    opc: Text
    opd: Text
    cop: int = Field(ge=HIDDEN, le=3)  # the authors' own files count from 1, the hub's from 0
    exp: Text = ""


@dataclass(frozen=True, slots=True)
class MedMCQA:
    """MedMCQA; an export of it is a .parquet or .jsonl file of a split, or a folder of them."""

    access: Access

    def questions(self) -> Iterator[Question]:
        """Stream the questions: train, validation, test, each in its own order.

        :raises SourceError: If there are none, or they cannot be had or read.
        """
        found = (_question(*row) for row in split_rows(self.access, SOURCE, REPOSITORY))
        return not_none(found, SOURCE, str(self.access.export or REPOSITORY), "holds no question")


def _question(place: str, split: str, row: dict[str, Any]) -> Question:
    found = checked(_Row, row, SOURCE, place)
    options = (found.opa, found.opb, found.opc, found.opd)
    return Question(found.id, found.question, options, found.cop, found.exp, split)
