"""Plain text and Markdown files, plain or packed: one record per file, from a folder or named one by one.

Record ids are paths within the folder, with slashes: `cardiology/2180/echo.txt`; a file that is named itself has its
name for id. The title is a Markdown file's first heading `# ...`, else the file's name without suffixes.

A folder's files are read at any depth, each folder's own files first, by name. Files and folders whose names start with
a dot are left out. Links to files are followed and links to folders are not, so that no loop can be walked.
"""

import codecs
import io
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import DAMAGED, MAX_LINE_BYTES, PACKED, UTF8_BOM, open_bytes, reason_of, watched
from es_ingest.readers.values import scrub
from es_ingest.records import Malformed, ReadError, Record

logger = logging.getLogger(__name__)

MARKDOWN = (".md",)
SUFFIXES = (".txt", *MARKDOWN)
# A folder that holds one of these is a data set of another format, and its text files are about it.
_OTHER_FORMATS = (".xml", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_PIECE_BYTES = 2**16


@dataclass(slots=True)
class LeftOut:
    """Files of a folder that its reader does not read; hidden ones do not count."""

    number: int = 0
    first: str = ""

    def add(self, path: str) -> None:
        """Count a file."""
        self.number += 1
        self.first = self.first or path

    def log(self, folder: str, wanted: str) -> None:
        """Tell how many there were.

        :param wanted: What the reader reads.
        """
        if self.number:
            first = os.path.relpath(self.first, folder)
            logger.info("%s: left out %d files that are no %s, such as %s", folder, self.number, wanted, scrub(first))


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Stream the text files of one folder, or one text file.

    :param source: A folder (its .txt and .md files at any depth, plain or packed) or one file of any name.
    :param fields: Not used; a file is its text.
    :raises ReadError: If the folder holds no text file, or the file cannot be opened.
    """
    path = Path(source)
    if not path.is_dir():
        yield _record(source, path.name)
        return
    files, left_out = 0, LeftOut()
    for item in walk(source, SUFFIXES, left_out):
        files += 1
        if isinstance(item, Malformed):
            yield item
            continue
        try:
            name = Path(item).relative_to(path).as_posix()
            yield from watched(item, map(_record, [item], [name]))  # which reads nothing yet
        except ReadError as error:
            yield Malformed(scrub(item), error.reason)
    left_out.log(source, ".txt or .md files")
    if not files:
        raise ReadError(source, "holds no .txt or .md file; name a folder of text files, or the files themselves")


def walk(folder: str, suffixes: tuple[str, ...], left_out: LeftOut | None = None) -> Iterator[str | Malformed]:
    """List a folder's files at any depth, by name, without hidden ones.

    :param folder: The folder.
    :param suffixes: Suffixes of the files to give, in lower case; each also with .gz or .zst behind it.
    :param left_out: Counts the others.
    :returns: Paths, and the folders that cannot be listed.
    """
    unlisted: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=unlisted.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = os.path.join(place, name)  # noqa: PTH118
            if _named(name, suffixes) and file_or_gone(path):
                yield path
            elif left_out and not name.startswith("."):
                left_out.add(path)
    yield from map(_unlisted, unlisted)


def all_files(folder: Path) -> tuple[list[Path], list[Malformed]]:
    """List all that stands in a folder at any depth but folders, sorted, hidden files too.

    :returns: Paths, and the folders that cannot be listed.
    """
    unlisted: list[OSError] = []
    walked = os.walk(folder, onerror=unlisted.append)  # Path.rglob passes over what cannot be listed
    return sorted(Path(place, name) for place, _, names in walked for name in names), list(map(_unlisted, unlisted))


def _unlisted(error: OSError) -> Malformed:
    return Malformed(scrub(str(error.filename)), f"cannot be listed: {reason_of(error)}", gap=True)


def file_or_gone(path: str | Path) -> bool:
    """Tell whether what a folder's list names is a file, or no longer there, so that its loss shows when it is opened.

    A pipe is neither: it would wait for its writer.
    """
    # Not by pathlib, which raises for files in a folder that may be listed and not entered.
    return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113


def _named(name: str, suffixes: tuple[str, ...]) -> bool:
    return not name.startswith(".") and _unpacked(name.lower()).endswith(suffixes)


def _unpacked(name: str) -> str:
    """Return a file's name without the suffix of its packing."""
    return name[: name.rindex(".")] if name.lower().endswith(PACKED) else name


def _record(file: str, name: str) -> Record | Malformed:
    """Read one file.

    :param file: The file.
    :param name: Its path within the source, with slashes.
    :raises ReadError: If it cannot be opened.
    """
    position, name = scrub(file), scrub(name)
    try:
        with open_bytes(file) as stream:
            data = _read_at_most(stream, MAX_LINE_BYTES + 1)
    except DAMAGED as error:
        return Malformed(position, f"cannot be read: {reason_of(error)}")
    if len(data) > MAX_LINE_BYTES:
        return Malformed(position, f"larger than the limit of {MAX_LINE_BYTES} bytes")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Malformed(position, "is UTF-16; convert it to UTF-8: iconv -f UTF-16 -t UTF-8")
    try:
        text = data.removeprefix(UTF8_BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        offset = error.start + len(UTF8_BOM) * data.startswith(UTF8_BOM)
        return Malformed(position, f"not UTF-8 at byte {offset + 1} of the file")
    if "\0" in text:
        return Malformed(position, "holds a NUL character; is the file UTF-16 or binary?")
    if not text.strip():
        return Malformed(position, "empty text")
    path = PurePosixPath(name)
    plain = PurePosixPath(_unpacked(path.name))
    title = _heading(text) if plain.suffix.lower() in MARKDOWN else ""
    folder = {} if path.parent == PurePosixPath() else {"folder": str(path.parent)}
    return Record(name, title or plain.stem, text, {"path": name, **folder}, position)


def _read_at_most(stream: BinaryIO, size: int) -> bytes:
    """Read in pieces, because a file's `read` sets aside as much memory as it is asked for."""
    data = bytearray()
    while len(data) < size and (piece := stream.read(min(_PIECE_BYTES, size - len(data)))):
        data += piece
    return bytes(data)


def _heading(text: str) -> str:
    """Return a Markdown text's first heading of the first level; "" without one."""
    fence = ""  # in a code block, a line that starts with # is a comment
    for line in io.StringIO(text):
        content = line.strip()
        if content.startswith(("```", "~~~")):
            fence = "" if content[:3] == fence else fence or content[:3]
        elif not fence and line[:4].strip() and content.startswith(("# ", "#\t")) and content.strip("# \t"):
            heading = content[1:].strip()
            words, _, last = heading.rpartition(" ")
            return heading if last.strip("#") else words.rstrip()  # "# Title #" closes with what it opens with
    return ""


def _accepts(path: Path) -> bool:
    if not path.is_dir():
        return _named(path.name, SUFFIXES)
    return _holds(path, SUFFIXES) and not _holds(path, _OTHER_FORMATS)


def _holds(folder: Path, suffixes: tuple[str, ...]) -> bool:
    return any(isinstance(item, str) for item in walk(str(folder), suffixes))


READER = Reader(
    name="text",
    description="Plain text and Markdown files: one record per file",
    source="a folder of .txt and .md files, or one such file, plain, .gz or .zst",
    read=read,
    accepts=_accepts,
    generic=True,
)
