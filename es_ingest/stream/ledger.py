"""The ledger: which records of which sources the server has acknowledged, so that a run goes on where one stopped.

One SQLite file an index. A record stands in it once the server has acknowledged all of its chunks, with the hash of its
content; what was sent and not acknowledged is noted beforehand, since some of it may have arrived. A process that is
killed at any moment leaves a ledger that is true; a machine that loses power may lose its last second, which is then
written again.
"""

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from es_ingest.records import Record
from es_ingest.stream.locking import LedgerError, alone

_FORMAT = 1
_HASH_BYTES = 16
_PAGE = 10_000  # rows held at a time
_ROWS = 1000  # entered by one statement
_ANY = ("utf-8", "surrogatepass")  # Elasticsearch refuses a lone surrogate; that is the record's trouble, not the run's

_TABLES = """
create table about (name text primary key, value text not null) without rowid;
create table job (number integer primary key, name text not null unique, mapping text not null);
create table record (
    number integer primary key,
    id text not null unique,
    hash blob not null,
    chunks integer not null,
    job integer not null,
    run integer not null,
    position text not null
);
create table flight (number integer primary key autoincrement, run integer not null, records text not null);
"""
_LANDED = """
insert into record (id, hash, chunks, job, run, position) values ?
on conflict (id) do update set hash = excluded.hash, chunks = excluded.chunks, job = excluded.job, run = excluded.run,
    position = excluded.position
"""
_NAMES = ("about", "job", "record", "flight")


@dataclass(frozen=True, slots=True)
class Target:
    """What a ledger is about; another index of the same name, elsewhere or later, is another target.

    :param index: Name of the index.
    :param uuid: The index's uuid.
    """

    index: str
    uuid: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of a record.

    :param number: Its number in the ledger.
    :param hash: Hash of the content that was acknowledged.
    :param chunks: How many chunks of it were.
    :param repeated: Whether this run has seen a record of this id before.
    """

    number: int
    hash: bytes
    chunks: int
    repeated: bool


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A record all of whose chunks the server has acknowledged."""

    id: str
    hash: bytes
    chunks: int
    position: str


def content_hash(record: Record) -> bytes:
    """Return 16 bytes that change when anything of a record changes that is stored or embedded."""
    meta = as_json(record.meta, orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS).encode()
    title, text = record.title.encode(*_ANY), record.text.encode(*_ANY)
    vector = b"" if record.vector is None else record.vector.tobytes()
    hashed = hashlib.sha256(b"%d %d %d " % (len(title), len(text), len(meta)))  # where one ends and the next begins
    hashed.update(b"".join((title, text, meta, vector)))
    return hashed.digest()[:_HASH_BYTES]


def ledger_folder() -> Path:
    """Return where ledgers and dead letters are kept: ``ES_INGEST_STATE``, or the user's state folder."""
    if chosen := os.environ.get("ES_INGEST_STATE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "es-ingest"


def ledger_path(target: Target) -> Path:
    """Return where the ledger of an index is kept, unless the user names a file."""
    return ledger_folder() / f"{target.index}-{target.uuid}.sqlite"


class Ledger:
    """An open ledger, a context manager. Threads may share it; another process may not open it meanwhile.

    :param path: Its file; made when it is missing, readable by this user alone. None keeps it in memory.
    :param target: The index. A ledger of an index of this name that has been deleted since starts over.
    :param job: What is read, e.g. the sources and their format.
    :param mapping: How records are made of it; a job whose mapping has changed is refused.
    :raises LedgerError: If it is locked, damaged, of another index, or the job's mapping has changed.
    """

    def __init__(self, path: Path | None, target: Target, job: str, mapping: Mapping[str, Any]) -> None:
        self.path = path
        self.new = False
        """Whether it has not been told yet, by :meth:`adopted`, what the index held before it."""
        self._lock = threading.RLock()
        with ExitStack() as stack:
            if path is not None:
                stack.enter_context(self._locked(path))
            with self._told():
                self._base = self._open(target)
                self._job = self._enter(job, mapping)
                self._run = self._next_run()
            self._lock_on_file = stack.pop_all()
        self._seen = bytearray()  # a bit for each record that was there before this run

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.close()
        self._lock_on_file.close()

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """Return what is known of records, by id, and mark them as seen in this run."""
        with self._told():
            rows = self._base.execute(
                "select record.id, number, hash, chunks, run from json_each(?) join record on record.id = value",
                (as_json(ids),),
            ).fetchall()
        return {
            name: Known(number, digest, chunks, self._mark(number) or run == self._run)
            for name, number, digest, chunks, run in rows
        }

    def sending(self, records: Iterable[tuple[str, int]]) -> int:
        """Note that chunks of records are about to be sent; return the note's number.

        :param records: Ids, and how many chunks each may have on the server if this arrives.
        """
        with self._told(), self._base:
            noted = (self._run, as_json(list(records)))
            return int(self._base.execute("insert into flight (run, records) values (?, ?)", noted).lastrowid or 0)

    def adopt(self, found: Iterable[tuple[str, int]]) -> None:
        """Enter records that are in the index and of whose content nothing is known.

        :param found: Ids, and how many chunks are there at least.
        """
        with self._told(), self._base:
            self._base.executemany(
                "insert into record (id, hash, chunks, job, run, position) values (?, x'', ?, 0, 0, '')"
                " on conflict (id) do update set chunks = max(chunks, excluded.chunks)",
                found,
            )

    def adopted(self) -> None:
        """Note that all that the index held before has been entered."""
        with self._told(), self._base:
            self._base.execute("insert or replace into about values ('adopted', '1')")
        self.new = False

    def landed(self, notes: Iterable[int], records: Sequence[Acknowledged]) -> None:
        """Enter acknowledged records, and drop the notes all of whose records are settled."""
        with self._told(), self._base:
            for first in range(0, len(records), _ROWS):
                some = records[first : first + _ROWS]
                rows = [(one.id, one.hash, one.chunks, self._job, self._run, one.position) for one in some]
                places = ",".join(["(?, ?, ?, ?, ?, ?)"] * len(rows))  # one statement: each lets other threads run
                self._base.execute(_LANDED.replace("?", places), [value for row in rows for value in row])
            self._base.executemany("delete from flight where number = ?", [(number,) for number in notes])

    def unsettled(self) -> dict[str, int]:
        """Return records of earlier runs whose chunks may be on the server in part, and how many at most."""
        with self._told():
            rows = self._base.execute("select records from flight where run < ?", (self._run,)).fetchall()
        found: dict[str, int] = {}
        for (records,) in rows:
            for id, chunks in json.loads(records):  # noqa: A001
                found[id] = max(chunks, found.get(id, 0))
        return found

    def settled(self) -> None:
        """Drop the notes of earlier runs: their records have been written, or removed."""
        with self._told(), self._base:
            self._base.execute("delete from flight where run < ?", (self._run,))

    def missing(self) -> Iterator[tuple[str, int]]:
        """Yield id and chunks of this job's records that were not seen in this run."""
        last = 0
        while True:
            with self._told():
                rows = self._base.execute(
                    "select number, id, chunks from record where number > ? and job = ? and run < ?"
                    " order by number limit ?",
                    (last, self._job, self._run, _PAGE),
                ).fetchall()
            if not rows:
                return
            for last, id, chunks in rows:  # noqa: A001
                if not self._is_marked(last):
                    yield id, chunks

    def removed(self, ids: Sequence[str]) -> None:
        """Forget records that the server has removed."""
        with self._told(), self._base:
            self._base.executemany("delete from record where id = ?", [(id,) for id in ids])  # noqa: A001

    def records(self) -> Iterator[tuple[str, int, str]]:
        """Yield id, chunks and position of every acknowledged record, by id."""
        last = ""
        while True:
            with self._told():
                rows = self._base.execute(
                    "select id, chunks, position from record where id > ? order by id limit ?", (last, _PAGE)
                ).fetchall()
            if not rows:
                return
            yield from rows
            last = rows[-1][0]

    def totals(self) -> tuple[int, int]:
        """Return how many records and chunks were acknowledged, of all jobs."""
        with self._told():
            records, chunks = self._base.execute("select count(*), coalesce(sum(chunks), 0) from record").fetchone()
        return records, chunks

    @contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        if path.is_dir():
            raise self._error("is a folder; name a file with --ledger")
        with alone(path, f"the ledger {path}", "name another file with --ledger"):
            try:
                path.touch(mode=0o600)
            except OSError as error:
                raise self._error(f"cannot be opened ({error}); name another file with --ledger") from error
            yield

    def _open(self, target: Target) -> sqlite3.Connection:
        base = sqlite3.connect(self.path or ":memory:", check_same_thread=False, isolation_level="IMMEDIATE")
        try:
            tables = {name for (name,) in base.execute("select name from sqlite_master where type = 'table'")}
            if tables and not tables.issuperset(_NAMES):
                raise self._error("is a database of something else; name another file with --ledger")
            base.execute("pragma journal_mode = wal")
            base.execute("pragma synchronous = normal")
            if not tables:
                self._begin(base, target)
            self._check(base, target)
        except BaseException:
            base.close()
            raise
        return base

    def _check(self, base: sqlite3.Connection, target: Target) -> None:
        about = dict(base.execute("select name, value from about"))
        if about["format"] != str(_FORMAT):
            raise self._error(f"has format {about['format']}, not {_FORMAT}; use the version that made it, or --fresh")
        if about["index"] != target.index:
            raise self._error(f"is about index {about['index']!r}, not {target.index!r}; name another with --ledger")
        if about["uuid"] != target.uuid:
            self._begin(base, target)
            about = {}
        self.new = "adopted" not in about

    def _begin(self, base: sqlite3.Connection, target: Target) -> None:
        with base:
            base.execute("begin immediate")  # of itself it would begin with the first row, not with the tables
            for table in _NAMES:
                base.execute(f"drop table if exists {table}")
            for statement in filter(str.strip, _TABLES.split(";")):
                base.execute(statement)
            about = {"format": _FORMAT, "index": target.index, "uuid": target.uuid, "runs": 0}
            base.executemany("insert into about values (?, ?)", [(name, str(v)) for name, v in about.items()])

    def _enter(self, job: str, mapping: Mapping[str, Any]) -> int:
        with self._base:
            self._base.execute("insert or ignore into job (name, mapping) values (?, ?)", (job, _sorted(mapping)))
            number, stored = self._base.execute("select number, mapping from job where name = ?", (job,)).fetchone()
            before: dict[str, Any] = json.loads(stored)
            if mapping == before:
                return int(number)
            if not self._base.execute("select 1 from record where job = ? limit 1", (number,)).fetchone():
                self._base.execute("update job set mapping = ? where number = ?", (_sorted(mapping), number))
                return int(number)  # nothing came of the former
        for name in sorted(before.keys() | mapping.keys()):
            if before.get(name) != mapping.get(name):
                raise self._error(
                    f"was made with {name} {before.get(name)!r}, not {mapping.get(name)!r}; take the former, or begin"
                    " again with --fresh, which deletes the index"
                )
        raise AssertionError("two mappings that differ have a name in which they do")

    def _next_run(self) -> int:
        with self._base:
            self._base.execute("update about set value = value + 1 where name = 'runs'")
            return int(self._base.execute("select value from about where name = 'runs'").fetchone()[0])

    def _mark(self, number: int) -> bool:
        """Mark a record as seen; tell whether it was already."""
        place, bit = number >> 3, 1 << (number & 7)
        if place >= len(self._seen):
            self._seen.extend(bytes(place - len(self._seen) + 4096))
        before = bool(self._seen[place] & bit)
        self._seen[place] |= bit
        return before

    def _is_marked(self, number: int) -> bool:
        place = number >> 3
        return place < len(self._seen) and bool(self._seen[place] & 1 << (number & 7))

    @contextmanager
    def _told(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except sqlite3.Error as error:
                raise self._error(
                    f"cannot be read or written ({error}); see to the disk, then run the same command again: what the"
                    " server acknowledged meanwhile is written once more"
                ) from error

    def _error(self, what: str) -> LedgerError:
        return LedgerError(f"the ledger {self.path or 'in memory'} {what}", str(self.path))


def as_json(value: object, option: int | None = None) -> str:
    """Return a value as JSON, also what orjson refuses.

    :param option: Of orjson.
    """
    try:
        return orjson.dumps(value, default=str, option=option).decode()
    except TypeError:  # a lone surrogate, or an integer of more than 64 bits
        return json.dumps(value, default=str, sort_keys=True)


def _sorted(mapping: Mapping[str, Any]) -> str:
    return json.dumps(dict(mapping), sort_keys=True)
