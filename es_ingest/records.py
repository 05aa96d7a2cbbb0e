"""What every reader hands on: records, rows that are none, deletions; and the error for a source nobody can read."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Record:
    """One document of a corpus, as its source gives it.

    :param id: Unique within the corpus and the same on every run, never blank.
    :param title: Title, or "" where the source has none.
    :param text: The text exactly as given, not stripped: character offsets of chunks refer to it. Never blank.
    :param meta: Metadata beside the text, JSON-able, without nulls at the top level.
    :param position: Where it came from, for messages: `corpus.jsonl:12`, `corpus.tar.gz!folder/member.xml#3`.
    :param vector: A ready-made vector of the whole text, float32, shape (dim,); None lets the encoder make one.
    """

    id: str
    title: str
    text: str
    meta: dict[str, Any]
    position: str
    vector: "NDArray[np.float32] | None" = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """One source row that is not a record; the rest of the source goes on.

    :param position: Where the row is, as in `Record.position`.
    :param reason: What is wrong with it. Names fields and types, never holds document text.
    :param raw: The row as it stands in the source, for the dead letters alone; None where it cannot be had.
    :param record: What it would be, where a record was made of it and does not fit; then the dead letters keep that.
    :param gap: Whether it may stand for several rows, as the rest of a broken file does: what comes next is not
        known to be the next row.
    :param lacks: Which fields the row lacks of those that the mapping needs, in words; None where that is not known.
    """

    position: str
    reason: str
    raw: str | None = field(default=None, repr=False, compare=False)
    gap: bool = field(default=False, repr=False, compare=False)
    lacks: tuple[str, ...] | None = field(default=None, repr=False, compare=False)
    record: Record | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Deleted:
    """A source says that a record is no more, whichever source it came from; a later one of its id brings it back.

    :param id: The record's.
    :param position: Where the source says so, as in `Record.position`.
    """

    id: str
    position: str


Item = Record | Malformed | Deleted


class ReadError(Exception):
    """A source that cannot be read at all: missing, of another format, unreadable, or its optional package is missing.

    :param path: The source, as it was given.
    :param reason: What is wrong and how to mend it.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)  # both in args, so that the error pickles
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"
