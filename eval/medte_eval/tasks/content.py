"""What mteb evaluates on, in a form that can be hashed and kept: texts with labels, pairs, and judged documents."""

import hashlib
import json
import logging
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self

from es_ingest.records import ReadError
from medte_eval.tasks.benchmark.task import Kind
from medte_eval.tasks.building.folder import Tables, read_built
from medte_eval.tasks.building.manifest import Manifest

logger = logging.getLogger(__name__)

SEED = 42


class Content(Protocol):
    """The data of a task."""

    @property
    def left_out(self) -> int:
        """Source rows that could not be read."""
        ...

    @classmethod
    def of(cls, tables: Tables) -> Self:
        """Take the tables of a built task."""
        ...

    def sha256(self) -> str:
        """Return a hash of all of it, so that two results tell whether they are about the same data."""
        ...


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a classification or clustering task is made of.

    :param splits: ``train`` and ``test``, or ``test`` alone, to ids, texts and label numbers.
    """

    splits: Mapping[str, Sequence[tuple[str, str, int]]]
    left_out: int = 0

    @classmethod
    def of(cls, tables: Tables) -> Self:
        """Take the tables of a built task."""
        return cls({name: _rows(table, "source_id", "text", "label") for name, table in tables.items()})

    def sha256(self) -> str:
        """Return a hash of all of it."""
        return _hash([name, *row] for name in sorted(self.splits) for row in sorted(self.splits[name]))


@dataclass(frozen=True, slots=True)
class Paired:
    """What a pair classification task is made of.

    :param pairs: Ids, first texts, second texts, and labels 1 (belong together) or 0.
    """

    pairs: Sequence[tuple[str, str, str, int]]
    left_out: int = 0

    @classmethod
    def of(cls, tables: Tables) -> Self:
        """Take the tables of a built task."""
        return cls(_rows(tables["test"], "source_id", "sentence1", "sentence2", "label"))

    def sha256(self) -> str:
        """Return a hash of all of it."""
        return _hash(sorted(self.pairs))


@dataclass(frozen=True, slots=True)
class Judged:
    """What a retrieval task is made of.

    :param corpus: Document ids, titles ("" for none) and texts.
    :param queries: Query ids to texts.
    :param relevant: Query ids to ids of relevant documents to grades.
    :param left_out: Source rows that could not be read.
    """

    corpus: Sequence[tuple[str, str, str]]
    queries: Mapping[str, str]
    relevant: Mapping[str, Mapping[str, int]]
    left_out: int = 0

    @classmethod
    def of(cls, tables: Tables) -> Self:
        """Take the tables of a built task."""
        relevant: dict[str, dict[str, int]] = {}
        for query, document, grade in _rows(tables["qrels"], "query-id", "corpus-id", "score"):
            relevant.setdefault(query, {})[document] = grade
        queries = dict(_rows(tables["queries"], "id", "text"))
        return cls(_rows(tables["corpus"], "id", "title", "text"), queries, relevant)

    def sample(self, number: int, seed: int = SEED) -> "Judged":
        """Keep so many random queries, drawn from the ids in sorted order; all where there are no more."""
        if number >= len(self.queries):
            logger.info("all %d queries are asked: there are no %d", len(self.queries), number)
            return self
        kept = sorted(random.Random(seed).sample(sorted(self.queries), number))  # noqa: S311  a repeatable sample
        return replace(
            self,
            queries={query: self.queries[query] for query in kept},
            relevant={query: self.relevant[query] for query in kept},
        )

    def sha256(self) -> str:
        """Return a hash of all of it."""
        return _hash(self._parts())

    def _parts(self) -> Iterator[Any]:
        yield from sorted(self.corpus)
        yield from sorted(self.queries.items())
        yield from sorted((query, sorted(grades.items())) for query, grades in self.relevant.items())


CONTENTS: Mapping[Kind, type[Content]] = MappingProxyType(
    {"Classification": Labelled, "Clustering": Labelled, "PairClassification": Paired, "Retrieval": Judged}
)


def read_content(folder: Path) -> tuple[Content, Manifest]:
    """Read the data of a built task, with its manifest.

    :raises ReadError: If it is not built, damaged, or its tables are not those that the manifest tells of.
    """
    tables, manifest = read_built(folder)
    try:
        content = CONTENTS[manifest.type].of(tables)
        same = content.sha256() == manifest.sha256
    except (KeyError, TypeError, ValueError):  # columns that are missing, or hold something else
        same = False
    if not same:
        raise ReadError(str(folder), "its tables are not those that its manifest tells of; build it again")
    return content, manifest


def _rows(table: Mapping[str, Sequence[Any]], *columns: str) -> list[Any]:
    return list(zip(*(table[column] for column in columns), strict=True))


def _hash(parts: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(json.dumps(part).encode())
    return digest.hexdigest()
