"""MedQuAD: questions with their own answers, from the shipped sample or any other MedQuAD folder or archive."""

import logging
from dataclasses import dataclass
from pathlib import Path

from es_ingest.data import medquad_sample
from es_ingest.readers import read
from es_ingest.records import Malformed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Pair:
    """An answered question.

    :param id: Record id of `es-ingest run --format medquad`, such as ``NIDDK:0000001-1``.
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
            continue
        pairs.append(Pair(item.id, str(item.meta.get("question", "")), item.text))
    return MedQuAD(tuple(pairs), left_out)
