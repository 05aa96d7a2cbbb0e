"""Fields that the mapping needs and no row has: a typo ends the run at once, where it would make each row malformed."""

import json
from collections.abc import Iterator
from itertools import chain

from es_ingest.readers.values import listed
from es_ingest.records import Item, Malformed, ReadError, Record

LOOKED_AT = 100  # rows


def with_fields(items: Iterator[Item]) -> Iterator[Item]:
    """Give all items, unless the first `LOOKED_AT`, or all if they are fewer, lack the same field of the mapping.

    :raises ReadError: If they do, before anything is given. Names the field, and those that are there.
    """
    begun: list[Item] = []
    for item in items:
        begun.append(item)
        if isinstance(item, Record) or len(begun) == LOOKED_AT:
            break
    if not any(isinstance(item, Record) for item in begun):
        _check([item for item in begun if isinstance(item, Malformed) and item.lacks is not None])
    yield from chain(begun, items)


def _check(rows: list[Malformed]) -> None:
    common = [what for what in (rows[0].lacks or () if rows else ()) if all(what in (row.lacks or ()) for row in rows)]
    if common:
        first = rows[0]
        nor = f", nor has any other of the {len(rows)} rows that were looked at" if len(rows) > 1 else ""
        there = listed(json.loads(first.raw or "{}"))
        raise ReadError(first.position, f"has no {' and no '.join(common)}{nor}; it has {there}")
