"""Bytes in, numbered lines out: files, gzip, zstd and standard input, with bounded memory."""

import glob
import gzip
import io
import os
import sys
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISREG
from typing import BinaryIO, TypeVar, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from es_ingest.records import Malformed, ReadError

STDIN = "-"
MAX_LINE_BYTES = 64 * 2**20
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
PACKED = (".gz", ".zst")  # suffixes behind a format's own
UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_SKIP_BYTES = 2**20
_BEGINNING_BYTES = 2**16
_Item = TypeVar("_Item")

# What a damaged compressed file raises while it is read; gzip.BadGzipFile is an OSError.
DAMAGED = (EOFError, OSError, zlib.error, zstd.ZstdError)


def expand(sources: Sequence[str]) -> list[str]:
    """Check that every source is there, and expand glob patterns (`**` included) that name no file themselves.

    :param sources: Paths, patterns, or "-" for standard input.
    :returns: Paths in the order given, matches of one pattern sorted.
    :raises ReadError: If a path does not exist, a pattern matches nothing, "-" comes twice, or there is no source.
    """
    if isinstance(sources, (str, os.PathLike)):
        sources = [os.fspath(sources)]
    paths: list[str] = []
    for source in map(os.fspath, sources):
        if source == STDIN or os.path.exists(source):  # noqa: PTH110 - Path.exists raises on names the system refuses
            paths.append(source)
        elif glob.has_magic(source):
            matches = sorted(glob.glob(source, recursive=True))  # noqa: PTH207 - patterns may be absolute
            if not matches:
                raise ReadError(source, "this pattern matches no file")
            paths.extend(matches)
        else:
            raise ReadError(source, "does not exist; check the path")
    if not paths:
        raise ReadError("(nothing)", "no source given; name at least one file or folder")
    if paths.count(STDIN) > 1:
        raise ReadError(STDIN, "standard input can be read once only; name it once")
    return paths


def label(source: str) -> str:
    """Return how a source is named in positions."""
    return "<stdin>" if source == STDIN else source


def _stdin() -> io.BufferedReader:
    """Open standard input once more: Python ends badly while a thread still waits for its own ``sys.stdin``."""
    try:
        return open(sys.stdin.fileno(), "rb", closefd=False)
    except (OSError, ValueError):  # it is no file
        return io.BufferedReader(cast(io.RawIOBase, sys.stdin.buffer))


@contextmanager
def open_bytes(source: str) -> Iterator[BinaryIO]:
    """Open a source for reading as plain bytes; what starts like gzip or zstd is unpacked as it is read.

    :param source: A path, or "-" for standard input, which stays open.
    :raises ReadError: If it cannot be opened, or is named .gz or .zst and is not.
    """
    try:
        raw = _stdin() if source == STDIN else open(source, "rb")  # noqa: PTH123, SIM115
        start = raw.peek(4)[:4]
    except IsADirectoryError:
        raise ReadError(source, "is a folder; name its files, or a pattern such as 'folder/*.jsonl'") from None
    except (OSError, ValueError) as error:
        raise ReadError(label(source), f"cannot be opened: {reason_of(error)}") from error
    try:
        if start.startswith(GZIP_MAGIC):
            with gzip.GzipFile(fileobj=raw, mode="rb") as unpacked:
                yield cast(BinaryIO, unpacked)
        elif start == ZSTD_MAGIC:
            with zstd.ZstdFile(raw, "rb") as frames:
                yield cast(BinaryIO, frames)
        elif not start and source.lower().endswith(PACKED):
            raise ReadError(source, "is empty, not even packed; make it again, or rename it if it has to be empty")
        elif source.lower().endswith(PACKED):
            kind = "gzip" if source.lower().endswith(".gz") else "zstd"
            raise ReadError(
                source, f"is named {source[source.rindex('.') :]} and is not {kind}; rename it or pack it again"
            )
        else:
            yield cast(BinaryIO, raw)
    finally:
        if source == STDIN:
            raw.detach()
        else:
            raw.close()


def beginning(source: str) -> bytes:
    """Return the first bytes of a file, unpacked; as many as can be read, for reading tells what is wrong with it.

    :param source: A path.
    """
    with suppress(ReadError, *DAMAGED), open_bytes(source) as stream:
        return stream.read(_BEGINNING_BYTES)
    return b""


def read_lines(source: str, limit: int | None = None) -> Iterator[tuple[int, bytes] | Malformed]:
    """Stream a text file's physical lines, split at line feeds only.

    A UTF-8 byte order mark is dropped. A line over the limit is skipped and reported; when a gzip file breaks off, the
    lines before are given and the place is reported.

    :param source: A path, or "-" for standard input.
    :param limit: Longest line in bytes; None for `MAX_LINE_BYTES`. No more than this is ever held.
    :returns: Line numbers from 1 with the line and its line end, or what is wrong there.
    :raises ReadError: If the source cannot be opened, its first line cannot be read, or it is UTF-16.
    """
    limit = MAX_LINE_BYTES if limit is None else limit
    number = 0
    with open_bytes(source) as stream:
        while True:
            try:
                line = stream.readline(limit + 1)
                if not line:
                    return
                too_long = len(line) > limit and not line.endswith(b"\n")
                while too_long and line and not line.endswith(b"\n"):
                    line = stream.readline(_SKIP_BYTES)
            except DAMAGED as error:
                if number == 0:
                    raise ReadError(label(source), f"cannot be read: {reason_of(error)}") from error
                position = f"{label(source)}:{number + 1}"
                yield Malformed(position, f"the rest of the file is lost: {reason_of(error)}", gap=True)
                return
            number += 1
            if number == 1:
                if line.startswith(_UTF16_BOMS):
                    raise ReadError(label(source), "is UTF-16; convert it to UTF-8: iconv -f UTF-16 -t UTF-8")
                line = line.removeprefix(UTF8_BOM)
            if too_long:
                yield Malformed(f"{label(source)}:{number}", f"line is longer than the limit of {limit} bytes")
            else:
                yield number, line


def watched(path: str, items: Iterable[_Item]) -> Iterator[_Item | Malformed]:
    """Give what is read from a file, and tell at its end whether the file changed meanwhile.

    Each reader that takes a folder does this for the folder's files; `read` does it for files that are sources.

    :param path: The file; pipes and folders are not looked at.
    :param items: What is read from it; it must not be opened before the first item is asked for.
    :returns: The items, and a malformed row that stands for any number of them if it changed.
    """
    before = _stamp(path)
    yield from items
    if before != _stamp(path):
        yield Malformed(path, "the file changed while it was read; read it again once nobody writes it", gap=True)


def _stamp(path: str) -> tuple[int, int, int] | None:
    """Return what changes with a file; None for what is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return (found.st_ino, found.st_size, found.st_mtime_ns) if S_ISREG(found.st_mode) else None


def reason_of(error: Exception) -> str:
    """Return why reading failed, without the path that the position names already."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
