"""The file of a ledger: its tables, and how it is locked, opened, checked and begun anew."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from es_ingest.stream.locking import LedgerError, alone
from es_ingest.stream.target import Target

_FORMAT = 2

_ALSO = """
create table also (record integer not null, job integer not null, primary key (record, job)) without rowid;
"""  # jobs that have a record, beside the one that stands in it
_TABLES = f"""
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
{_ALSO}
"""
_OF_FORMAT_1 = ("about", "job", "record", "flight")
_NAMES = (*_OF_FORMAT_1, "also")
ABOUT = "select name, value from about where name in ('format', 'index', 'uuid')"


def fault(path: Path | None, what: str) -> LedgerError:
    """Return the error that something is wrong with a ledger."""
    return LedgerError(f"the ledger {path or 'in memory'} {what}", str(path))


def began(run: int) -> str:
    """Return the name under which a ledger keeps when a run began."""
    return f"run {run}"


def gone(record: str) -> str:
    """Return the name under which a ledger keeps when the last run began whose sources say that a record is no more."""
    return f"deleted {record}"


@contextmanager
def told(path: Path | None) -> Iterator[None]:
    """Turn SQLite's errors into a :class:`LedgerError` for the time of a ``with`` block."""
    try:
        yield
    except sqlite3.Error as error:
        raise fault(
            path,
            f"cannot be read or written ({error}); see to the disk, then run the same command again: what the server"
            " acknowledged meanwhile is written once more",
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes off a ledger for the time of a ``with`` block; its file is made when it is missing.

    :raises LedgerError: If another process holds it, or there can be no such file.
    """
    if path.is_dir():
        raise fault(path, "is a folder; name a file with --ledger")
    with alone(path, f"the ledger {path}", "name another file with --ledger"):
        try:
            path.touch(mode=0o600)
        except OSError as error:
            raise fault(path, f"cannot be opened ({error}); name another file with --ledger") from error
        yield


def check_index(path: Path, index: str) -> None:
    """Check that a file, which is locked, is a ledger of an index of this name, or empty.

    :raises LedgerError: If it is a ledger of another index, or no ledger.
    """
    with told(path), closing(sqlite3.connect(path)) as base:
        if _tables(base, path):
            _check_name(path, base.execute("select value from about where name = 'index'").fetchone()[0], index)


def open_file(path: Path | None, target: Target) -> sqlite3.Connection:
    """Open a ledger that is locked, and begin it if it is new, or of an index of this name that was deleted since.

    :param path: Its file; None keeps it in memory.
    :raises LedgerError: If it is no ledger, of another format, or of another index.
    """
    base = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level="IMMEDIATE")
    try:
        tables = _tables(base, path)
        base.execute("pragma journal_mode = wal")
        base.execute("pragma synchronous = normal")
        if not tables:
            _begin(base, target)
        _check(base, path, target)
    except BaseException:
        base.close()
        raise
    return base


def _tables(base: sqlite3.Connection, path: Path | None) -> set[str]:
    """Return the tables of a ledger; none of one that has not begun.

    :raises LedgerError: If it is a database of something else.
    """
    tables = {name for (name,) in base.execute("select name from sqlite_master where type = 'table'")}
    if tables and not tables.issuperset(_OF_FORMAT_1):
        raise fault(path, "is a database of something else; name another file with --ledger")
    return tables


def _check_name(path: Path | None, found: str, wanted: str) -> None:
    if found != wanted:
        raise fault(path, f"is about index {found!r}, not {wanted!r}; name another with --ledger")


def _check(base: sqlite3.Connection, path: Path | None, target: Target) -> None:
    about = dict(base.execute(ABOUT).fetchall())
    if about["format"] == "1":
        _upgrade(base)
        about["format"] = str(_FORMAT)
    if about["format"] != str(_FORMAT):
        raise fault(path, f"has format {about['format']}, not {_FORMAT}; use the version that made it, or --fresh")
    _check_name(path, about["index"], target.index)
    if about["uuid"] != target.uuid:
        _begin(base, target)


def _upgrade(base: sqlite3.Connection) -> None:
    with base:
        base.execute("begin immediate")
        base.execute(_ALSO)
        base.execute("update about set value = ? where name = 'format'", (str(_FORMAT),))


def _begin(base: sqlite3.Connection, target: Target) -> None:
    with base:
        base.execute("begin immediate")  # of itself it would begin with the first row, not with the tables
        for table in _NAMES:
            base.execute(f"drop table if exists {table}")
        for statement in filter(str.strip, _TABLES.split(";")):
            base.execute(statement)
        about = {"format": _FORMAT, "index": target.index, "uuid": target.uuid, "runs": 0}
        base.executemany("insert into about values (?, ?)", [(name, str(v)) for name, v in about.items()])
