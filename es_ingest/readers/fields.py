"""From one row of named values to one record: which field is the id, the title, the text and the metadata.

Ids. Numbers become strings. A row without any id field gets a content id, a hash of its title, text and metadata: the
same row again is the same record, and rows that differ in anything that is kept are different ones. A row that has an
id field with nothing in it is malformed.

Text. A string, kept exactly as given. Several fields are joined by a blank line; null or blank ones are left out.

Vectors. A list of numbers, or a string that is one in JSON; other spellings, base64 among them, are not guessed.
"""

import hashlib
import json
import math
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from es_ingest.readers.mapping import ID_FIELDS, TEXT_FIELD, TEXT_FIELDS, TITLE_FIELDS, FieldMapping, pick
from es_ingest.readers.values import MISSING, RowError, jsonable, kind_of, listed, raw_of, scrub, shown
from es_ingest.readers.vectors import vector_of
from es_ingest.records import Malformed, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TEXT_JOIN = "\n\n"

_NUMBERS = frozenset({int, float})  # and not bool, which is an int


@dataclass(slots=True)
class RowMapper:
    """Turns rows of one source into records.

    :param fields: The mapping; None for all defaults.
    :param nan_is_null: Take NaN as "no value", as data frames do. Otherwise a number that is not finite makes the row
        malformed: Elasticsearch refuses it.
    """

    fields: FieldMapping | None = None
    nan_is_null: bool = False
    unseen: set[str] = field(init=False)  # named metadata that no row had so far: optional in a row, a typo in a file

    def __post_init__(self) -> None:
        self.fields = self.fields or FieldMapping()
        self.unseen = set(self.fields.meta or ())

    def __call__(self, row: dict[str, Any], position: str) -> Record | Malformed:
        """Map one row.

        :param row: Field names to values.
        :param position: Where the row is.
        :returns: The record, or why there is none.
        """
        try:
            return self._record(row, position)
        except RowError as error:
            return Malformed(position, str(error), raw_of(row), lacks=_lacking(row, cast(FieldMapping, self.fields)))
        except RecursionError:
            return Malformed(position, "nested too deeply")

    def _record(self, row: dict[str, Any], position: str) -> Record:
        fields = cast(FieldMapping, self.fields)
        text_fields = fields.text or pick(row, None, TEXT_FIELDS)
        if not text_fields:
            raise RowError(f"has no {TEXT_FIELD}; it has {listed(row)}")
        text = _text(row, text_fields)
        title = next((_title(row, name) for name in pick(row, fields.title, TITLE_FIELDS)), "")
        record_id = next((_id(row, name) for name in pick(row, fields.id, ID_FIELDS)), None)
        vector = None if fields.vector is None else _vector(row, fields.vector)
        meta = row if fields.vector is None else _without(row, fields.vector)
        if fields.meta is None:
            for name in fields.chosen(row):
                meta = _without(meta, name)
        else:
            meta = {name: value for name in fields.meta if (value := _get(meta, name)) is not MISSING}
            self.unseen.difference_update(meta)
        clean = {scrub(name): jsonable(value, name, nan_is_null=self.nan_is_null) for name, value in meta.items()}
        kept = {name: value for name, value in clean.items() if value is not None}
        return Record(record_id or content_id(title, text, kept), title, text, kept, position, vector)


def content_id(title: str, text: str, meta: dict[str, Any]) -> str:
    """Return the id of a record that has none: 32 hex digits of the SHA-256 of its content as JSON.

    :param meta: Its metadata; the order of fields does not matter, nor do those that hold an empty string.
    """
    content = [title, text, {name: value for name, value in meta.items() if value != ""}]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]


def _id(row: dict[str, Any], name: str) -> str:
    value = _required(row, name)
    if isinstance(value, (float, Decimal)) and math.isfinite(value):
        # A data frame holds integer ids as floats as soon as one is missing: 12.0 is the id 12.
        value = int(value) if -(2**53) < value < 2**53 and value == int(value) else str(value)
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        raise RowError(f"empty id in field {shown(name)}")
    if isinstance(value, bool) or not isinstance(value, (str, int, uuid.UUID)):
        raise RowError(f"id field {shown(name)} is {kind_of(value)}, not a string or a number")
    return scrub(str(value))


def _title(row: dict[str, Any], name: str) -> str:
    value = _required(row, name)
    if value is None or value != value:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RowError(f"title field {shown(name)} is {kind_of(value)}, not a string")
    return scrub(str(value))


def _text(row: dict[str, Any], names: tuple[str, ...]) -> str:
    parts = []
    for name in names:
        value = _required(row, name)
        if value is None and len(names) > 1:
            continue
        if not isinstance(value, str):
            raise RowError(f"text field {shown(name)} is {kind_of(value)}, not a string")
        parts.append(value)
    if len(parts) > 1:
        parts = [part for part in parts if part.strip()]
    text = scrub(TEXT_JOIN.join(parts))
    if not text.strip():
        raise RowError("empty text")
    return text


def _vector(row: dict[str, Any], name: str) -> "NDArray[np.float32]":
    value = _required(row, name)
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):  # what is no JSON stays a string
            value = json.loads(value)
    if not isinstance(value, list) and not hasattr(value, "dtype"):  # Parquet columns give arrays
        raise RowError(f"vector field {shown(name)} is {kind_of(value)}, not a list of numbers")
    if isinstance(value, list) and not _NUMBERS.issuperset(map(type, value)):
        odd = next(item for item in value if type(item) not in _NUMBERS)
        raise RowError(
            f"vector field {shown(name)} holds {kind_of(odd)} among its {len(value)} items, not numbers alone"
        )
    try:
        return vector_of(value)
    except ValueError as error:
        raise RowError(f"vector field {shown(name)} {error}") from None


def _required(row: dict[str, Any], name: str) -> Any:
    """Return a field that the row must have."""
    value = _get(row, name)
    if value is MISSING:
        raise RowError(f"has no field {shown(name)}; it has {listed(row)}")
    return value


def _lacking(row: dict[str, Any], fields: FieldMapping) -> tuple[str, ...]:
    """List what a row lacks of what the mapping needs; what null stands for may be there in other rows."""
    text = () if fields.text or pick(row, None, TEXT_FIELDS) else (TEXT_FIELD,)
    needed = (*fields.text, fields.id, fields.title, fields.vector)
    return *text, *(f"field {shown(name)}" for name in needed if name is not None and _is_missing(row, name))


def _is_missing(row: dict[str, Any], name: str) -> bool:
    if name in row:
        return False
    value: Any = row
    for key in name.split("."):
        if not isinstance(value, dict):
            return value is not None
        value = value.get(key, MISSING)
    return value is MISSING


def _get(row: dict[str, Any], name: str) -> Any:
    """Return a field by its own name or else by its dotted path."""
    if name in row:
        return row[name]
    value: Any = row
    for key in name.split("."):
        value = value.get(key, MISSING) if isinstance(value, dict) else MISSING
    return value


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the row without one field, and without the objects that this leaves empty."""
    if name in row:
        return {key: value for key, value in row.items() if key != name}
    head, _, rest = name.partition(".")
    if not rest or not isinstance(row.get(head), dict):
        return row
    inner = _without(row[head], rest)
    return {key: inner if key == head else value for key, value in row.items() if key != head or inner}
