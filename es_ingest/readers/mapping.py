"""Which fields of a row make a record."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

from es_ingest.readers.values import listed, shown
from es_ingest.records import ReadError

ID_FIELDS = ("_id", "id", "doc_id", "docid", "pmid")
TITLE_FIELDS = ("title",)
TEXT_FIELDS = ("text", "content", "abstract", "body", "answer")
TEXT_FIELD = f"text field such as {listed(TEXT_FIELDS)} (--text-field names another)"
NO_QUOTE = "none"


@dataclass(frozen=True, slots=True)
class FieldMapping:
    """Which fields of a row make a record. A name may be a dotted path into nested objects: `article.abstract`.

    :param id: The id field; None takes the first of `ID_FIELDS` that a row has, or a content id.
    :param title: The title field; None takes `title` where there is one.
    :param text: One field name or several, joined by a blank line; none takes the first of `TEXT_FIELDS` a row has.
    :param meta: The metadata fields; None keeps all others.
    :param vector: The field of a ready-made vector, which every row must have then; None for rows without. It is never
        metadata.
    :param quote: The character that CSV cells are quoted by, `NO_QUOTE` where they are not; None for the double quote.
    :raises ValueError: If a name is blank, the vector is named as metadata, or cells cannot be quoted so.
    """

    id: str | None = None
    title: str | None = None
    text: tuple[str, ...] = ()
    meta: tuple[str, ...] | None = None
    vector: str | None = None
    quote: str | None = None

    def __post_init__(self) -> None:
        for name in ("text", "meta"):
            value: object = getattr(self, name)
            if value is not None:
                names = (value,) if isinstance(value, str) else tuple(cast(Collection[str], value))
                object.__setattr__(self, name, names)
        if any(not name.strip() for name in self.named()):
            raise ValueError(f"a field name is blank in {self}; leave the option out to use the defaults")
        if self.vector is not None and self.vector in (self.meta or ()):
            raise ValueError(f"field {shown(self.vector)} holds the vector and cannot be metadata; name it once")
        if self.quote not in (None, NO_QUOTE) and (len(self.quote) != 1 or self.quote in ",; \t\r\n"):
            raise ValueError(f"cells cannot be quoted by {shown(self.quote)}; give one character, or {NO_QUOTE}")

    def to_dict(self) -> dict[str, Any]:
        """Return it by the names of the command's options."""
        meta = None if self.meta is None else list(self.meta)
        names = {"id-field": self.id, "title-field": self.title, "text-field": list(self.text), "meta-field": meta}
        quote = {} if self.quote is None else {"quote": self.quote}  # ledgers that know of none stay as they are
        return {**names, "vector-field": self.vector, **quote}

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
            values.get("quote"),
        )

    def named(self) -> list[str]:
        """List every field that this mapping names."""
        every = (self.id, self.title, *self.text, *(self.meta or ()), self.vector)
        return [name for name in every if name is not None]

    def chosen(self, row: Collection[str]) -> list[str]:
        """List the id, title, text and vector fields that this mapping takes from a row, named or by default."""
        text = self.text or pick(row, None, TEXT_FIELDS)
        vector = pick(row, self.vector, ())
        return [*pick(row, self.id, ID_FIELDS), *pick(row, self.title, TITLE_FIELDS), *text, *vector]

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
            raise ReadError(path, f"has no {TEXT_FIELD}; it has {listed(columns)}")


def pick(row: Collection[str], name: str | None, candidates: tuple[str, ...]) -> tuple[str, ...]:
    """Give the named field, whether or not the row has it, or else the first candidate that the row has, or nothing."""
    return (name,) if name is not None else tuple(candidate for candidate in candidates if candidate in row)[:1]
