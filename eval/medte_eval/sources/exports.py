"""Local exports: the files of one, their rows, those that answer one query, and a hash of what is in them."""

import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

from es_ingest.readers.folder import walk
from es_ingest.readers.jsonl import json_rows
from es_ingest.readers.streams import DAMAGED, PACKED, open_bytes, reason_of
from es_ingest.readers.values import RowError, parse_json
from es_ingest.records import Malformed
from medte_eval.sources.errors import SourceError, named
from medte_eval.sources.shapes import XmlError

T = TypeVar("T")
JSON = (".jsonl", ".ndjson", ".json")
PARQUET = (".parquet",)
XML = (".xml", ".nxml")
_BATCH_ROWS = 512
_MISSING = "does not exist; check the path of the export"


def files(source: str, export: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List an export's files: itself, or those of a folder at any depth, by name.

    :param source: Its name in messages.
    :param suffixes: Those of its files, each also with .gz or .zst behind it.
    :raises SourceError: If it is missing, another file, or holds none of these.
    """
    if export.is_file():
        if not _unpacked(export.name.lower()).endswith(suffixes):
            raise SourceError(source, str(export), f"is no export of this source; its files end in {_listed(suffixes)}")
        return [export]
    if not export.is_dir():
        raise SourceError(source, str(export), _MISSING)
    found = [Path(item) for item in walk(str(export), suffixes) if isinstance(item, str)]
    if not found:
        raise SourceError(source, str(export), f"holds no file that ends in {_listed(suffixes)}")
    return found


def files_of_query(source: str, export: Path, query: str, suffixes: tuple[str, ...]) -> list[Path]:
    """List the files that answer one query: `CT scan.xml` or a folder `CT scan` in the export, whatever the case.

    :raises SourceError: If there are none, or the export is no folder.
    """
    if not export.is_dir():
        raise SourceError(source, str(export), f"is no folder; an export has a file or folder for each query: {query}")
    for place in sorted(export.iterdir()):
        if _plain(place.name) == _plain(query) or (place.is_file() and _plain(_stem(place.name)) == _plain(query)):
            return files(source, place, suffixes)
    raise SourceError(source, str(export), f"holds nothing for the query {query!r}; put it into {query}{suffixes[0]}")


def content_hash(source: str, export: Path, names: Collection[str] = ()) -> str:
    """Return a hash of an export's files and their names, wherever it lies and whenever it was copied there.

    :param source: Its name in messages.
    :param names: Count only files of these names, plain or packed; without any, all but hidden ones.
    :raises SourceError: If it is missing, or a file cannot be read.
    """
    if not export.exists():
        raise SourceError(source, str(export), _MISSING)
    base = export if export.is_dir() else export.parent
    paths = export.rglob("*") if export.is_dir() else [export]
    digest = hashlib.sha256()
    for name, path in sorted((path.relative_to(base).as_posix(), path) for path in paths if path.is_file()):
        wanted = _unpacked(path.name.lower()) in names if names else not re.search(r"(^|/)\.", name)
        if not wanted:
            continue
        try:
            with path.open("rb") as stream:
                digest.update(f"{name}\0{hashlib.file_digest(stream, 'sha256').hexdigest()}\n".encode())
        except OSError as error:
            raise SourceError(source, str(path), f"cannot be read: {error.strerror or error}") from None
    return digest.hexdigest()


def rows(source: str, path: Path, holder: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Stream the objects of a JSON, JSON Lines or Parquet file with their places.

    :param source: Its name in messages.
    :param holder: Field of an API's page that holds its objects; a page gives what is in it.
    :raises SourceError: If the file cannot be read, or a row is no object. Names the line.
    """
    name = _unpacked(path.name.lower())
    read = _parquet_rows if name.endswith(PARQUET) else _json_file if name.endswith(".json") else _json_lines
    with named(source):
        for place, value in read(source, path):
            held = value.get(holder) if isinstance(value, dict) and holder else value
            if not isinstance(held, list):
                yield place, _object(source, place, value)
                continue
            for number, one in enumerate(held, start=1):
                yield f"{place}#{number}", _object(source, f"{place}#{number}", one)


def read_xml(source: str, paths: Iterable[Path], read: Callable[[IO[bytes]], Iterator[T]]) -> Iterator[T]:
    """Stream what is read of XML files, plain or packed.

    :param source: Its name in messages.
    :param read: Reads one; may raise `XmlError`.
    :raises SourceError: If one cannot be read. Names the file and the place in it.
    """
    for path in paths:
        try:
            with named(source), open_bytes(str(path)) as stream:
                yield from read(stream)
        except XmlError as error:
            raise SourceError(source, str(path), str(error)) from None


def _object(source: str, place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SourceError(source, place, "is no JSON object")
    return value


def _json_lines(source: str, path: Path) -> Iterator[tuple[str, Any]]:
    for row in json_rows(str(path)):
        if isinstance(row, Malformed):
            raise SourceError(source, row.position, row.reason)
        yield row


def _json_file(source: str, path: Path) -> Iterator[tuple[str, Any]]:
    try:
        with open_bytes(str(path)) as stream:
            yield str(path), parse_json(stream.read())
    except RowError as error:
        raise SourceError(source, str(path), f"{error}; JSON Lines end in .jsonl") from None
    except DAMAGED as error:
        raise SourceError(source, str(path), f"cannot be read: {reason_of(error)}") from None


def _parquet_rows(source: str, path: Path) -> Iterator[tuple[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}:{number}", row
    except (ArrowException, OSError):  # its message may quote content
        where = f"damaged behind row {number}" if number else "no Parquet file, or cut short"
        raise SourceError(source, str(path), where) from None


def _listed(suffixes: tuple[str, ...]) -> str:
    return f"{', '.join(suffixes)}, plain or {' or '.join(PACKED)}"


def _unpacked(name: str) -> str:
    return next((name.removesuffix(packed) for packed in PACKED if name.endswith(packed)), name)


def _stem(name: str) -> str:
    return Path(_unpacked(name)).stem


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "-", name.casefold())
