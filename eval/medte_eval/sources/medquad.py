"""MedQuAD: questions with their own answers, from XML as published (a sample is shipped), or from the hub."""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from es_ingest.data import medquad_sample
from es_ingest.readers import read
from es_ingest.readers.medquad import READER
from es_ingest.records import Malformed, Record
from medte_eval.sources.access import Access
from medte_eval.sources.errors import SourceError
from medte_eval.sources.hub import split_rows
from medte_eval.sources.shapes import Text, checked

logger = logging.getLogger(__name__)

SOURCE = "MedQuAD"
REPOSITORY = "lavita/MedQuAD"


@dataclass(frozen=True, slots=True)
class Pair:
    """An answered question.

    :param id: Record id of `es-ingest run --format medquad`, such as ``NIDDK:0000001-1``; of the hub's rows, which
        repeat some, the second has ``#2`` behind it.
    :param question: The question; "" where the source has none.
    :param answer: The answer as published.
    """

    id: str
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class MedQuAD:
    """A MedQuAD source.

    :param pairs: Its answered questions, in its order.
    :param left_out: Files or rows that could not be read as such.
    """

    pairs: tuple[Pair, ...]
    left_out: int


def read_medquad(path: Path | None = None) -> MedQuAD:
    """Read a MedQuAD source.

    :param path: Folder, .xml file or archive; None for the sample that ships with the package.
    :raises ReadError: If it is missing or holds no MedQuAD file.
    """
    pairs, left_out = [], 0
    for item in read([str(path or medquad_sample())], "medquad"):
        if isinstance(item, Malformed):
            left_out += 1
            logger.warning("%s: left out: %s", item.position, item.reason)
        elif isinstance(item, Record):
            pairs.append(Pair(item.id, str(item.meta.get("question", "")), item.text))
    return MedQuAD(tuple(pairs), left_out)


class _Row(BaseModel):
    document_source: str
    question_id: str
    question: Text
    answer: Text


def fetch_medquad(access: Access) -> MedQuAD:
    """Read MedQuAD as the hub has it, or an export: XML as published, or Parquet or JSON Lines as the hub has it.

    :raises SourceError: If it cannot be had or read.
    :raises ReadError: If an export of XML cannot be read.
    """
    if access.export and READER.accepts(access.export):
        return read_medquad(access.export)
    pairs, numbers = [], Counter[str]()
    for place, _, row in split_rows(access, SOURCE, REPOSITORY):
        found = checked(_Row, row, SOURCE, place)
        if found.answer.strip():
            id_ = f"{found.document_source}:{found.question_id}"
            numbers[id_] += 1
            unique = id_ if numbers[id_] == 1 else f"{id_}#{numbers[id_]}"
            pairs.append(Pair(unique, found.question, found.answer))
    if not pairs:
        raise SourceError(SOURCE, str(access.export or REPOSITORY), "holds no answered question")
    return MedQuAD(tuple(pairs), 0)
