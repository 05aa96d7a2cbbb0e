"""Files of training pairs: JSON Lines, one pair a line, a file a source."""

import gzip
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

from es_ingest.readers.jsonl import SUFFIXES, json_rows
from es_ingest.readers.streams import expand
from es_ingest.records import Malformed, ReadError
from medte_eval.files import unfinished
from medte_haystack.errors import TrainingOutputError
from medte_haystack.training.pairs import Pair, PairError, pair_of

_OF_PATIENTS = frozenset({"hadm_id", "note_id", "subject_id"})
_CLOSED = 0o600


def read_pairs(sources: Iterable[str | os.PathLike[str]]) -> Iterator[Pair]:
    """Stream the pairs of files, one file after the other.

    :param sources: Files of pairs, plain, ``.gz`` or ``.zst``; folders of them; glob patterns.
    :raises ReadError: At once if a source is missing or a folder holds none; while iterating, if a row is no pair.
        Names file and line.
    """
    paths = pair_paths(sources)
    return (pair for path in paths for pair in _read(path))


def pair_paths(sources: Iterable[str | os.PathLike[str]]) -> list[str]:
    """List the files of pairs, those of a folder by name.

    :raises ReadError: If a source is missing, or a folder holds no such file.
    """
    paths: list[str] = []
    for source in expand([os.fspath(one) for one in sources]):
        if not Path(source).is_dir():
            paths.append(source)
            continue
        found = sorted(str(path) for path in Path(source).iterdir() if path.name.lower().endswith(SUFFIXES))
        if not found:
            raise ReadError(source, "this folder holds no pairs; make some (*.jsonl) with: medte-train pairs")
        paths += found
    return paths


def write_pairs(path: str | os.PathLike[str], pairs: Iterable[Pair], sources: Iterable[str] = ()) -> int:
    """Write pairs so that another file of this name stays until this one is complete and on disk.

    Pairs of patients, as their ids tell, are closed to other users.

    :param path: The file; one that ends in ``.gz`` or ``.zst`` is packed.
    :param pairs: Streamed.
    :param sources: Files that they come from: who may not read one of these may not read it.
    :returns: How many they were.
    :raises TrainingOutputError: If it cannot be written; then nothing is left of it.
    """
    try:
        return _write(Path(path), pairs, sources)
    except OSError as error:
        raise TrainingOutputError(
            f"{path} cannot be written: {error.strerror or error}; free space or name another file", path=str(path)
        ) from error


def _write(path: Path, pairs: Iterable[Pair], sources: Iterable[str]) -> int:
    count = 0
    allowed = 0o777
    for source in filter(os.path.exists, sources):
        allowed &= Path(source).stat().st_mode
    path.parent.mkdir(parents=True, exist_ok=True)
    half = unfinished(path)
    try:
        half.touch()
        allowed &= half.stat().st_mode
        half.chmod(_CLOSED)
        with half.open("wb") as file:
            with _packed(file, path.suffix.lower()) as packed:
                for pair in pairs:
                    count += 1
                    if not _OF_PATIENTS.isdisjoint((*pair.keys, *pair.anchor_keys)):
                        allowed &= _CLOSED
                    packed.write(json.dumps(pair.to_row(), ensure_ascii=False).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        half.chmod(allowed)
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
    return count


def targets_in(paths: Iterable[str], out: Path) -> dict[str, Path]:
    """Return the file of a folder that takes what a command makes of each source file.

    :raises TrainingOutputError: If two files have one name, or one would overwrite what is read.
    """
    targets = {path: out / Path(path).name for path in paths}
    taken = Counter(targets.values())
    for path, target in targets.items():
        if taken[target] > 1:
            raise TrainingOutputError(
                f"two files are called {target.name}; rename one, or name another folder for each",
                path=str(target),
            )
        if target.resolve() == Path(path).resolve():
            raise TrainingOutputError(f"{target} is what is read; name another folder with --out", path=str(target))
    return targets


def _read(path: str) -> Iterator[Pair]:
    for row in json_rows(path):
        if isinstance(row, Malformed):
            raise ReadError(row.position, row.reason)
        position, values = row
        try:
            yield pair_of(values)
        except PairError as error:
            raise ReadError(position, str(error)) from None


@contextmanager
def _packed(file: IO[bytes], suffix: str) -> Iterator[IO[bytes]]:
    if suffix == ".gz":
        with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:  # same pairs, same bytes
            yield cast(IO[bytes], packed)
    elif suffix == ".zst":
        with zstd.ZstdFile(file, "wb") as frames:
            yield cast(IO[bytes], frames)
    else:
        yield file
