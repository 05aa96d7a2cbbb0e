"""CSV and TSV with a header: plain, gzip or zstd, or standard input. Tabs separate .tsv files, commas all others.

Quoted fields may hold line breaks; a position is the physical line where a record starts. Quoting is read strictly: a
stray quote makes one record malformed instead of swallowing its neighbours. Blanks around column names are dropped,
empty cells are no metadata, and a column without a name (a data frame's index) is left out.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

from es_ingest.readers.fields import RowMapper
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import MAX_LINE_BYTES, PACKED, label, read_lines
from es_ingest.readers.values import listed, raw_of, scrub
from es_ingest.records import Malformed, ReadError, Record

TAB_SUFFIXES = tuple(name + packed for name in (".tsv", ".tab") for packed in ("", *PACKED))
SUFFIXES = (*(f".csv{packed}" for packed in ("", *PACKED)), *TAB_SUFFIXES)

_UNDECODED = re.compile("[\udc80-\udcff]")


class _BadLineError(Exception):
    """A physical line that cannot be given; carries the finding."""

    def __init__(self, finding: Malformed) -> None:
        super().__init__(finding)
        self.finding = finding


class _Lines:
    """Text lines for the csv module, which lives through an exception of its input where a generator would be over."""

    def __init__(self, source: str) -> None:
        self.items: Iterator[tuple[int, bytes] | Malformed] = read_lines(source)
        self.number = 0  # physical lines seen so far; csv's own line_num misses the lines that were skipped

    def peek(self) -> str:
        """Return the next line without taking it; "" at the end or where it cannot be read."""
        ahead = next(self.items, None)
        if ahead is None:
            return ""
        self.items = chain([ahead], self.items)
        return "" if isinstance(ahead, Malformed) else ahead[1].decode("utf-8", errors="replace")

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        item = next(self.items)
        if isinstance(item, Malformed):
            self.number += 1
            raise _BadLineError(item)
        self.number = item[0]
        # Bytes that are not UTF-8 become lone surrogates, by which the record they are in is told apart and left out.
        return item[1].decode("utf-8", errors="surrogateescape")


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:
    """Stream one CSV or TSV file.

    :param source: A path, or "-" for comma-separated standard input.
    :param fields: Which columns to take; None for the defaults.
    :raises ReadError: If the file cannot be read at all, is empty, names a column twice, or lacks a named column.
    """
    fields = fields or FieldMapping()
    mapper = RowMapper(fields)
    for row in named_rows(source, fields):
        record = row if isinstance(row, Malformed) else mapper(row[1], row[0])
        if isinstance(record, Record):
            for name in [name for name, value in record.meta.items() if value == ""]:
                del record.meta[name]
        yield record


def named_rows(source: str, fields: FieldMapping) -> Iterator[tuple[str, dict[str, str]] | Malformed]:
    """Stream the rows of a CSV or TSV file as column names to cells, with the position where each row starts.

    :param source: A path, or "-" for comma-separated standard input.
    :param fields: Columns that the header must have.
    :raises ReadError: If the file cannot be read at all, is empty, names a column twice, or lacks a named column.
    """
    rows = _rows(source)
    header = _header(source, next(rows, None))
    fields.check(label(source), header)
    for row in rows:
        if isinstance(row, Malformed):
            yield row
            continue
        position, cells = row
        if len(cells) != len(header):
            yield Malformed(position, f"{len(cells)} columns where the header has {len(header)}", raw_of(cells))
        else:
            yield position, {name: cell for name, cell in zip(header, cells, strict=True) if name}


def rows(source: str) -> Iterator[tuple[str, list[str]] | Malformed]:
    """Stream the rows of a CSV or TSV file behind its header, as cells.

    :param source: A path, or "-" for comma-separated standard input.
    :raises ReadError: If the file cannot be read at all.
    """
    return islice(_rows(source), 1, None)


def _header(source: str, first: tuple[str, list[str]] | Malformed | None) -> list[str]:
    if first is None:
        raise ReadError(label(source), "is empty; the first line must name the columns")
    if isinstance(first, Malformed):
        raise ReadError(label(source), f"has no header that can be read: {first.reason}")
    header = [name.strip() for name in first[1]]
    twice = {name for name in header if name and header.count(name) > 1}
    if twice:
        raise ReadError(label(source), f"has several columns of one name: {listed(twice)}; rename them in the header")
    return header


def _rows(source: str) -> Iterator[tuple[str, list[str]] | Malformed]:
    """Stream the non-blank records, the header first, with the position where each starts."""
    # The limit is the process's own; it is raised, never lowered, and bounds what an unclosed quote can swallow.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    lines = _Lines(source)
    tabs = source.lower().endswith(TAB_SUFFIXES)
    reader = csv.reader(lines, delimiter="\t" if tabs else _delimiter(lines.peek()), strict=True)
    while True:
        first = lines.number + 1
        position = f"{label(source)}:{first}"
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _BadLineError as bad:
            yield replace(bad.finding, gap=bad.finding.gap or lines.number > first)
            continue
        except csv.Error as error:
            yield Malformed(position, _reason(error), gap=lines.number > first)  # a stray quote takes its neighbours
            continue
        if any(_UNDECODED.search(cell) for cell in cells if not cell.isascii()):
            yield Malformed(position, "not UTF-8", raw_of([scrub(cell) for cell in cells]))
        elif any("\0" in cell for cell in cells):
            yield Malformed(position, "holds a NUL character; is the file UTF-16 or binary?", raw_of(cells))
        elif cells:
            yield position, cells


def _delimiter(head: str) -> str:
    """Choose comma, or the semicolon of countries with a decimal comma, by the header's first line."""
    return ";" if head.count(";") > head.count(",") else ","


def _reason(error: csv.Error) -> str:
    if str(error) == "unexpected end of data":
        return "a quoted field that opens in this record is never closed: the rest of the file is lost"
    return f"not CSV: {error}"


READER = Reader(
    name="csv",
    description="CSV (comma or semicolon) or TSV with a header line that names columns such as id, title, text",
    source="a .csv or .tsv file, plain, .gz or .zst, or - for standard input",
    read=read,
    accepts=lambda path: path.name.lower().endswith(SUFFIXES) and not path.is_dir(),
    mapped=True,
    stdin=True,
    rows=rows,
    generic=True,
)
