"""Dead letters: what did not get into the index, with the reason, so that it can be mended and sent again."""

import base64
import datetime
import json
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from es_ingest.records import Malformed, ReadError, Record
from es_ingest.stream.content import as_json
from es_ingest.stream.target import ledger_folder


class DeadLetterError(Exception):
    """Dead letters cannot be kept, or are more than allowed; the run ends, and what is not written is read again.

    :param message: What is wrong and how to mend it.
    """


def dead_letter_path(index: str) -> Path:
    """Return where the dead letters of a run into an index are kept unless the user names a file: one file a run."""
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%S")
    return ledger_folder() / f"{index}-{now}-{os.getpid()}.dead.jsonl"


class DeadLetters:
    """A JSONL file, made with the first dead letter, that this user alone can read: it holds document text.

    :param path: The file. One that exists is added to. None only counts them.
    :param most: How many there may be.
    :param job: What was read, as the ledger calls it.
    :param mapping: How records were made of it.
    :param before: How many there were already, of those that there may be.
    :param run: When the run began, as its ledger says.
    :ivar count: How many there are, without these.
    """

    def __init__(
        self,
        path: Path | None,
        most: int | None = None,
        job: str = "",
        mapping: Mapping[str, Any] | None = None,
        *,
        before: int = 0,
        run: str | None = None,
    ) -> None:
        self.path = path
        self.job = job
        self.mapping = dict(mapping or {})
        self.most = most
        self.count = 0
        self._before = before
        self._run = run
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()  # the thread that reads and those that write find them

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def put(self, item: Record | Malformed, reason: str) -> None:
        """Keep a record that was refused, or a source row that is none.

        :raises DeadLetterError: If the file cannot be written, or there are more than allowed.
        """
        letter: dict[str, Any] = {"job": self.job, "position": item.position, "reason": reason}
        if self._run:
            letter["run"] = self._run
        if self.mapping:
            letter["mapping"] = self.mapping
        record = item if isinstance(item, Record) else item.record
        if record is not None:
            letter["record"] = _plain(record)
        elif isinstance(item, Malformed) and item.raw is not None:
            letter["raw"] = item.raw
        with self._lock:
            self._put(letter)

    def _put(self, letter: dict[str, Any]) -> None:
        if self.path is not None:
            self._keep(self.path, letter)
        self.count += 1
        if self.most is not None and self._before + self.count > self.most:
            where = "" if self.path is None else f"; they are in {self.path}"
            raise DeadLetterError(
                f"more than {self.most} dead letters (--max-dead){where}, the last one from {letter['position']}:"
                f" {letter['reason']}"
            )

    def _keep(self, path: Path, letter: dict[str, Any]) -> None:
        try:
            if self._file is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                os.fchmod(descriptor, 0o600)  # also where it was there before
                self._file = open(descriptor, "wb", buffering=0)  # noqa: PTH123, SIM115
            _append(self._file, as_json(letter).encode() + b"\n")
        except OSError as error:
            raise DeadLetterError(
                f"dead letters cannot be kept in {path} ({error}); make room, or name another file with --dead,"
                " and run the same command again"
            ) from error


def _append(file: IO[bytes], line: bytes) -> None:
    """Write a whole line or nothing of it, also on a disk that becomes full."""
    size = os.fstat(file.fileno()).st_size
    try:
        while line:
            line = line[file.write(line) :]
    except OSError:
        os.ftruncate(file.fileno(), size)
        raise


def read_letters(path: Path) -> Iterator[Record | Malformed]:
    """Read the records of a file of dead letters, and the rows that were none.

    :raises ReadError: If it is no such file.
    """
    return (item for _, item in letters_of(path))


def letters_of(path: Path, job: str | None = None) -> Iterator[tuple[str, Record | Malformed]]:
    """Do the same, each with the time at which its run began, "" where the letter does not say so.

    :param job: What was read; None takes all.
    :raises ReadError: If it is no such file.
    """
    for here, letter in _letters(path):
        if job in (None, _job(letter)):
            yield str(letter.get("run") or ""), _item(here, letter)


def jobs_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return what was read by the runs that a file of dead letters comes from, and how records were made of it.

    :raises ReadError: If it is no such file.
    """
    return {_job(letter): letter.get("mapping") or {} for _, letter in _letters(path)}


def _job(letter: Mapping[str, Any]) -> str:
    return str(letter.get("job") or "")


def _letters(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                here = f"{path}:{number}"
                if not line.strip():
                    continue
                try:
                    letter = json.loads(line)
                    letter["position"], letter["reason"]
                    if not isinstance(letter.get("mapping") or {}, dict):
                        raise TypeError("its mapping is not an object")
                except (ValueError, KeyError, TypeError) as error:
                    raise ReadError(here, f"is no dead letter ({type(error).__name__}: {error})") from error
                yield here, letter
    except OSError as error:
        raise ReadError(str(path), f"cannot be read: {error.strerror or error}") from error


def _item(here: str, letter: dict[str, Any]) -> Record | Malformed:
    try:
        position = str(letter["position"])
        stored = letter.get("record")
        if stored is None:
            raw = letter.get("raw")  # who mends a row may write it as JSON of its own, not as text
            return Malformed(
                position, str(letter["reason"]), raw if raw is None or isinstance(raw, str) else as_json(raw)
            )
        vector = stored.get("vector")
        return Record(
            str(stored["id"]),
            str(stored["title"]),
            str(stored["text"]),
            dict(stored["meta"]),
            position,
            None if vector is None else _vector(vector),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReadError(here, f"is no dead letter ({type(error).__name__}: {error})") from error


def _vector(stored: str | list[float]) -> NDArray[np.float32]:
    """Return a vector as it is kept, or as a list, which who mends it may write."""
    return np.array(stored, "<f4") if isinstance(stored, list) else np.frombuffer(base64.b64decode(stored), "<f4")


def _plain(record: Record) -> dict[str, Any]:
    plain: dict[str, Any] = {"id": record.id, "title": record.title, "text": record.text, "meta": record.meta}
    if record.vector is not None:
        plain["vector"] = base64.b64encode(record.vector.astype("<f4").tobytes()).decode("ascii")
    return plain
