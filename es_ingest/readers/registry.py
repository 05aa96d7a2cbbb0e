"""The registry of corpus formats: what a format is, and the table that holds them by name."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from es_ingest.readers.mapping import FieldMapping
from es_ingest.records import Item, Malformed, Record


@dataclass(frozen=True, slots=True)
class Reader:
    """One corpus format.

    :param name: What a user types, e.g. `jsonl`.
    :param description: One line for a help page.
    :param source: What one source of this format is: which files, folders or archives.
    :param read: Streams one source; takes its path (or "-") and the field mapping (or None).
    :param accepts: Whether a path looks like this format, by its name or a folder's content; never reads a file.
    :param mapped: Whether a `FieldMapping` applies; formats with fixed fields take none.
    :param stdin: Whether "-" can be read.
    :param rows: Streams something for each item that `read` gives, at less cost; None has them read.
    :param generic: Whether it accepts files that may be of another format by name, as any ``.xml``: it is asked last.
    :param again: Reads a row once more that was none, as it stands in the dead letters (`Malformed.raw`), mended there
        perhaps: gives what a run over the source gives where it is mended in the same way. Takes the row, its position
        and the mapping; raises `RowError` for what is no row of this format. None: the source itself has to be mended.
    :param begins: Whether a file that begins with these bytes, unpacked, is of this format; asked where the name leaves
        it open. None for what has no sure sign.
    """

    name: str
    description: str
    source: str
    read: Callable[[str, FieldMapping | None], Iterator[Item]]
    accepts: Callable[[Path], bool]
    mapped: bool = False
    stdin: bool = False
    rows: Callable[[str, FieldMapping | None], Iterable[object]] | None = None
    generic: bool = False
    begins: Callable[[bytes], bool] | None = None
    again: Callable[[str, str, FieldMapping | None], Iterable[Record | Malformed]] | None = None


FORMATS: dict[str, Reader] = {}


def register(reader: Reader) -> None:
    """Add a format to `FORMATS`.

    :param reader: The format.
    :raises ValueError: If its name is taken.
    """
    if reader.name in FORMATS:
        raise ValueError(f"a corpus format named {reader.name!r} is registered already; choose another name")
    FORMATS[reader.name] = reader


def formats() -> list[Reader]:
    """List the registered formats in the order in which `detect` tries them."""
    return list(FORMATS.values())
