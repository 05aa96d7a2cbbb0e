"""The ledger: which records of which sources the server has acknowledged, so that a run goes on where one stopped.

One SQLite file an index. A record stands in it once the server has acknowledged all of its chunks, with the hash of its
content; what was sent and not acknowledged is noted beforehand, since some of it may have arrived. A record belongs to
every job that has met it and not missed it since: to the one that stands with it, and to those in a table beside, which
stays empty while no two jobs have a record of the same id. A process that is killed at any moment leaves a ledger that
is true; a machine that loses power may lose its last second, which is then written again.
"""

import datetime
import json
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from es_ingest.stream.content import as_json
from es_ingest.stream.ledger_file import began, fault, gone, locked, open_file, told
from es_ingest.stream.target import Target

_PAGE = 10_000  # rows held at a time
_ROWS = 1000  # entered, or asked for, by one statement

_KNOWN = """
select record.id, number, hash, chunks, run,
    job in (0, ?) or exists (select 1 from also where also.record = number and also.job = ?)
from record where record.id in (%s)
"""
_STANDING = """
select number, id, chunks, (select min(also.job) from also where also.record = number) from record where job = ?
"""
_BESIDE = "select number, id, chunks, record.job from also join record on number = also.record where also.job = ?"
_LANDED = """
insert into record (id, hash, chunks, job, run, position) values ?
on conflict (id) do update set hash = excluded.hash, chunks = excluded.chunks, run = excluded.run,
    position = excluded.position, job = case job when 0 then excluded.job else job end
"""


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
        self.new = True
        """Whether it has not been told yet, by :meth:`adopted`, what the index held before it."""
        self.began = datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
        """When this run began: ISO 8601, UTC."""
        self._lock = threading.RLock()
        with ExitStack() as stack:
            if path is not None:
                stack.enter_context(locked(path))
            with self._told():
                self._base = open_file(path, target)
                self.new = not self._base.execute("select 1 from about where name = 'adopted'").fetchone()
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
        """Return what is known of records that the sources have, by id; they are this job's from now on, and seen."""
        job = (self._job, self._job)
        with self._told():
            rows = [row for query, some in _asked(_KNOWN, ids) for row in self._base.execute(query, (*job, *some))]
            if others := [(row[1], self._job) for row in rows if not row[-1]]:
                with self._base:
                    self._base.executemany("insert or ignore into also (record, job) values (?, ?)", others)
        return {
            name: Known(number, digest, chunks, self._mark(number) or run == self._run)
            for name, number, digest, chunks, run, _ in rows
        }

    def entered(self, ids: Sequence[str]) -> dict[str, int]:
        """Return which records the ledger has, and how many chunks of each, whether or not the sources have them."""
        of_ids = _asked("select id, chunks from record where id in (%s)", ids)
        with self._told():
            return {name: chunks for query, some in of_ids for name, chunks in self._base.execute(query, some)}

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
        """Enter acknowledged records, and drop the notes all of whose records are settled.

        :param records: Records that :meth:`known` was asked for before.
        """
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
        """Yield id and chunks of records that this job alone had and that were not seen in this run.

        Those that another job has as well are that one's from now on.
        """
        for page in self._unseen(_BESIDE):
            self._leave((number, self._job) for number, *_ in page)
        for page in self._unseen(_STANDING):
            left = [(heir, number) for number, _, _, heir in page if heir]
            with self._told(), self._base:
                self._base.executemany("update record set job = ? where number = ?", left)
                self._leave((number, heir) for heir, number in left)
            yield from ((id, chunks) for _, id, chunks, heir in page if not heir)  # noqa: A001

    def of_others(self) -> int:
        """Return how many records this job does not have: other jobs do, or nobody knows who brought them."""
        query = """select count(*) from record where job <> :job
            and not exists (select 1 from also where also.record = number and also.job = :job)"""
        with self._told():
            return int(self._base.execute(query, {"job": self._job}).fetchone()[0])

    def _unseen(self, query: str) -> Iterator[list[tuple[int, str, int, int | None]]]:
        """Yield pages of this job's records that this run has not seen.

        :param query: Gives number, id, chunks and another job that has it.
        """
        last = 0
        while True:
            with self._told():
                rows = self._base.execute(
                    f"{query} and number > ? and run < ? order by 1 limit ?", (self._job, last, self._run, _PAGE)
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield [row for row in rows if not self._is_marked(row[0])]

    def _leave(self, records: Iterable[tuple[int, int]]) -> None:
        with self._told(), self._base:
            self._base.executemany("delete from also where record = ? and job = ?", records)

    def removed(self, ids: Sequence[str]) -> None:
        """Forget records that the server has removed."""
        names = [(name,) for name in ids]
        with self._told(), self._base:
            whose = "delete from also where record = (select number from record where id = ?)"
            self._base.executemany(whose, names)
            self._base.executemany("delete from record where id = ?", names)

    def deleted(self, ids: Sequence[str]) -> None:
        """Note that sources say that records are no more, so that none comes back from dead letters of before."""
        with self._told(), self._base:
            rows = [(gone(name), self.began) for name in ids]
            self._base.executemany("insert or replace into about values (?, ?)", rows)

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

    def _enter(self, job: str, mapping: Mapping[str, Any]) -> int:
        with self._base:
            self._base.execute("insert or ignore into job (name, mapping) values (?, ?)", (job, _sorted(mapping)))
            number, stored = self._base.execute("select number, mapping from job where name = ?", (job,)).fetchone()
            before: dict[str, Any] = json.loads(stored)
            if mapping == before:
                return int(number)
            mine = "select 1 from record where job = :job union all select 1 from also where job = :job limit 1"
            if not self._base.execute(mine, {"job": number}).fetchone():
                self._base.execute("update job set mapping = ? where number = ?", (_sorted(mapping), number))
                return int(number)  # nothing came of the former
        for name in sorted(before.keys() | mapping.keys()):
            if before.get(name) != mapping.get(name):
                raise fault(
                    self.path,
                    f"was made with {name} {before.get(name)!r}, not {mapping.get(name)!r}; take the former, or begin"
                    " again with --fresh, which deletes the index",
                )
        raise AssertionError("two mappings that differ have a name in which they do")

    def _next_run(self) -> int:
        with self._base:
            self._base.execute("update about set value = value + 1 where name = 'runs'")
            number = int(self._base.execute("select value from about where name = 'runs'").fetchone()[0])
            self._base.execute("insert into about values (?, ?)", (began(number), self.began))
            return number

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
        with self._lock, told(self.path):
            yield


def _asked(query: str, ids: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Give a query, with a place for each id, and the ids; as often as there are too many for one.

    Bound, and not as JSON, in which SQLite takes a NUL character for the end of an id.
    """
    encodable = [name for name in ids if _is_unicode(name)]
    for first in range(0, len(encodable), _ROWS):
        some = encodable[first : first + _ROWS]
        yield query % ",".join("?" * len(some)), some


def _is_unicode(name: str) -> bool:
    """Tell whether a ledger can have an id: one with a lone surrogate is never written."""
    try:
        return name.isascii() or bool(name.encode())
    except UnicodeEncodeError:
        return False


def _sorted(mapping: Mapping[str, Any]) -> str:
    return json.dumps(dict(mapping), sort_keys=True)
