r"""From one row of named values to one record: which field is the id, the title, the text and the metadata.

Ids. Numbers become strings. A row without any id field gets a content id, the first 32 hex digits of
sha256(title + "\n" + text), so that the same file read again overwrites and never duplicates. A row that has an id
field with nothing in it is malformed.

Text. A string, kept exactly as given. Several fields are joined by a blank line; null or blank ones are left out.

Vectors. A list of numbers, or a string that is one in JSON; other spellings, base64 among them, are not guessed.

Strings. A lone surrogate (JSON can spell one: "\ud800") exists in no UTF-8 text and Elasticsearch refuses it, so it
becomes U+FFFD, one character for one: offsets do not move.
"""

import datetime
import hashlib
import json
import math
import re
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from es_ingest.readers.vectors import vector_of
from es_ingest.records import Malformed, ReadError, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ID_FIELDS = ("_id", "id", "doc_id", "docid", "pmid")
TITLE_FIELDS = ("title",)
TEXT_FIELDS = ("text", "content", "abstract", "body", "answer")
TEXT_JOIN = "\n\n"

_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN_NAME = re.compile(r"[A-Za-z_][\w.\-]{0,39}", re.ASCII)
_MISSING: Any = object()
_NUMBERS = frozenset({int, float})  # and not bool, which is an int


class RowError(Exception):
    """Why a row is not a record; readers turn it into `Malformed`."""


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """Which fields of a row make a record. A name may be a dotted path into nested objects: `article.abstract`.

    :param id: The id field; None takes the first of `ID_FIELDS` that a row has, or a content id.
    :param title: The title field; None takes `title` where there is one.
    :param text: One field name or several, joined by a blank line; none takes the first of `TEXT_FIELDS` a row has.
    :param meta: The metadata fields; None keeps all others.
    :param vector: The field of a ready-made vector, which every row must have then; None for rows without. It is never
        metadata.
    :raises ValueError: If a name is blank, or the vector is named as metadata.
    """

    id: str | None = None
    title: str | None = None
    text: tuple[str, ...] = ()
    meta: tuple[str, ...] | None = None
    vector: str | None = None

    def __post_init__(self) -> None:
        for name in ("text", "meta"):
            value: object = getattr(self, name)
            if value is not None:
                names = (value,) if isinstance(value, str) else tuple(cast(Collection[str], value))
                object.__setattr__(self, name, names)
        if any(not name.strip() for name in self.named()):
            raise ValueError(f"a field name is blank in {self}; leave the option out to use the defaults")
        if self.vector is not None and self.vector in (self.meta or ()):
            raise ValueError(f"field {_shown(self.vector)} holds the vector and cannot be metadata; name it once")

    def to_dict(self) -> dict[str, Any]:
        """Return it by the names of the command's options."""
        meta = None if self.meta is None else list(self.meta)
        names = {"id-field": self.id, "title-field": self.title, "text-field": list(self.text), "meta-field": meta}
        return {**names, "vector-field": self.vector}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "FieldMapping":
        """Return what :meth:`to_dict` gave."""
        meta = values.get("meta-field")
        return cls(
            values.get("id-field"),
            values.get("title-field"),
            tuple(values.get("text-field") or ()),
            None if meta is None else tuple(meta),
            values.get("vector-field"),
        )

    def named(self) -> list[str]:
        """List every field that this mapping names."""
        every = (self.id, self.title, *self.text, *(self.meta or ()), self.vector)
        return [name for name in every if name is not None]

    def chosen(self, row: Collection[str]) -> list[str]:
        """List the id, title, text and vector fields that this mapping takes from a row, named or by default."""
        text = self.text or _pick(row, None, TEXT_FIELDS)
        vector = _pick(row, self.vector, ())
        return [*_pick(row, self.id, ID_FIELDS), *_pick(row, self.title, TITLE_FIELDS), *text, *vector]

    def check(self, path: str, columns: Collection[str]) -> None:
        """Check this mapping against a header, for formats that have one.

        :param path: The source, for the message.
        :param columns: Every field that a row has, nested ones as dotted paths.
        :raises ReadError: If a named field is not there, or no text field can be found.
        """
        missing = [name for name in self.named() if name not in columns]
        if missing:
            raise ReadError(path, f"has no field {listed(missing)}; it has {listed(columns)}")
        if not self.text and not any(name in columns for name in TEXT_FIELDS):
            raise ReadError(
                path,
                f"has no text field such as {listed(TEXT_FIELDS)}; map one of its fields to text: {listed(columns)}",
            )


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
            return Malformed(position, str(error), raw_of(row))
        except RecursionError:
            return Malformed(position, "nested too deeply")

    def _record(self, row: dict[str, Any], position: str) -> Record:
        fields = cast(FieldMapping, self.fields)
        text_fields = fields.text or _pick(row, None, TEXT_FIELDS)
        if not text_fields:
            raise RowError(f"no text field: none of {listed(TEXT_FIELDS)}")
        text = _text(row, text_fields)
        title = next((_title(row, name) for name in _pick(row, fields.title, TITLE_FIELDS)), "")
        record_id = next((_id(row, name) for name in _pick(row, fields.id, ID_FIELDS)), None) or content_id(title, text)
        vector = None if fields.vector is None else _vector(row, fields.vector)
        meta = row if fields.vector is None else _without(row, fields.vector)
        if fields.meta is None:
            for name in fields.chosen(row):
                meta = _without(meta, name)
        else:
            meta = {name: value for name in fields.meta if (value := _get(meta, name)) is not _MISSING}
            self.unseen.difference_update(meta)
        clean = {scrub(name): self.jsonable(value, name) for name, value in meta.items()}
        return Record(record_id, title, text, {k: v for k, v in clean.items() if v is not None}, position, vector)

    def jsonable(self, value: Any, name: str) -> Any:
        """Make a value what JSON and Elasticsearch can hold.

        Dates and times become ISO 8601, durations seconds, decimals floats, UUIDs strings.

        :param value: Any value of a row.
        :param name: Its field, for the message.
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
                if self.nan_is_null and math.isnan(value):
                    return None
                raise RowError(f"field {_shown(name)} is {value}; Elasticsearch takes finite numbers only")
            case dict():
                return {scrub(str(k)): self.jsonable(v, f"{name}.{k}") for k, v in value.items()}
            case list() | tuple():
                return [self.jsonable(item, name) for item in value]
            case datetime.date() | datetime.time():  # datetime is a date
                return value.isoformat()
            case datetime.timedelta():
                return value.total_seconds()
            case uuid.UUID():
                return str(value)
        raise RowError(f"field {_shown(name)} is {_kind(value)}, which metadata cannot hold")


def scrub(text: str) -> str:
    """Replace each lone surrogate by U+FFFD; the length stays."""
    return text if text.isascii() else _SURROGATE.sub("\ufffd", text)


def raw_of(row: object) -> str | None:
    """Return a row as JSON, for the dead letters; None where it is nested too deeply."""
    try:
        return json.dumps(row, default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value))
    except RecursionError:
        return None


def content_id(title: str, text: str) -> str:
    """Return the id of a record that has none: 32 hex digits of the SHA-256 of title, line feed and text."""
    return hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()[:32]


def _id(row: dict[str, Any], name: str) -> str:
    value = _get(row, name)
    if isinstance(value, (float, Decimal)) and math.isfinite(value):
        # A data frame holds integer ids as floats as soon as one is missing: 12.0 is the id 12.
        value = int(value) if -(2**53) < value < 2**53 and value == int(value) else str(value)
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        raise RowError(f"empty id in field {_shown(name)}")
    if isinstance(value, bool) or not isinstance(value, (str, int, uuid.UUID)):
        raise RowError(f"id field {_shown(name)} is {_kind(value)}, not a string or a number")
    return scrub(str(value))


def _title(row: dict[str, Any], name: str) -> str:
    value = _get(row, name)
    if value is None or value != value:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise RowError(f"title field {_shown(name)} is {_kind(value)}, not a string")
    return scrub(str(value))


def _text(row: dict[str, Any], names: tuple[str, ...]) -> str:
    parts = []
    for name in names:
        value = _get(row, name)
        if value is None and len(names) > 1:
            continue
        if not isinstance(value, str):
            raise RowError(f"text field {_shown(name)} is {_kind(value)}, not a string")
        parts.append(value)
    if len(parts) > 1:
        parts = [part for part in parts if part.strip()]
    text = scrub(TEXT_JOIN.join(parts))
    if not text.strip():
        raise RowError("empty text")
    return text


def _vector(row: dict[str, Any], name: str) -> "NDArray[np.float32]":
    value = _get(row, name)
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):  # what is no JSON stays a string
            value = json.loads(value)
    if not isinstance(value, list) and not hasattr(value, "dtype"):  # Parquet columns give arrays
        raise RowError(f"vector field {_shown(name)} is {_kind(value)}, not a list of numbers")
    if isinstance(value, list) and not _NUMBERS.issuperset(map(type, value)):
        odd = next(item for item in value if type(item) not in _NUMBERS)
        raise RowError(
            f"vector field {_shown(name)} holds {_kind(odd)} among its {len(value)} items, not numbers alone"
        )
    try:
        return vector_of(value)
    except ValueError as error:
        raise RowError(f"vector field {_shown(name)} {error}") from None


def _pick(row: Collection[str], name: str | None, candidates: tuple[str, ...]) -> tuple[str, ...]:
    """Give the named field, whether or not the row has it, or else the first candidate that the row has, or nothing."""
    return (name,) if name is not None else tuple(candidate for candidate in candidates if candidate in row)[:1]


def _get(row: dict[str, Any], name: str) -> Any:
    """Return a field by its own name or else by its dotted path."""
    if name in row:
        return row[name]
    value: Any = row
    for key in name.split("."):
        value = value.get(key, _MISSING) if isinstance(value, dict) else _MISSING
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


def _kind(value: Any) -> str:
    """Name a value's type the way a corpus author would."""
    if value is _MISSING:
        return "missing"
    kinds = {type(None): "null", bool: "true or false", int: "a number", float: "a number", str: "a string"}
    kinds |= {list: "a list", tuple: "a list", dict: "an object", bytes: "binary"}
    return kinds.get(type(value), f"of type {type(value).__name__}")


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else name[:80] + "…")


def listed(names: Collection[str]) -> str:
    """List field names; what does not look like one may be document text under a missing header and is only counted."""
    shown = [repr(name) for name in names if _SHOWN_NAME.fullmatch(name)][:30]
    hidden = len(names) - len(shown)
    return ", ".join(shown + [f"{hidden} more"] * bool(hidden)) or "none"
