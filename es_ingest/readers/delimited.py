"""CSV and TSV with a header: plain, gzip or zstd, or standard input. Tabs separate .tsv files, commas all others.

Quoted fields may hold line breaks; a position is the physical line where a record starts. Quoting is read strictly: a
stray quote makes one record malformed, and where the lines that it took for its cell look like rows of their own, they
are read again as such. Blanks around column names are dropped, empty cells are no metadata, and a column without a name
(a data frame's index) is left out.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from es_ingest.readers.fields import RowMapper
from es_ingest.readers.mapping import NO_QUOTE, FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import MAX_LINE_BYTES, PACKED, label, read_lines
from es_ingest.readers.values import RowError, kind_of, listed, parse_json, raw_bytes, raw_of, raw_text, scrub, shown
from es_ingest.records import Malformed, ReadError, Record

TAB_SUFFIXES = tuple(name + packed for name in (".tsv", ".tab") for packed in ("", *PACKED))
SUFFIXES = (*(f".csv{packed}" for packed in ("", *PACKED)), *TAB_SUFFIXES)

MAX_ROW_BYTES = 16 * 2**20  # of a row that spans lines; what a quote that is never closed takes at most
_MOST = 0.9
_MENDED = "make it an object of all column names and their cells, or mend the source"
_UNDECODED = re.compile("[\udc80-\udcff]")


class _BadLineError(Exception):
    """A physical line that cannot be given; carries the finding."""

    def __init__(self, finding: Malformed) -> None:
        super().__init__(finding)
        self.finding = finding


class _EndlessError(csv.Error):
    """A row goes on over more lines than it may."""


class _Lines:
    """Text lines for the csv module, which lives through an exception of its input where a generator would be over."""

    def __init__(self, source: str) -> None:
        self.number = 0  # physical lines seen so far; csv's own line_num misses the lines that were skipped
        self.taken: list[tuple[int, bytes]] = []  # for the row at hand
        self._items = read_lines(source)
        self._ahead: deque[tuple[int, bytes] | Malformed] = deque()
        self._size = 0  # of what was taken, in bytes

    def peek(self) -> str:
        """Return the next line without taking it; "" at the end or where it cannot be read."""
        ahead = next(self._items, None)
        if ahead is None:
            return ""
        self._ahead.append(ahead)
        return "" if isinstance(ahead, Malformed) else _decoded(ahead[1])

    def begin(self) -> None:
        """Begin a row."""
        self.taken.clear()
        self._size = 0

    def give_back(self, kept: int) -> None:
        """Have lines of the row at hand read again, all but the first so many."""
        self._ahead.extendleft(reversed(self.taken[kept:]))
        self.number = self.taken[kept - 1][0]

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        item = self._ahead.popleft() if self._ahead else next(self._items)
        if isinstance(item, Malformed):
            self.number += 1
            raise _BadLineError(item)
        self._size += len(item[1])
        if self._size > MAX_ROW_BYTES and self.taken:
            self._ahead.appendleft(item)
            raise _EndlessError
        self.number = item[0]
        self.taken.append(item)
        return _decoded(item[1])


def _decoded(line: bytes) -> str:
    """Decode a line; bytes that are not UTF-8 become lone surrogates, by which their row is told and left out."""
    return raw_text(line)


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:
    """Stream one CSV or TSV file.

    :param source: A path, or "-" for comma-separated standard input.
    :param fields: Which columns to take; None for the defaults.
    :raises ReadError: If the file cannot be read at all, is empty, names a column twice, or lacks a named column.
    """
    fields = fields or FieldMapping()
    mapper = RowMapper(fields)
    for row in named_rows(source, fields):
        yield row if isinstance(row, Malformed) else _record(mapper, row[1], row[0])


def again(raw: str, position: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:
    """Read a row of dead letters once more; see `Reader.again`."""
    yield _record(RowMapper(fields), cells_of(raw), position)


def cells_of(raw: str) -> dict[str, str]:
    """Return a row of dead letters as column names to cells, which is how it can be mended.

    :raises RowError: If it is none, such as a line that has no quote at its end.
    """
    try:
        row = parse_json(raw_bytes(raw))
    except RowError as error:
        raise RowError(f"{error}; {_MENDED}") from None
    if not isinstance(row, dict):
        raise RowError(f"is {kind_of(row)}; {_MENDED}")
    for name, cell in row.items():
        if not isinstance(cell, str):
            raise RowError(f"cell {shown(name)} is {kind_of(cell)}, not a string")
        if "\0" in cell:
            raise RowError(f"cell {shown(name)} holds a NUL character")
    return row


def _record(mapper: RowMapper, row: dict[str, str], position: str) -> Record | Malformed:
    record = mapper(row, position)
    if isinstance(record, Record):
        for name in [name for name, value in record.meta.items() if value == ""]:
            del record.meta[name]
    return record


def named_rows(source: str, fields: FieldMapping) -> Iterator[tuple[str, dict[str, str]] | Malformed]:
    """Stream the rows of a CSV or TSV file as column names to cells, with the position where each row starts.

    :param source: A path, or "-" for comma-separated standard input.
    :param fields: Columns that the header must have.
    :raises ReadError: If the file cannot be read at all, is empty, names a column twice, or lacks a named column.
    """
    rows = _rows(source, fields.quote)
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


def rows(source: str, fields: FieldMapping | None = None) -> Iterator[tuple[str, list[str]] | Malformed]:
    """Stream the rows of a CSV or TSV file behind its header, as cells.

    :param source: A path, or "-" for comma-separated standard input.
    :param fields: How cells are quoted.
    :raises ReadError: If the file cannot be read at all.
    """
    return islice(_rows(source, fields.quote if fields else None), 1, None)


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


def _rows(source: str, quote: str | None) -> Iterator[tuple[str, list[str]] | Malformed]:
    """Stream the non-blank records, the header first, with the position where each starts."""
    # The limit is the process's own; it is raised, never lowered.
    csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_BYTES))
    lines = _Lines(source)
    delimiter = "\t" if source.lower().endswith(TAB_SUFFIXES) else _delimiter(lines.peek())
    quote = quote or '"'
    if quote == NO_QUOTE:
        reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE, strict=True)
    else:
        reader = csv.reader(lines, delimiter=delimiter, quotechar=quote, strict=True)
    columns = 0
    while True:
        lines.begin()
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
            yield _misquoted(lines, position, error, columns, delimiter, quote)
            continue
        columns = columns or len(cells)
        if any(_UNDECODED.search(cell) for cell in cells if not cell.isascii()):
            yield Malformed(position, "not UTF-8", raw_of([scrub(cell) for cell in cells]))
        elif any("\0" in cell for cell in cells):
            yield Malformed(position, "holds a NUL character; is the file UTF-16 or binary?", raw_of(cells))
        elif cells:
            yield position, cells


def _delimiter(head: str) -> str:
    """Choose comma, or the semicolon of countries with a decimal comma, by the header's first line."""
    return ";" if head.count(";") > head.count(",") else ","


def _misquoted(lines: _Lines, position: str, error: csv.Error, columns: int, delimiter: str, quote: str) -> Malformed:
    """Return what is wrong with the row at hand, and have what a quote of it took by mistake read again.

    :param columns: How many the header has.
    """
    texts = [_decoded(line) for _, line in lines.taken]
    opened = _opened(texts, delimiter, quote)
    number, last, behind = lines.taken[opened][0], lines.taken[-1][0], texts[opened + 1 :]
    if isinstance(error, _EndlessError):
        what = f"is not closed within {MAX_ROW_BYTES} bytes"
    elif str(error) == "unexpected end of data":
        what = "is never closed"
    elif behind and "expected after" in str(error):
        what = f"is closed in the middle of a cell, in line {last}"
    else:
        return Malformed(position, f"not CSV: {error}", raw_of(scrub("".join(texts))), gap=len(texts) > 1)
    reason = f"a quote that opens in line {number} {what}"
    kept = texts
    if behind:
        # Quotes come in pairs there, but for the last line: read again, the others open none, so this has an end.
        again = _look_like_rows(behind, columns, delimiter, quote)
        if again:
            lines.give_back(opened + 1)
            kept = texts[: opened + 1]
        fate = "read again as rows" if again else "left out, as it does not look like rows"
        more = f"{len(behind):,} more line{'s' * (len(behind) > 1)}"
        reason += f"; what it took for its cell, {more} up to line {last}, is {fate}"
    hint = "if quotes are no more than characters here, give --quote none"
    return Malformed(position, f"{reason}; {hint}", raw_of(scrub("".join(kept))), gap=len(texts) > 1)


def _look_like_rows(lines: list[str], columns: int, delimiter: str, quote: str) -> bool:
    """Tell whether nine in ten lines have as many columns as the header: the lines of a note seldom do.

    Of a single column nothing can be told.
    """
    widths = []
    for line in filter(str.strip, lines):
        try:
            widths += [len(cells) for cells in csv.reader([line], delimiter=delimiter, quotechar=quote)]
        except csv.Error:
            widths.append(0)
    return columns > 1 and widths.count(columns) >= _MOST * len(widths)


def _opened(lines: list[str], delimiter: str, quote: str) -> int:
    """Return which line of a row opens its last quoted cell."""
    opened, within = 0, False
    for number, line in enumerate(lines):
        for found in re.finditer(f"{re.escape(quote)}+", line):
            start, odd = found.start(), len(found[0]) % 2 == 1
            if within:
                within = not odd  # two in a row stand for one
            elif start == 0 or line[start - 1] == delimiter:
                opened, within = number, odd
    return opened


READER = Reader(
    name="csv",
    description="CSV (comma or semicolon) or TSV with a header line that names columns such as id, title, text;"
    " --quote none where quotes are plain characters",
    source="a .csv or .tsv file, plain, .gz or .zst, or - for standard input",
    read=read,
    accepts=lambda path: path.name.lower().endswith(SUFFIXES) and not path.is_dir(),
    mapped=True,
    stdin=True,
    rows=rows,
    again=again,
    generic=True,
)
