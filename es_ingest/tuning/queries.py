"""Reads queries from a file: a text a line, or JSON Lines with the field text."""

import random
from collections.abc import Iterator

from es_ingest.readers.jsonl import SUFFIXES, json_rows
from es_ingest.readers.streams import expand, label, read_lines
from es_ingest.records import Malformed, ReadError

_SEED = 42


def read_queries(source: str, most: int) -> list[str]:
    """Read queries, a random share of them if there are more than wanted.

    :param source: A path, plain, .gz or .zst, or "-" for standard input. In a .jsonl or .ndjson file each line is an
        object with the query under ``text``, else each line is a query. Blank lines are passed over.
    :param most: How many to take.
    :raises ReadError: If it cannot be read, holds something else, or no query.
    """
    expand([source])
    found = list(_objects(source) if source.lower().endswith(SUFFIXES) else _lines(source))
    if not found:
        raise ReadError(label(source), "holds no queries; write one a line, or leave --queries out")
    return random.Random(_SEED).sample(found, most) if len(found) > most else found  # noqa: S311  a repeatable share


def _lines(source: str) -> Iterator[str]:
    for item in read_lines(source):
        if isinstance(item, Malformed):
            raise ReadError(item.position, item.reason)
        number, line = item
        try:
            text = line.decode("utf-8").strip()
        except UnicodeDecodeError:
            raise ReadError(f"{label(source)}:{number}", "not UTF-8") from None
        if text:
            yield text


def _objects(source: str) -> Iterator[str]:
    for item in json_rows(source):
        if isinstance(item, Malformed):
            raise ReadError(item.position, item.reason)
        position, row = item
        text = row.get("text")
        if not isinstance(text, str) or not text.strip():
            raise ReadError(position, "a query needs the field 'text', not blank")
        yield text
