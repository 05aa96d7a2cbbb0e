"""Reads a ledger that no run has open, and takes one over for a copy of its index."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from es_ingest.stream.ledger_file import ABOUT, began, fault, gone
from es_ingest.stream.locking import alone
from es_ingest.stream.target import Target

_PAGE = 10_000  # rows held at a time


class LedgerReader:
    """What a ledger says. Make one with :func:`read_ledger`.

    :param path: Its file.
    :param base: The open database.
    """

    def __init__(self, path: Path, base: sqlite3.Connection) -> None:
        self.path = path
        self._base = base

    def totals(self) -> tuple[int, int]:
        """Return how many records and chunks the server has acknowledged."""
        records, chunks = self._base.execute("select count(*), coalesce(sum(chunks), 0) from record").fetchone()
        return records, chunks

    def records(self) -> Iterator[tuple[str, int]]:
        """Yield id and chunks of every acknowledged record, by id in the order of code points."""
        last = ""
        query = "select id, chunks from record where id > ? order by id limit ?"
        while rows := self._base.execute(query, (last, _PAGE)).fetchall():
            yield from rows
            last = rows[-1][0]

    def unsettled(self) -> set[str]:
        """Return the ids of records that were sent and not acknowledged as a whole: some of it may have arrived."""
        rows = self._base.execute("select records from flight")
        return {name for (records,) in rows for name, _ in json.loads(records)}

    def written_after(self, id: str, time: str) -> bool:  # noqa: A002
        """Tell whether a record was acknowledged, or said to be no more, in a run that began later than at a time."""
        row = self._base.execute("select run from record where id = ?", (id,)).fetchone()
        names = (gone(id), "" if row is None else began(row[0]))
        query = "select 1 from about where name in (?, ?) and value > ?"
        return self._base.execute(query, (*names, time)).fetchone() is not None

    def copy(self, path: Path, target: Target) -> None:
        """Write a ledger that says the same of another index; one that is there is replaced, at once.

        :param path: Its file.
        :param target: The other index.
        :raises LedgerError: If it is in use or cannot be written.
        """
        half = path.with_name(f"{path.name}-new")
        try:
            with alone(path, f"the ledger {path}"):
                half.unlink(missing_ok=True)
                half.touch(mode=0o600)
                with closing(sqlite3.connect(half)) as base, base:
                    self._base.backup(base)
                    about = {"index": target.index, "uuid": target.uuid}
                    base.executemany("update about set value = ? where name = ?", [(v, k) for k, v in about.items()])
                for companion in path.parent.glob(f"{path.name}-[ws]*"):  # a former ledger's -wal and -shm
                    companion.unlink()
                half.replace(path)
        except (OSError, sqlite3.Error) as error:
            raise fault(path, f"cannot be written: {error}") from error


@contextmanager
def read_ledger(path: Path, target: Target) -> Iterator[LedgerReader]:
    """Open a ledger for the time of a ``with`` block; no run may use it meanwhile.

    :param path: Its file.
    :param target: The index that it must be about.
    :raises LedgerError: If it is missing, in use, damaged, or about another index.
    """
    if not path.is_file():
        raise fault(path, "is not there; name the one that `es-ingest run` kept")
    with alone(path, f"the ledger {path}"):
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True)) as base:
                base.execute("pragma query_only = on")  # mode=ro would leave SQLite's companions behind
                _check(path, dict(base.execute(ABOUT).fetchall()), target)
                yield LedgerReader(path, base)
        except sqlite3.Error as error:
            raise fault(path, f"cannot be read: {error}") from error


def _check(path: Path, about: dict[str, str], target: Target) -> None:
    if about.get("index") != target.index:
        raise fault(path, f"is about index {about.get('index')!r}, not {target.index!r}")
    if about.get("uuid") != target.uuid:
        raise fault(path, f"is about an index {target.index!r} that has been deleted and made anew since")
