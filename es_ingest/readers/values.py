r"""Values of rows as JSON and Elasticsearch can hold them, and how messages name them.

A lone surrogate (JSON can spell one: "\ud800") exists in no UTF-8 text and Elasticsearch refuses it, so it becomes
U+FFFD, one character for one: offsets do not move.
"""

import base64
import datetime
import json
import math
import re
import uuid
from collections.abc import Callable, Collection
from decimal import Decimal
from typing import Any

MISSING: Any = object()
"""The value of a field that a row has not."""

# How a row of dead letters spells what JSON has no type for: an object of this one field.
_SPELLED: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "$datetime": (datetime.datetime, datetime.datetime.isoformat, datetime.datetime.fromisoformat),  # which is a date
    "$date": (datetime.date, datetime.date.isoformat, datetime.date.fromisoformat),
    "$time": (datetime.time, datetime.time.isoformat, datetime.time.fromisoformat),
    "$seconds": (datetime.timedelta, datetime.timedelta.total_seconds, lambda value: datetime.timedelta(seconds=value)),
    "$decimal": (Decimal, str, Decimal),
    "$uuid": (uuid.UUID, str, uuid.UUID),
    "$binary": (bytes, lambda value: base64.b64encode(value).decode("ascii"), base64.b64decode),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN_NAME = re.compile(r"[A-Za-z_][\w.\-]{0,39}", re.ASCII)


class RowError(Exception):
    """Why a row is not a record; readers turn it into `Malformed`."""


def parse_json(
    data: bytes, *, one_line: bool = False, object_hook: Callable[[dict[str, Any]], Any] | None = None
) -> Any:
    """Parse a JSON text in UTF-8.

    :param one_line: Whether it is a line of a file, as messages then say; else it may begin with a byte order mark.
    :param object_hook: As of `json.loads`.
    :raises RowError: If it is none.
    """
    try:
        return json.loads(data.decode("utf-8" if one_line else "utf-8-sig"), object_hook=object_hook)
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8 at byte {error.start + 1}{' of the line' if one_line else ''}") from None
    except json.JSONDecodeError as error:
        where = f"character {error.pos + 1} of the line" if one_line else f"line {error.lineno}, column {error.colno}"
        raise RowError(f"not JSON: {error.msg.removesuffix(' at')} at {where}") from None
    except ValueError:  # Python refuses to convert integers of more than 4,300 digits
        raise RowError("not JSON that can be indexed: an integer with thousands of digits") from None
    except RecursionError:
        raise RowError("nested too deeply") from None


def jsonable(value: Any, name: str, *, nan_is_null: bool = False) -> Any:
    """Make a value what JSON and Elasticsearch can hold.

    Dates and times become ISO 8601, durations seconds, decimals floats, UUIDs strings.

    :param value: Any value of a row.
    :param name: Its field, for the message.
    :param nan_is_null: Take NaN as no value.
    :raises RowError: If it is binary, of an unknown type, or a number that is not finite.
    """
    match value:
        case None | bool() | int():
            return value
        case str():
            return scrub(value)
        case float() | Decimal():
            if math.isfinite(value):
                return float(value)
            if nan_is_null and math.isnan(value):
                return None
            raise RowError(f"field {shown(name)} is {value}; Elasticsearch takes finite numbers only")
        case dict():
            return {scrub(str(k)): jsonable(v, f"{name}.{k}", nan_is_null=nan_is_null) for k, v in value.items()}
        case list() | tuple():
            return [jsonable(item, name, nan_is_null=nan_is_null) for item in value]
        case datetime.date() | datetime.time():  # datetime is a date
            return value.isoformat()
        case datetime.timedelta():
            return value.total_seconds()
        case uuid.UUID():
            return str(value)
    raise RowError(f"field {shown(name)} is {kind_of(value)}, which metadata cannot hold")


def scrub(text: str) -> str:
    """Replace each lone surrogate by U+FFFD; the length stays."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def raw_of(row: object) -> str | None:
    """Return a row as JSON, for the dead letters; None where it is nested too deeply."""
    try:
        return json.dumps(row, default=_spell)
    except RecursionError:
        return None


def row_of(raw: str) -> Any:
    """Return what :func:`raw_of` was given; of numpy's arrays, lists.

    :raises RowError: If it is no JSON.
    """
    return parse_json(raw_bytes(raw), object_hook=_unspell)


def raw_text(line: bytes) -> str:
    """Return a row as text, for the dead letters; bytes that are not UTF-8 become lone surrogates."""
    return line.decode("utf-8", errors="surrogateescape")


def raw_bytes(raw: str) -> bytes:
    """Return the bytes of :func:`raw_text`.

    :raises RowError: If it holds other lone surrogates.
    """
    try:
        return raw.encode("utf-8", errors="surrogateescape")
    except UnicodeEncodeError:
        raise RowError("holds a lone surrogate") from None


def _spell(value: Any) -> Any:
    for name, (kind, spell, _) in _SPELLED.items():
        if isinstance(value, kind):
            return {name: spell(value)}
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _unspell(values: dict[str, Any]) -> Any:
    name = next(iter(values), "")
    if len(values) != 1 or name not in _SPELLED:
        return values
    try:
        return _SPELLED[name][2](values[name])
    except (ValueError, ArithmeticError, TypeError):
        raise RowError(f"holds a {name} that is none") from None


def kind_of(value: Any) -> str:
    """Name a value's type the way a corpus author would."""
    kinds = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "a string"}
    kinds |= {list: "a list", tuple: "a list", dict: "an object", bytes: "binary"}
    return kinds.get(type(value), f"of type {type(value).__name__}")


def shown(name: str) -> str:
    """Quote a field's name, cut short where it is very long."""
    return repr(name if len(name) <= 80 else name[:80] + "…")


def listed(names: Collection[str]) -> str:
    """List field names; what does not look like one may be document text under a missing header and is only counted."""
    named = [repr(name) for name in names if _SHOWN_NAME.fullmatch(name)][:30]
    hidden = len(names) - len(named)
    return ", ".join(named + [f"{hidden} more"] * bool(hidden)) or "none"
