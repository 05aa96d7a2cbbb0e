"""Corpus formats in, records out: `read` streams any of them.

To add a format, write one file in this folder that ends in ``READER = Reader(...)``; it is found by that.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from es_ingest.readers.beir import read_qrels, read_queries
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.presence import with_fields
from es_ingest.readers.registry import FORMATS, Reader, formats, register
from es_ingest.readers.streams import STDIN, beginning, expand, label, watched
from es_ingest.records import Deleted, Item, ReadError

__all__ = [
    "FORMATS",
    "FieldMapping",
    "Reader",
    "can_be_read_twice",
    "detect",
    "formats",
    "job_of",
    "read",
    "read_qrels",
    "read_queries",
    "register",
    "rows",
]


def _found() -> Iterator[Reader]:
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        yield from (one for one in vars(importlib.import_module(module.name)).values() if isinstance(one, Reader))


for _reader in sorted(_found(), key=lambda reader: reader.generic):  # in the order in which `detect` asks them
    register(_reader)


def read(sources: Sequence[str], format: str, fields: FieldMapping | None = None) -> Iterator[Item]:  # noqa: A002
    """Stream the records of one or several sources, one after the other.

    Format, mapping and the presence of every source are checked at once, before the first record is asked for; a file
    is opened when its turn comes. Nothing is ever held but the row at hand, and malformed ones before the first record.

    :param sources: Paths, glob patterns (for names that are no path themselves), or "-" for standard input.
    :param format: A name in `FORMATS`.
    :param fields: Which fields make a record, for formats whose fields have no fixed names.
    :returns: Records, deletions of records, and what is wrong with the rows that are none; also at its end if a file
        changed meanwhile.
    :raises ReadError: If the format is unknown or a source is missing; while iterating, if a source cannot be read or
        the first rows all lack a field that the mapping needs.

    Usage:

        for item in read(["notes/*.jsonl.gz"], "jsonl", FieldMapping(id="note_id", text=("history", "findings"))):
            print(item.position, item.reason if isinstance(item, Malformed) else item.id)
    """
    reader, paths = _chosen(sources, format, fields)
    return with_fields(_chain(reader, paths, fields))


def rows(sources: Sequence[str], format: str, fields: FieldMapping | None = None) -> Iterator[object]:  # noqa: A002
    """Stream something for each row that :func:`read` gives, to count them; costs less where the format allows it.

    :raises ReadError: As `read` does.
    """
    reader, paths = _chosen(sources, format, fields)
    found = (row for path in paths for row in (reader.rows(path, fields) if reader.rows else reader.read(path, fields)))
    return (row for row in found if not isinstance(row, Deleted))


def _chosen(sources: Sequence[str], format: str, fields: FieldMapping | None) -> tuple[Reader, list[str]]:  # noqa: A002
    paths = expand(sources)
    reader = FORMATS.get(format)
    if reader is None:
        raise ReadError(label(paths[0]), f"unknown format {format!r}; the formats are {', '.join(FORMATS)}")
    if fields is not None and not reader.mapped:
        mapped = ", ".join(name for name, other in FORMATS.items() if other.mapped)
        raise ReadError(label(paths[0]), f"format {format} has fixed fields; a field mapping is for {mapped}")
    if fields is not None and fields.quote is not None and format != "csv":
        raise ReadError(label(paths[0]), f"format {format} has no quoted cells; --quote is for csv")
    if STDIN in paths and not reader.stdin:
        raise ReadError(label(STDIN), f"format {format} cannot be read from standard input; it takes {reader.source}")
    return reader, paths


def _chain(reader: Reader, paths: list[str], fields: FieldMapping | None) -> Iterator[Item]:
    for path in paths:
        yield from watched(path, reader.read(path, fields))


def job_of(sources: Sequence[str], format: str) -> str:  # noqa: A002
    """Return what tells one set of sources from another: the format and where they are, whatever the working folder."""
    return " ".join([format, *(one if one == STDIN else str(Path(one).absolute()) for one in sources)])


def can_be_read_twice(sources: Sequence[str]) -> bool:
    """Tell whether reading the sources a second time takes nothing from the first: not so for pipes and stdin."""
    return all(path != STDIN and (Path(path).is_file() or Path(path).is_dir()) for path in expand(sources))


def detect(sources: Sequence[str], fields: FieldMapping | None = None) -> str:
    """Tell the format of sources by their names, for folders by what is in them, and else by how a file begins.

    :param sources: As for `read`.
    :param fields: A mapping that is to be applied; formats of fixed fields are then told by names alone.
    :returns: A name in `FORMATS`.
    :raises ReadError: If a source is missing, looks like no format, or two look like different ones. Lists the formats.
    """
    found: dict[str, str] = {}
    for path in expand(sources):
        name = None if path == STDIN else _format_of(path, fields)
        if name is None:
            known = "; ".join(f"{reader.name}: {reader.source}" for reader in formats())
            raise ReadError(label(path), f"cannot tell its format; name it with --format. There are: {known}")
        found.setdefault(name, path)
    if len(found) > 1:
        seen = ", ".join(f"{path} is {name}" for name, path in found.items())
        raise ReadError(next(iter(found.values())), f"the sources are of several formats ({seen}); read one at a time")
    return next(iter(found))


def _format_of(path: str, fields: FieldMapping | None) -> str | None:
    named = next((reader for reader in formats() if reader.accepts(Path(path))), None)
    if fields is None and (named is None or named.generic) and Path(path).is_file():  # no pipe, which is read once
        start = beginning(path)
        named = next((reader for reader in formats() if reader.begins and reader.begins(start)), named)
    return named.name if named else None
