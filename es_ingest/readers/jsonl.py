"""JSON Lines: one JSON object per line, plain, gzip or zstd, or standard input.

Lines are split at line feeds only, so that a U+2028 inside a string does not cut a row. A BOM, CRLF and blank lines are
fine. NaN and Infinity, which Python would read and Elasticsearch refuses, make a row malformed where the field is used.
"""

import logging
from collections.abc import Iterator
from typing import Any

from es_ingest.readers.fields import RowMapper
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import PACKED, label, read_lines
from es_ingest.readers.values import RowError, parse_json, raw_bytes, raw_text
from es_ingest.records import Malformed, Record

logger = logging.getLogger(__name__)

SUFFIXES = tuple(name + packed for name in (".jsonl", ".ndjson") for packed in ("", *PACKED))


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:
    """Stream one JSON Lines file.

    :param source: A path, or "-" for standard input.
    :param fields: Which fields to take; None for the defaults. A row without a named id, title or text field is
        malformed; named metadata may be missing from a row.
    :raises ReadError: If the file cannot be read at all.
    """
    mapper = RowMapper(fields)
    for row in json_rows(source):
        yield row if isinstance(row, Malformed) else mapper(row[1], row[0])
    if mapper.unseen:
        logger.warning("%s: no row has the metadata field %s", label(source), ", ".join(sorted(mapper.unseen)))


def json_rows(source: str) -> Iterator[tuple[str, dict[str, Any]] | Malformed]:
    """Stream the objects of a JSON Lines file with their positions.

    :param source: A path, or "-" for standard input.
    :raises ReadError: If the file cannot be read at all.
    """
    for item in rows(source):
        if isinstance(item, Malformed):
            yield item
            continue
        number, line = item
        position = f"{label(source)}:{number}"
        try:
            yield position, parse_object(line)
        except RowError as error:
            yield Malformed(position, str(error), raw_text(line))


def again(raw: str, position: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:
    """Read a line of dead letters once more; see `Reader.again`."""
    yield RowMapper(fields)(parse_object(raw_bytes(raw)), position)


def rows(source: str, fields: FieldMapping | None = None) -> Iterator[tuple[int, bytes] | Malformed]:  # noqa: ARG001
    """Stream the lines of a JSON Lines file that are not blank, with their numbers, unparsed.

    :param source: A path, or "-" for standard input.
    :param fields: Not used; it changes no number of lines.
    :raises ReadError: If the file cannot be read at all.
    """
    return (item for item in read_lines(source) if isinstance(item, Malformed) or item[1].strip())


def parse_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line.

    :raises RowError: If it is none.
    """
    value = parse_json(line, one_line=True)
    if not isinstance(value, dict):
        raise RowError("not a JSON object: every line must be one, as in {...}")
    return value


READER = Reader(
    name="jsonl",
    description="JSON Lines: one object per line with fields such as id, title, text",
    source="a .jsonl or .ndjson file, plain, .gz or .zst, or - for standard input",
    read=read,
    accepts=lambda path: path.name.lower().endswith(SUFFIXES) and not path.is_dir(),
    mapped=True,
    stdin=True,
    rows=rows,
    again=again,
    generic=True,
)
