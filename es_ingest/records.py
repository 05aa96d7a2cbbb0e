"""What every reader hands on: a record, a source row that is no record, and the error for a source nobody can read."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """One document of a corpus, as its source gives it.

    :param id: Unique within the corpus and the same on every run, never blank.
    :param title: Title, or "" where the source has none.
    :param text: The text exactly as given, not stripped: character offsets of chunks refer to it. Never blank.
    :param meta: Metadata beside the text, JSON-able, without nulls at the top level.
    :param position: Where it came from, for messages: `corpus.jsonl:12`, `corpus.tar.gz!folder/member.xml#3`.
    """

    id: str
    title: str
    text: str
    meta: dict[str, Any]
    position: str


@dataclass(frozen=True, slots=True)
class Malformed:
    """One source row that is not a record; the rest of the source goes on.

    :param position: Where the row is, as in `Record.position`.
    :param reason: What is wrong with it. Names fields and types, never holds document text.
    """

    position: str
    reason: str


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
