"""BEIR folders: a corpus, queries and judgements, plain or .gz."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from es_ingest.readers import beir, read_qrels, read_queries
from es_ingest.records import Malformed, ReadError, Record

logger = logging.getLogger(__name__)

_REPORTED = 5  # malformed rows that are named one by one


@dataclass(frozen=True, slots=True)
class BeirSet:
    """A BEIR data set.

    :param corpus: Its documents.
    :param queries: Texts of the queries that the split judges.
    :param relevant: Query ids to document ids to scores.
    :param left_out: Corpus rows that are no documents.
    """

    corpus: tuple[Record, ...]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    left_out: int


def read_beir(folder: Path, split: str = "test") -> BeirSet:
    """Read a BEIR folder.

    :param folder: Holds `corpus.jsonl`, `queries.jsonl` and `qrels/{split}.tsv`.
    :param split: The split whose judgements count.
    :raises ReadError: If a part is missing or broken off, or a judged query has no text.
    """
    if not folder.is_dir():
        raise ReadError(str(folder), "is no folder; a BEIR data set is one with corpus.jsonl, queries.jsonl and qrels/")
    queries, relevant = read_queries(folder), read_qrels(folder, split)
    unknown = next((query for query in relevant if query not in queries), None)
    if unknown is not None:
        raise ReadError(str(folder), f"qrels/{split} judges query {unknown!r}, which queries.jsonl does not have")
    corpus, left_out = [], 0
    for item in beir.read(str(folder)):
        if isinstance(item, Malformed):
            if item.gap:  # a score over what is left of a broken file would be of another data set
                raise ReadError(item.position, item.reason)
            left_out += 1
            if left_out <= _REPORTED:
                logger.warning("%s: left out: %s", item.position, item.reason)
            continue
        corpus.append(item)
    if left_out > _REPORTED:
        logger.warning("%s: left out %d rows of the corpus in all", folder, left_out)
    return BeirSet(tuple(corpus), {query: queries[query] for query in relevant}, relevant, left_out)
