"""What a command reads: sources, their format, which fields make a record, and vectors that are ready-made."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from es_ingest.readers import FieldMapping, can_be_read_twice, detect, job_of, read, rows
from es_ingest.readers.streams import label
from es_ingest.readers.vectors import VectorFile, checked
from es_ingest.records import Item, Malformed, ReadError, Record
from medte_haystack.errors import IndexContractError
from medte_haystack.index import check_vector

_LOOKED_AT = 100  # malformed rows before the first record, where it has to tell the dimensions


@dataclass(frozen=True, slots=True)
class Corpus:
    """Sources of one format.

    :param sources: Paths, glob patterns, or "-" for standard input.
    :param format: A name in `readers.FORMATS`.
    :param fields: Which fields make a record, for formats whose fields have no fixed names.
    :param vectors: A .npy file with a ready-made vector for each row of the sources, malformed ones included.
    :param normalise: Scale ready-made vectors to unit length.
    """

    sources: tuple[str, ...]
    format: str
    fields: FieldMapping | None = None
    vectors: Path | None = None
    normalise: bool = False

    @classmethod
    def of(
        cls,
        sources: Sequence[str],
        format: str | None = None,  # noqa: A002
        fields: FieldMapping | None = None,
        *,
        vectors: Path | None = None,
        normalise: bool = False,
    ) -> "Corpus":
        """Return sources as a corpus; without a format it is told from their names and beginnings.

        :raises ReadError: If a source is missing or its format cannot be told.
        """
        return cls(tuple(sources), format or detect(sources, fields), fields, vectors, normalise)

    @property
    def job(self) -> str:
        """What tells this corpus from others that go into the same index."""
        return job_of(self.sources, self.format)

    @property
    def mapping(self) -> dict[str, Any]:
        """How records are made of it, JSON-able, by the names of the command's options."""
        normalise = {"normalise": True} if self.normalise else {}
        return ({} if self.fields is None else self.fields.to_dict()) | normalise

    @property
    def can_be_counted(self) -> bool:
        """Whether reading it a second time takes nothing from the first."""
        return can_be_read_twice(self.sources)

    @property
    def brings_vectors(self) -> bool:
        """Whether its records bring ready-made vectors."""
        return self.vectors is not None or (self.fields is not None and self.fields.vector is not None)

    def read(self) -> Iterator[Item]:
        """Stream its records, and deletions of records; see :func:`es_ingest.readers.read`.

        Those with ready-made vectors all have one: finite, and of the first one's size.

        :raises ReadError: If a source, or the file of vectors, is missing or cannot be read; at the end, if there were
            more or fewer vectors than rows.
        """
        items = read(self.sources, self.format, self.fields)
        if self.vectors is not None:
            items = VectorFile.of(self.vectors).pair(items)
        return checked(items, normalise=self.normalise) if self.brings_vectors else items

    def rows(self) -> Iterator[object]:
        """Stream something for each row that :meth:`read` gives, to count them.

        :raises ReadError: If a source is missing or cannot be read.
        """
        return rows(self.sources, self.format, self.fields)

    def begin(self) -> tuple[int | None, Iterator[Item]]:
        """Read as far as the first record, so that what cannot be read or written at all is told before all else.

        :returns: Dimensions of the ready-made vectors, None if there are none; and what :meth:`read` gives.
        :raises ReadError: If a source cannot be read, the vectors are not as many as the rows (where these can be
            counted beforehand) or not of unit length, or there is no record to tell their dimensions.
        """
        file = None if self.vectors is None else VectorFile.of(self.vectors)
        if file is not None and self.can_be_counted:
            file.check_rows(sum(1 for _ in self.rows()))
        items = self.read()
        begun: list[Item] = []
        for item in islice(items, _LOOKED_AT if self.brings_vectors else 1):
            begun.append(item)
            if isinstance(item, Record):
                break
        if not self.brings_vectors:
            return None, chain(begun, items)
        first = begun[-1] if begun else None
        if isinstance(first, Record):
            return _dim_of(first), chain(begun, items)
        if file is not None:
            return file.dim, chain(begun, items)
        why = f"{first.position}: {first.reason}" if isinstance(first, Malformed) else "it is empty"
        raise ReadError(label(self.sources[0]), f"has no record that tells the dimensions of the vectors ({why})")


def _dim_of(record: Record) -> int:
    assert record.vector is not None  # noqa: S101  see Corpus.read
    dim = len(record.vector)
    try:
        check_vector(record.vector, dim, name=f"record {record.id!r}")
    except IndexContractError as error:
        raise ReadError(record.position, f"{error}; --normalise scales all vectors") from error
    return dim
