"""Files inside tar and zip archives, read in place: nothing is unpacked to disk, and one member is held at a time."""

import gzip
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO, Any, cast

from es_ingest.readers.streams import DAMAGED, GZIP_MAGIC, reason_of
from es_ingest.records import Malformed, ReadError

# The archive packages are imported where they are used: every command would pay for them.
_ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


@dataclass(frozen=True, slots=True)
class Member:
    """One file: `position` for messages, `stem` its name without folder and suffix, `data` its bytes."""

    position: str
    stem: str
    data: bytes


def members(source: str, suffix: str, limit: int) -> Iterator[Member | Malformed]:
    """Stream the files of one suffix from an archive, in the archive's order.

    The kind of archive is told by its first bytes: tar (plain, gzip, xz, bzip2) or zip.

    :param source: The archive.
    :param suffix: Lower-case suffix of the files to give, e.g. `.xml`.
    :param limit: Largest file in bytes; a larger one is reported and not read.
    :returns: Files, and what is wrong with those that cannot be read.
    :raises ReadError: If the archive cannot be opened or nothing of it can be read.
    """
    try:
        with open(source, "rb") as stream:  # noqa: PTH123 - as given, for the message
            start = stream.read(6)
    except OSError as error:
        raise ReadError(source, f"cannot be opened: {reason_of(error)}") from error
    wanted = _zip_members if start.startswith(_ZIP_MAGIC) else _tar_members
    yield from wanted(source, start, suffix, limit)


def _wanted(name: str, suffix: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() == suffix and not path.name.startswith("._")  # macOS companions are none


def _tar_members(source: str, start: bytes, suffix: str, limit: int) -> Iterator[Member | Malformed]:
    import bz2
    import lzma
    import tarfile

    openers: dict[bytes, Any] = {GZIP_MAGIC: gzip.open, b"\xfd7zXZ\x00": lzma.open, b"BZh": bz2.open}
    unpack = next((opener for magic, opener in openers.items() if start.startswith(magic)), open)
    seen = 0
    with ExitStack() as stack:
        try:
            # Unpacked here and not by tarfile, which takes a gzip file that breaks off for the archive's end.
            stream = stack.enter_context(unpack(source, "rb"))
            tar = stack.enter_context(tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|"))
            for entry in tar:
                seen += 1
                tar.members = []  # type: ignore[attr-defined]  # tarfile keeps every header it has read
                if entry.isfile() and _wanted(entry.name, suffix):
                    position = f"{source}!{entry.name}"
                    if entry.size > limit:
                        yield Malformed(position, f"larger than the limit of {limit} bytes")
                        continue
                    data = cast(IO[bytes], tar.extractfile(entry)).read()
                    yield Member(position, PurePosixPath(entry.name).stem, data)
        except (*DAMAGED, tarfile.TarError, lzma.LZMAError) as error:
            if not seen:
                raise ReadError(source, f"not a tar or zip archive, or damaged: {reason_of(error)}") from error
            reason = f"the rest of the archive is lost after {seen} members: {reason_of(error)}"
            yield Malformed(source, reason, gap=True)


def _zip_members(source: str, start: bytes, suffix: str, limit: int) -> Iterator[Member | Malformed]:  # noqa: ARG001
    import lzma
    import zipfile

    encrypted_or_unknown = (RuntimeError, NotImplementedError)
    damaged = (*DAMAGED, zipfile.BadZipFile, lzma.LZMAError, *encrypted_or_unknown)
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError, zlib.error) as error:
        raise ReadError(source, f"not a zip archive, or damaged: {reason_of(error)}") from error
    with archive:
        for entry in archive.infolist():
            if entry.is_dir() or not _wanted(entry.filename, suffix):
                continue
            position = f"{source}!{entry.filename}"
            try:
                with archive.open(entry) as stream:
                    data = stream.read(limit + 1)
            except damaged as error:
                yield Malformed(position, f"cannot be unpacked: {reason_of(error)}")
                continue
            if len(data) > limit:
                yield Malformed(position, f"larger than the limit of {limit} bytes")
            else:
                yield Member(position, PurePosixPath(entry.filename).stem, data)
