"""MedQA: multiple-choice questions of the United States medical licensing exam; from the hub, or a local copy."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import BaseModel, Field

from medte_eval.sources.access import Access
from medte_eval.sources.errors import SourceError
from medte_eval.sources.hub import split_rows
from medte_eval.sources.shapes import checked

SOURCE = "MedQA"
REPOSITORY = "GBaker/MedQA-USMLE-4-options"


@dataclass(frozen=True, slots=True)
class Question:
    """A question.

    :param id: Its split and its number in it, from 1, such as train-1: the data set has no ids.
    :param options: Letters, A to D, to options.
    :param answer: The letter of the right one.
    :param split: train, validation or test.
    """

    id: str
    question: str
    options: Mapping[str, str]
    answer: str
    split: str


class _Row(BaseModel):
    question: str = Field(min_length=1)
    options: dict[str, str] = Field(min_length=2)
    answer: str = Field(alias="answer_idx")


@dataclass(frozen=True, slots=True)
class MedQA:
    """MedQA; an export of it is a .parquet or .jsonl file of a split, or a folder of them."""

    access: Access

    def questions(self) -> Iterator[Question]:
        """Stream the questions, split by split, each in its own order.

        :raises SourceError: If there are none, or they cannot be had or read.
        """
        numbers: Counter[str] = Counter()
        for place, split, row in split_rows(self.access, SOURCE, REPOSITORY):
            found = checked(_Row, row, SOURCE, place)
            if found.answer not in found.options:
                raise SourceError(SOURCE, place, "field 'answer_idx' is none of the letters of field 'options'")
            numbers[split] += 1
            yield Question(f"{split}-{numbers[split]}", found.question, found.options, found.answer, split)
        if not numbers:
            raise SourceError(SOURCE, str(self.access.export or REPOSITORY), "holds no question")
