"""The ledger alone: what it keeps, what it refuses, and what a kill or a full disk leaves."""

import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from es_ingest.records import Record
from es_ingest.stream import ledger as module
from es_ingest.stream import ledger_file
from es_ingest.stream.content import content_hash
from es_ingest.stream.ledger import Acknowledged, Ledger
from es_ingest.stream.ledger_reader import read_ledger
from es_ingest.stream.locking import LedgerError
from es_ingest.stream.target import Target, ledger_path

MAPPING = {"format": "jsonl", "id": "pmid", "chunk_tokens": None}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "i.sqlite"


def ledger(path, index="i", uuid="u", job="j", mapping=MAPPING):
    return Ledger(path, Target(index, uuid), job, mapping)


def done(name, content=b"h", chunks=1):
    return Acknowledged(name, content, chunks, f"corpus.jsonl:{name}")


def put(opened, *records):
    opened.landed([opened.sending([(one.id, one.chunks) for one in records])], records)


class TestOpening:
    def test_new(self, path):
        with ledger(path) as opened:
            assert opened.new
            assert opened.totals() == (0, 0)
            assert opened.unsettled() == {}
            assert list(opened.records()) == list(opened.missing()) == []
        assert path.exists()

    def test_again(self, path):
        with ledger(path) as opened:
            put(opened, done("a", b"1", 2), done("b", b"2", 3))
        with ledger(path) as opened:
            assert opened.new  # nobody has told it yet what the index held before
            opened.adopted()
        with ledger(path) as opened:
            assert not opened.new
            assert opened.totals() == (2, 5)
            known = opened.known(["a", "b", "c"])
        assert {name: (one.hash, one.chunks, one.repeated) for name, one in known.items()} == {
            "a": (b"1", 2, False),
            "b": (b"2", 3, False),
        }

    def test_in_memory(self):
        with ledger(None) as first, ledger(None) as second:
            put(first, done("a"))
            assert (first.totals(), second.totals()) == ((1, 1), (0, 0))

    def test_nobody_else_may_read_it(self, path):
        before = os.umask(0)
        try:
            with ledger(path) as opened:
                put(opened, done("a"))
                modes = {one.name: one.stat().st_mode & 0o777 for one in path.parent.iterdir()}
        finally:
            os.umask(before)
        assert set(modes) == {"i.sqlite", "i.sqlite-wal", "i.sqlite-shm", "i.sqlite.lock"}
        assert set(modes.values()) == {0o600}

    def test_a_folder_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(LedgerError, match=r"file/i.sqlite cannot be opened .*--ledger"):
            ledger(tmp_path / "file" / "i.sqlite")

    def test_a_folder_in_its_place(self, path):
        path.mkdir(parents=True)
        with pytest.raises(LedgerError, match="is a folder"):
            ledger(path)

    def test_where_it_is_kept(self, monkeypatch, tmp_path):
        monkeypatch.delenv("ES_INGEST_STATE", raising=False)
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
        assert ledger_path(Target("i", "u")) == tmp_path / "es-ingest" / "i-u.sqlite"
        monkeypatch.setenv("ES_INGEST_STATE", str(tmp_path / "mine"))
        assert ledger_path(Target("i", "u")) == tmp_path / "mine" / "i-u.sqlite"


class TestRefused:
    def test_while_another_process_has_it(self, path):
        script = (
            "import sys; from pathlib import Path; from es_ingest.stream.ledger import *\n"
            "with Ledger(Path(sys.argv[1]), Target('i', 'u'), 'j', {}): print('open', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout.readline() == b"open\n"
            with pytest.raises(LedgerError, match="in use by another es-ingest") as caught:
                ledger(path, mapping={})
            assert caught.value.path == str(path)
            child.kill()
        ledger(path, mapping={}).__exit__(None, None, None)  # its lock died with it

    def test_a_second_time_in_one_process(self, path):
        with ledger(path), pytest.raises(LedgerError, match="in use"):
            ledger(path)
        ledger(path).__exit__(None, None, None)

    @pytest.mark.parametrize("damage", ["other", "cut", "overwritten"])
    def test_a_damaged_file(self, path, damage):
        with ledger(path) as opened:
            put(opened, *[done(f"record number {number}") for number in range(2000)])
        content = path.read_bytes()
        path.write_bytes(
            {
                "other": b"id,title,text\n" * 500,
                "cut": content[: len(content) // 3],
                "overwritten": content[:1000] + b"x" * (len(content) - 1000),
            }[damage]
        )
        with pytest.raises(LedgerError, match=r"i\.sqlite cannot be read or written"), ledger(path) as opened:
            opened.known([f"record number {number}" for number in range(2000)])
        path.unlink()
        ledger(path).__exit__(None, None, None)  # the lock is not left behind

    def test_another_index(self, path):
        ledger(path).__exit__(None, None, None)
        with pytest.raises(LedgerError, match="is about index 'i', not 'other'"):
            ledger(path, index="other")

    def test_another_format(self, path, monkeypatch):
        ledger(path).__exit__(None, None, None)
        monkeypatch.setattr(ledger_file, "_FORMAT", 3)
        with pytest.raises(LedgerError, match="has format 2, not 3"):
            ledger(path)

    @pytest.mark.parametrize("table", ["about (name text, value text)", "record (patient text)"])
    def test_another_database_is_left_as_it_is(self, path, table):
        path.parent.mkdir()
        base = sqlite3.connect(path)
        base.execute(f"create table {table}")
        base.commit()
        with pytest.raises(LedgerError, match="is a database of something else"):
            ledger(path)
        assert base.execute("select sql from sqlite_master").fetchall() == [(f"CREATE TABLE {table}",)]
        base.close()

    @pytest.mark.parametrize(
        ("mapping", "said"),
        [
            (MAPPING | {"id": "doi"}, "id 'pmid', not 'doi'"),
            (MAPPING | {"chunk_tokens": 200}, "chunk_tokens None, not 200"),
            (MAPPING | {"title": "head"}, "title None, not 'head'"),
            ({"format": "jsonl"}, "id 'pmid', not None"),
        ],
    )
    def test_a_mapping_that_changed_names_both_values(self, path, mapping, said):
        with ledger(path) as opened:
            put(opened, done("a"))
        with pytest.raises(LedgerError, match=f"was made with {said}; take the former, or .*--fresh"):
            ledger(path, mapping=mapping)
        with ledger(path, job="another", mapping=mapping) as opened:  # each job has its own
            assert opened.totals() == (1, 1)
        with ledger(path) as opened:
            assert opened.totals() == (1, 1)

    def test_errors_pickle(self):
        error = pickle.loads(pickle.dumps(LedgerError("the message", "the path")))
        assert (str(error), error.path) == ("the message", "the path")


class TestAnotherIndexOfTheSameName:
    def test_starts_over(self, path):
        with ledger(path) as opened:
            put(opened, done("a"))
            opened.sending([("b", 2)])
        with ledger(path, uuid="v", mapping={"other": 1}) as opened:
            assert opened.new
            assert opened.totals() == (0, 0)
            assert opened.known(["a"]) == opened.unsettled() == {}
            opened.adopted()
        with ledger(path, uuid="v", mapping={"other": 1}) as opened:
            assert not opened.new


class TestKnown:
    def test_twice_in_one_run(self, path):
        with ledger(path) as opened:
            assert opened.known(["a"]) == {}
            put(opened, done("a"), done("b"))
            assert opened.known(["a"])["a"].repeated  # this run has written it
        with ledger(path) as opened:
            assert not opened.known(["a"])["a"].repeated
            assert opened.known(["a"])["a"].repeated
            assert not opened.known(["b"])["b"].repeated

    def test_what_was_written_last_counts(self, path):
        with ledger(path) as opened:
            put(opened, done("a", b"1", 3))
            put(opened, done("a", b"2", 1))
            (known,) = opened.known(["a"]).values()
            assert (known.hash, known.chunks, opened.totals()) == (b"2", 1, (1, 1))

    @pytest.mark.parametrize("name", ['"', "'; drop table record", "1", "1.0", "null", "ß\u2028", "x" * 9000, "a\0b"])
    def test_odd_ids(self, path, name):
        with ledger(path) as opened:
            put(opened, done(name))
        with ledger(path) as opened:
            assert set(opened.known([name, "other"])) == {name}
            assert [one[0] for one in opened.records()] == [name]

    def test_an_id_with_a_nul_is_not_the_one_before_it(self, path):
        with ledger(path) as opened:
            put(opened, done("a"))
        with ledger(path) as opened:
            assert opened.known(["a\0b"]) == {}
            assert opened.entered(["a\0b"]) == {}
            assert not opened.known(["a\0b", "a"])["a"].repeated
        with ledger(path) as opened:
            opened.known(["a\0b"])
            assert list(opened.missing()) == [("a", 1)]

    def test_entered_marks_nothing(self, path):
        with ledger(path) as opened:
            put(opened, done("a"))
        with ledger(path, job="another") as opened:
            assert opened.entered(["a", "b"]) == {"a": 1}
            assert not opened.known(["a"])["a"].repeated

    def test_an_id_with_a_lone_surrogate_is_not_known(self, path):
        with ledger(path) as opened:
            put(opened, done("a"))
            assert set(opened.known(["\ud800", "a"])) == {"a"}


class TestOfFormat1:
    """As versions made it that knew one job for a record."""

    @pytest.fixture
    def old(self, path):
        with ledger(path) as opened:
            put(opened, done("a", chunks=2))
            opened.sending([("b", 1)])
            opened.adopted()
            with opened._base:
                opened._base.execute("drop table also")
                opened._base.execute("update about set value = '1' where name = 'format'")
        return path

    def test_is_read_on(self, old):
        with ledger(old, job="another") as opened:
            assert not opened.new
            assert (opened.totals(), opened.unsettled()) == ((1, 2), {"b": 1})
            assert opened.known(["a"])["a"].chunks == 2
        with ledger(old) as opened:
            assert list(opened.missing()) == []
        with ledger(old, job="another") as opened:
            assert list(opened.missing()) == [("a", 2)]

    def test_after_a_kill_at_any_statement(self, old, monkeypatch):
        _Watched.source, _Watched.copies = old, []
        connect = sqlite3.connect
        with monkeypatch.context() as patch:
            patch.setattr(sqlite3, "connect", lambda *given, **named: connect(*given, **named, factory=_Watched))
            ledger(old).__exit__(None, None, None)
        assert len(_Watched.copies) > 8
        for copy in _Watched.copies:
            with ledger(copy, job="another") as opened:
                assert opened.known(["a"]).keys() == {"a"}


class TestUnderWay:
    def test_sending_then_landed(self, path):
        with ledger(path) as opened:
            first, second = opened.sending([("a", 2), ("b", 1)]), opened.sending([("c", 1)])
            assert first != second
            opened.landed([second], [done("c")])
            assert opened.unsettled() == {}  # this run's own are under way, not unsettled
        with ledger(path) as opened:
            assert opened.unsettled() == {"a": 2, "b": 1}
            assert opened.totals() == (1, 1)

    def test_the_most_chunks_that_may_be_there(self, path):
        for chunks in (2, 5, 3):
            with ledger(path) as opened:
                opened.sending([("a", chunks)])
        with ledger(path) as opened:
            assert opened.unsettled() == {"a": 5}

    def test_settled_drops_what_earlier_runs_left(self, path):
        with ledger(path) as opened:
            opened.sending([("a", 1)])
        with ledger(path) as opened:
            opened.sending([("b", 1)])
            opened.settled()
            assert opened.unsettled() == {}
        with ledger(path) as opened:
            assert opened.unsettled() == {"b": 1}

    def test_a_kill_between_sending_and_landed(self, path):
        script = (
            "import os, signal, sys; from pathlib import Path; from es_ingest.stream.ledger import *\n"
            "ledger = Ledger(Path(sys.argv[1]), Target('i', 'u'), 'j', {})\n"
            "ledger.landed([ledger.sending([('a', 1)])], [Acknowledged('a', b'h', 1, 'here')])\n"
            "ledger.sending([('b', 3), ('c', 1)])\n"
            "os.kill(os.getpid(), signal.SIGKILL)"
        )
        child = subprocess.run([sys.executable, "-c", script, str(path)], check=False)
        assert child.returncode == -signal.SIGKILL
        with ledger(path, mapping={}) as opened:
            assert opened.unsettled() == {"b": 3, "c": 1}
            assert list(opened.records()) == [("a", 1, "here")]


class _Watched(sqlite3.Connection):
    """Keeps the files as a kill after each statement would leave them."""

    source: Path
    copies: list[Path]

    def execute(self, *given):
        result = super().execute(*given)
        self._copy()
        return result

    def executemany(self, *given):
        result = super().executemany(*given)
        self._copy()
        return result

    def _copy(self):
        folder = self.source.parent / f"after-{len(self.copies)}"
        folder.mkdir()
        for file in self.source.parent.glob(f"{self.source.name}*"):
            shutil.copy(file, folder)
        self.copies.append(folder / self.source.name)


class TestAKillAtAnyStatement:
    @pytest.fixture
    def copies(self, path, monkeypatch):
        _Watched.source, _Watched.copies = path, []
        connect = sqlite3.connect
        monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: connect(*given, **named, factory=_Watched))
        yield _Watched.copies
        monkeypatch.undo()

    def test_while_it_is_made(self, path, copies, monkeypatch):
        ledger(path).__exit__(None, None, None)
        monkeypatch.undo()
        assert len(copies) > 8
        for copy in copies:
            with ledger(copy) as opened:
                put(opened, done("a"))
                assert opened.totals() == (1, 1)

    def test_while_it_starts_over(self, path, copies, monkeypatch):
        with ledger(path) as opened:
            put(opened, done("a"))
        copies.clear()
        shutil.rmtree(path.parent / "after-0")
        for folder in path.parent.glob("after-*"):
            shutil.rmtree(folder)
        ledger(path, uuid="v").__exit__(None, None, None)
        monkeypatch.undo()
        assert len(copies) > 8
        for copy in copies:
            with ledger(copy, uuid="v") as opened:
                assert opened.totals() == (0, 0)
                put(opened, done("b"))


class TestAdopted:
    def test_what_the_index_holds(self, path):
        with ledger(path) as opened:
            opened.adopt([("a", 1), ("a", 3), ("a", 2), ("b", 1)])
            put(opened, done("b", b"h", 2))
            opened.adopt([("b", 1)])
            known = opened.known(["a", "b"])
            assert (known["a"].hash, known["a"].chunks) == (b"", 3)
            assert (known["b"].hash, known["b"].chunks) == (b"h", 2)
            assert not known["a"].repeated
        with ledger(path) as opened:
            assert list(opened.missing()) == [("b", 2)]  # nobody knows what brought the other


class TestMissing:
    def test_what_this_job_has_not_seen(self, path, monkeypatch):
        monkeypatch.setattr(module, "_PAGE", 3)
        with ledger(path) as opened:
            put(opened, *[done(f"r{number}", chunks=number) for number in range(1, 11)])
        with ledger(path, job="another") as opened:
            put(opened, done("x"))
            assert list(opened.missing()) == []
        with ledger(path) as opened:
            opened.known(["r2", "r3", "r9"])
            put(opened, done("r5"))
            left = [(f"r{number}", number) for number in (1, 4, 6, 7, 8, 10)]
            assert list(opened.missing()) == left
            for name, _ in opened.missing():  # removed while they are looked through
                opened.removed([name])
            assert list(opened.missing()) == []
            assert {name for name, _, _ in opened.records()} == {"r2", "r3", "r5", "r9", "x"}

    def meet(self, path, job, *records, delete_missing=False):
        """A run of a job; returns what is removed."""
        with ledger(path, job=job) as opened:
            before = opened.known([one.id for one in records])
            put(opened, *(one for one in records if one.id not in before or before[one.id].hash != one.hash))
            gone = [name for name, _ in opened.missing()] if delete_missing else []
            opened.removed(gone)
            return gone

    @pytest.mark.parametrize("contents", [b"111", b"121", b"122"], ids=["same", "back again", "another"])
    def test_not_what_another_job_has(self, path, contents):
        first, second, third = (done("r", bytes([content])) for content in contents)
        self.meet(path, "a", first, done("of a"))
        self.meet(path, "b", second, done("of b"))
        self.meet(path, "a", third, done("of a"))
        assert self.meet(path, "a", delete_missing=True) == ["of a"]
        with ledger(path, job="a") as opened:
            assert opened.of_others() == sum(1 for _ in opened.records())
        assert self.meet(path, "a", delete_missing=True) == []
        with ledger(path) as opened:
            assert {name for name, *_ in opened.records()} == {"r", "of b"}
        assert self.meet(path, "b", second, delete_missing=True) == ["of b"]
        assert self.meet(path, "b", delete_missing=True) == ["r"]

    def test_whichever_job_drops_it_first(self, path, monkeypatch):
        monkeypatch.setattr(module, "_PAGE", 2)
        names = [done(f"r{number}") for number in range(7)]
        for jobs in ("ab", "ba", "abc", "cab", "bca"):
            for job in sorted(jobs):
                self.meet(path, job, *names)
            *others, last = jobs
            for job in others:
                assert self.meet(path, job, names[0], delete_missing=True) == []
                assert self.meet(path, job, delete_missing=True) == []
            assert self.meet(path, last, names[0], delete_missing=True) == [one.id for one in names[1:]]
            assert self.meet(path, last, delete_missing=True) == ["r0"]
            with ledger(path) as opened:
                assert opened._base.execute("select count(*) from also").fetchone() == (0,)

    def test_nothing_more_is_kept_of_one_job(self, path):
        for _ in range(3):
            self.meet(path, "a", done("x"), done("y"))
        with ledger(path, job="a") as opened:
            opened.adopt([("z", 1)])
            opened.known(["z"])
            put(opened, done("z"))
            assert opened._base.execute("select count(*) from also").fetchone() == (0,)
        assert self.meet(path, "a", delete_missing=True) == ["x", "y", "z"]

    def test_a_mapping_does_not_change_under_what_another_job_has_too(self, path):
        self.meet(path, "a", done("r"))
        self.meet(path, "b", done("r"))
        with pytest.raises(LedgerError, match="was made with id 'pmid', not 'doi'"):
            ledger(path, job="b", mapping=MAPPING | {"id": "doi"})

    def test_in_many_bytes_of_marks(self, path):
        names = [f"r{number:05}" for number in range(40_000)]
        with ledger(path) as opened:
            put(opened, *map(done, names))
        with ledger(path) as opened:
            opened.known(names[:35_000:2])
            missing = [name for name, _ in opened.missing()]
        assert missing == names[1:35_000:2] + names[35_000:]


def test_records_come_by_id_in_pages(path, monkeypatch):
    monkeypatch.setattr(module, "_PAGE", 2)
    with ledger(path) as opened:
        put(opened, *[done(name, chunks=2) for name in "dbeac"])
        assert list(opened.records()) == [(name, 2, f"corpus.jsonl:{name}") for name in "abcde"]
        assert opened.totals() == (5, 10)


def test_threads_share_it(path):
    with ledger(path) as opened:

        def work(thread):
            for number in range(50):
                put(opened, done(f"{thread}-{number}"))
                opened.known([f"{thread}-{number}"])

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert opened.totals() == (200, 200)
    with ledger(path) as opened:
        assert opened.unsettled() == {}


class TestDeleted:
    def test_of_another_job_and_of_several(self, path):
        for job in ("j", "other"):
            with ledger(path, job=job) as opened:
                opened.known(["a"])
                put(opened, done("a"), done(job))
        with ledger(path, job="deleting") as opened:
            opened.removed(["a"])
            assert opened.entered(["a", "j", "other"]) == {"j": 1, "other": 1}
            put(opened, done("new"))  # which takes the number of the one that is gone, if that was the last
        with ledger(path) as opened:
            opened.known(["j"])
            assert list(opened.missing()) == [], "nobody takes it over"
        with ledger(path, job="deleting") as opened:
            assert list(opened.missing()) == [("new", 1)]

    def test_letters_of_before_are_overtaken(self, path):
        with ledger(path) as opened:
            before = opened.began
            put(opened, done("a"))
        with ledger(path) as opened:
            opened.deleted(["a", "never there"])
            opened.removed(["a"])
            during = opened.began
        with read_ledger(path, Target("i", "u")) as reader:
            for name in ("a", "never there"):
                assert reader.written_after(name, before)
                assert not reader.written_after(name, during)
            assert not reader.written_after("another", before)


class TestFullDisk:
    def fill(self, opened):
        def put():
            for number in range(10_000):
                opened.landed([], [done(f"record {number} {'x' * 500}")])

        with pytest.raises(LedgerError, match=r"cannot be read or written .*full.*see to the disk"):
            put()
        return opened.totals()[0]

    def test_by_its_own_bound(self, path):
        with ledger(path) as opened:
            opened._base.execute("pragma max_page_count = 40")
            written = self.fill(opened)
            assert written
        with ledger(path) as opened:
            assert opened.totals()[0] == written
            put(opened, done("one more"))

    def test_on_a_real_one(self, small_disk):
        (small_disk / "reserve").write_bytes(bytes(20_000))
        with ledger(small_disk / "i.sqlite") as opened:
            number = opened.sending([("a", 1)])
            written = self.fill(opened)
            with pytest.raises(LedgerError):
                opened.landed([number], [done("a" * 20_000)])
        (small_disk / "reserve").unlink()
        with ledger(small_disk / "i.sqlite") as opened:
            assert opened.totals()[0] == written  # what was told as kept is there, the rest is not
            assert opened.unsettled() == {"a": 1}


class TestContentHash:
    ONE = Record("a", "title", "text", {"year": 1, "tags": ["x"]}, "here", np.array([1, 0], np.float32))

    def changed(self, **values):
        fields = {name: getattr(self.ONE, name) for name in self.ONE.__slots__}
        return content_hash(Record(**fields | values))

    @pytest.mark.parametrize(
        "values",
        [
            {"title": "titles"},
            {"title": "titlet", "text": "ext"},
            {"text": "text "},
            {"meta": {"year": 2, "tags": ["x"]}},
            {"meta": {"year": "1", "tags": ["x"]}},
            {"meta": {}},
            {"vector": None},
            {"vector": np.array([0, 1], np.float32)},
        ],
        ids=repr,
    )
    def test_changes_with_what_is_stored(self, values):
        assert self.changed(**values) != content_hash(self.ONE)

    @pytest.mark.parametrize(
        "values", [{"position": "there"}, {"meta": {"tags": ["x"], "year": 1}}, {"vector": np.array([1.0, 0.0], "<f4")}]
    )
    def test_and_with_nothing_else(self, values):
        assert self.changed(**values) == content_hash(self.ONE)
        assert len(content_hash(self.ONE)) == 16

    @pytest.mark.parametrize(
        "values",
        [{"title": "\ud800"}, {"text": "\ud800"}, {"meta": {"a": "\ud800"}}, {"meta": {"a": 2**70}}, {"meta": {1: 2}}],
        ids=repr,
    )
    def test_of_what_elasticsearch_will_not_take(self, values):
        assert self.changed(**values) == self.changed(**values) != content_hash(self.ONE)
