"""Dead letters: nobody else reads them, none is broken off, and what comes back is what went in."""

import json
import os
import resource
import threading
from contextlib import contextmanager

import numpy as np
import pytest

from es_ingest.records import Malformed, ReadError, Record
from es_ingest.stream.dead_letters import DeadLetterError, DeadLetters, dead_letter_path, read_letters

RECORD = Record("a", "Title", "Text\nof two lines", {"year": 1990, "tags": ["x", "y"]}, "corpus.jsonl:7")
ROW = Malformed("corpus.jsonl:8", "no text", '{"id": "b"}')


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state" / "run.dead.jsonl"


@contextmanager
def letters(path, most=None):
    opened = DeadLetters(path, most)
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def no_file_above(size):
    """Let every write beyond so many bytes of a file fail, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


class TestFile:
    def test_is_made_with_the_first_letter_for_this_user_alone(self, path):
        before = os.umask(0)
        try:
            with letters(path) as opened:
                assert not path.exists()
                opened.put(RECORD, "refused")
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o777 == 0o600

    def test_holds_position_reason_and_what_there_was(self, path):
        with letters(path) as opened:
            opened.put(RECORD, "mapping conflict")
            opened.put(ROW, ROW.reason)
            opened.put(Malformed("x.tar!3", "not UTF-8"), "not UTF-8")
            assert opened.count == 3
        assert [json.loads(line) for line in path.read_bytes().splitlines()] == [
            {
                "job": "",
                "position": "corpus.jsonl:7",
                "reason": "mapping conflict",
                "record": {
                    "id": "a",
                    "title": "Title",
                    "text": "Text\nof two lines",
                    "meta": {"year": 1990, "tags": ["x", "y"]},
                },
            },
            {"job": "", "position": "corpus.jsonl:8", "reason": "no text", "raw": '{"id": "b"}'},
            {"job": "", "position": "x.tar!3", "reason": "not UTF-8"},
        ]

    def test_is_added_to(self, path):
        for number in range(3):
            with letters(path) as opened:
                opened.put(RECORD, f"reason {number}")
                assert opened.count == 1
        assert [json.loads(line)["reason"] for line in path.open()] == ["reason 0", "reason 1", "reason 2"]

    def test_can_be_read_while_it_is_written(self, path):
        with letters(path) as opened:
            opened.put(RECORD, "x")
            assert len(list(read_letters(path))) == 1

    def test_of_many_threads_holds_whole_lines(self, path):
        with letters(path) as opened:

            def work(thread):
                for number in range(100):
                    opened.put(Record(f"{thread}-{number}", "", "x" * 5000, {}, "here"), "x")

            threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
            for one in threads:
                one.start()
            for one in threads:
                one.join()
            assert opened.count == 400
        assert len({one.id for one in read_letters(path)}) == 400

    def test_none_is_kept_without_one(self):
        with letters(None) as opened:
            opened.put(RECORD, "x")
            assert opened.count == 1

    def test_one_of_its_own_for_each_run(self, monkeypatch, tmp_path):
        monkeypatch.setenv("ES_INGEST_STATE", str(tmp_path))
        found = dead_letter_path("i")
        assert found.parent == tmp_path
        assert found.name.startswith("i-2")
        assert found.name.endswith(f"-{os.getpid()}.dead.jsonl")

    def test_that_cannot_be_made(self, tmp_path):
        (tmp_path / "file").touch()
        for path in (tmp_path / "file" / "dead.jsonl", tmp_path):
            with letters(path) as opened, pytest.raises(DeadLetterError, match=r"cannot be kept in .*--dead"):
                opened.put(RECORD, "x")
            assert opened.count == 0


class TestMost:
    @pytest.mark.parametrize("most", [0, 2])
    def test_the_one_too_many_ends_the_run_and_is_kept(self, path, most):
        with letters(path, most) as opened:
            for _ in range(most):
                opened.put(ROW, ROW.reason)
            with pytest.raises(DeadLetterError) as caught:
                opened.put(RECORD, "mapping conflict")
        assert str(caught.value) == (
            f"more than {most} dead letters (--max-dead); they are in {path}, the last one from corpus.jsonl:7:"
            " mapping conflict"
        )
        assert len(list(read_letters(path))) == most + 1

    def test_without_a_file(self):
        with letters(None, 0) as opened, pytest.raises(DeadLetterError, match=r"\(--max-dead\), the last one"):
            opened.put(RECORD, "x")


class TestFullDisk:
    def fill(self, opened):
        """Put letters until the disk is full; return how many are kept."""
        big = Record("a", "", "x" * 3000, {}, "here")

        def put():
            for _ in range(1000):
                opened.put(big, "refused")

        with pytest.raises(DeadLetterError, match=r"cannot be kept in .*make room, or name another file with --dead"):
            put()
        return opened.count

    def test_a_letter_is_there_whole_or_not_at_all(self, path):
        with letters(path) as opened:
            with no_file_above(10_000):
                kept = self.fill(opened)
            assert kept == 3
            assert path.stat().st_size < 9_990  # of the fourth nothing is left, though some of it fitted
            opened.put(RECORD, "there is room again")
        assert [one.id for one in read_letters(path)] == ["a"] * 4

    def test_on_a_real_one(self, small_disk):
        path, reserve = small_disk / "dead.jsonl", small_disk / "reserve"
        reserve.write_bytes(bytes(50_000))
        with letters(path) as opened:
            kept = self.fill(opened)
            assert kept > 10
            assert len(list(read_letters(path))) == kept
            reserve.unlink()
            opened.put(RECORD, "there is room again")
        assert len(list(read_letters(path))) == kept + 1


class TestRoundTrip:
    @pytest.mark.parametrize(
        "record",
        [
            RECORD,
            Record("a", "", "ß\u2028\x00 \U0001f600", {}, "here"),
            Record("\ud800", "t \udfff", "text \ud800", {"m\ud800": "\udc00"}, "here\ud800"),
            Record("a", "", "x", {"big": 2**70, "nested": {"deep": [1, None, 1.5]}}, "here"),
        ],
        ids=["plain", "odd", "surrogates", "big"],
    )
    def test_of_records(self, path, record):
        with letters(path) as opened:
            opened.put(record, "refused \ud800" if record.id == "\ud800" else "refused")
        assert list(read_letters(path)) == [record]

    @pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8"])
    def test_of_vectors(self, path, kind):
        vector = np.random.default_rng(0).standard_normal(768).astype(kind)
        with letters(path) as opened:
            opened.put(Record("a", "", "x", {}, "here", vector), "refused")
        (found,) = read_letters(path)
        assert found.vector.dtype == np.float32
        np.testing.assert_array_equal(found.vector, vector.astype(np.float32))

    @pytest.mark.parametrize("raw", [None, "", "a,b\n\x00", "broken \udcff bytes"])
    def test_of_rows(self, path, raw):
        with letters(path) as opened:
            opened.put(Malformed("here", "why", raw), "why")
        (found,) = read_letters(path)
        assert isinstance(found, Malformed)
        assert (found.position, found.reason, found.raw) == ("here", "why", raw)


class TestNoLetters:
    @pytest.mark.parametrize(
        "line",
        [
            b"patient John Doe",
            b"[]",
            b"{}",
            b'{"position": "x"}',
            b'{"position": "x", "reason": "y", "record": {"id": "a"}}',
            b'{"position": "x", "reason": "y", "record": "a"}',
            b'{"position": "x", "reason": "y", "record": {"id":"a","title":"","text":"","meta":{},"vector":"AAA="}}',
            b"\xff\xfe",
        ],
    )
    def test_are_refused_with_their_place(self, path, line):
        path.parent.mkdir()
        with letters(path) as opened:
            opened.put(RECORD, "x")
        with path.open("ab") as file:
            file.write(line + b"\n")
        found = read_letters(path)
        next(found)
        with pytest.raises(ReadError, match=r"run\.dead\.jsonl:2: is no dead letter") as caught:
            next(found)
        assert "John" not in str(caught.value)

    def test_a_file_that_is_missing(self, path):
        with pytest.raises(ReadError, match=r"run\.dead\.jsonl: cannot be read: No such file"):
            list(read_letters(path))
