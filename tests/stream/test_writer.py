"""Bulk requests from several threads: each record is in the ledger once all of it is acknowledged, and never before."""

import json
import threading
import time
from contextlib import contextmanager

import pytest
from elasticsearch import ConnectionError as UnreachableError

from es_ingest.stream import stopping
from es_ingest.stream.dead_letters import DeadLetterError
from es_ingest.stream.entries import Entry
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.locking import LedgerError
from es_ingest.stream.stopping import Stop
from es_ingest.stream.target import Target
from es_ingest.stream.writer import Writer
from medte_haystack.errors import BulkWriteError
from medte_haystack.index import Chunk, bulk
from medte_haystack.index.bulk import Backoff
from tests.stream.fakes import BUSY, CONFLICT, Lost, Server, Short, api_error, eventually, finishes, record

QUICK = Backoff(0.0005, 0.002, 30, patient=True)


@pytest.fixture(autouse=True)
def small_requests(monkeypatch):
    monkeypatch.setattr(bulk, "MAX_COUNT", 4)


@pytest.fixture
def server():
    return Server()


@pytest.fixture
def ledger():
    with Ledger(None, Target("i", "u"), "job", {}) as opened:
        yield opened


class Written:
    """What was written of some entries."""

    def __init__(self, server, ledger, backoff=QUICK, dead=None, stop=None):
        self.dead = []
        self.writer = Writer(server, "i", ledger, dead or self.dead.append, backoff, stop or Stop())

    def put(self, entry):
        for number in range(entry.chunks):
            text = f"{entry.record.text} {number}"
            self.writer.put(entry, Chunk(entry.record.id, text, number), {"content": text})


def entry(name, chunks=1, before=0, text="text", earlier=None):
    made = Entry(record(name, text), text.encode(), before, earlier=earlier)
    made.begin(chunks)
    return made


def write(server, ledger, entries, **options):
    def work():
        written = Written(server, ledger, **options)
        with written.writer:
            for one in entries:
                written.put(one)
            written.writer.finish()
        return written

    return finishes(work)


def acknowledged(ledger):
    return {name: chunks for name, chunks, _ in ledger.records()}


def under_way(ledger):
    """Ids in notes that were not dropped."""
    rows = ledger._base.execute("select records from flight").fetchall()
    return {name for (records,) in rows for name, _ in json.loads(records)}


MANY = {f"r{number:02}": number % 7 + 1 for number in range(60)}


@contextmanager
def held(server, name):
    """Hold the request with this document back for the time of the block."""
    arrived, go = threading.Event(), threading.Event()

    def wait(names):
        if name in names and not arrived.is_set():
            arrived.set()
            go.wait(30)

    server.script = [wait] * 1000
    try:
        yield arrived
    finally:
        go.set()


class TestEveryRecordOnce:
    @pytest.mark.parametrize(
        "script",
        [
            [],
            [api_error(429)] * 5,
            [api_error(503), None, api_error(502), api_error(504)],
            [{"r00#0": BUSY, "r02#1": BUSY}, None, {"r10#1": {**BUSY, "status": 503}}] * 2,
            [UnreachableError("refused"), None, UnreachableError("refused")],
            [Lost(UnreachableError("cut")), None, Lost(UnreachableError("cut"))] * 3,
            [Short(-1), Short(-4), Short(1)] * 2,
            [lambda names: api_error(413) if len(names) > 1 else None] * 5,
        ],
        ids=["fine", "429", "503", "items", "away", "lost", "short", "413"],
    )
    def test_whatever_passes(self, server, ledger, script):
        server.script = list(script)
        written = write(server, ledger, [entry(name, chunks) for name, chunks in MANY.items()])
        assert server.script == []
        assert acknowledged(ledger) == MANY
        assert server.texts() == {f"{name}#{n}": f"text {n}" for name, chunks in MANY.items() for n in range(chunks)}
        assert (written.writer.written.records, written.writer.written.refused, written.dead) == (60, 0, [])
        assert written.writer.written.created + written.writer.written.updated == sum(MANY.values())
        assert under_way(ledger) == set()

    def test_requests_keep_to_their_bounds(self, server, ledger, monkeypatch):
        monkeypatch.setattr(bulk, "MAX_BYTES", 1000)
        big = [entry("big", 3, text="x" * 400), entry("huge", 1, text="x" * 5000), entry("a", 9)]
        write(server, ledger, big)
        assert max(map(len, server.requests)) == 4
        assert ["huge#0"] in server.requests
        assert sum(map(len, server.requests)) == 13

    def test_nothing(self, server, ledger):
        assert write(server, ledger, []).writer.written.records == 0
        assert server.requests == []

    def test_only_when_all_of_its_requests_are_answered(self, server, ledger):
        written = Written(server, ledger)

        def work():
            with written.writer:
                with held(server, "long#5") as arrived:
                    for one in (entry("long", 11), entry("a"), entry("b")):
                        written.put(one)
                    assert arrived.wait(10)
                    eventually(lambda: len(server.documents) == 8)  # the held request's are missing
                    eventually(lambda: "a" in acknowledged(ledger))
                    assert acknowledged(ledger) == {"a": 1}
                    assert under_way(ledger) == {"long", "a"}  # the note of a request is dropped as a whole
                written.writer.finish()

        finishes(work)
        assert acknowledged(ledger) == {"long": 11, "a": 1, "b": 1}
        assert under_way(ledger) == set()


class TestRefused:
    def test_one_chunk_of_several_is_one_dead_record(self, server, ledger):
        server.rule = lambda name, body: CONFLICT if name in ("b#1", "b#5", "b#6") else None
        written = write(server, ledger, [entry("a", 2), entry("b", 9), entry("c", 2)])
        (dead,) = written.dead
        assert (dead.record.id, dead.reasons) == ("b", ("failed to parse field [year]",) * 3)
        assert acknowledged(ledger) == {"a": 2, "c": 2}
        assert (written.writer.written.records, written.writer.written.refused) == (2, 1)
        assert under_way(ledger) == {"b"}  # some of it is there: the next run must not take it for nothing

    def test_by_the_contract_too(self, server, ledger):
        odd = Entry(record("odd", "text"), b"h")
        odd.begin(3)
        written = Written(server, ledger)

        def work():
            with written.writer:
                for number, text in enumerate(["fine", "\ud800", "fine"]):
                    written.writer.put(odd, Chunk("odd", text, number), {"content": text})
                written.put(entry("a"))
                written.writer.finish()

        finishes(work)
        assert [one.record.id for one in written.dead] == ["odd"]
        assert "cannot be written as JSON" in odd.reasons[0]
        assert acknowledged(ledger) == {"a": 1}

    def test_a_delete_may_be_refused(self, server, ledger):
        server.rule = lambda name, body: CONFLICT if body is None else None
        written = write(server, ledger, [entry("a", 1, before=2)])
        assert [one.record.id for one in written.dead] == ["a"]
        assert acknowledged(ledger) == {}


class TestShorter:
    def test_surplus_chunks_are_removed(self, server, ledger):
        write(server, ledger, [entry("a", 9), entry("b", 2)])
        written = write(server, ledger, [entry("a", 2, before=9), entry("b", 2, before=2)]).writer.written
        assert set(server.documents) == {"a#0", "a#1", "b#0", "b#1"}
        assert (written.removed, written.updated, written.created, written.records) == (7, 4, 0, 2)
        assert acknowledged(ledger) == {"a": 2, "b": 2}

    def test_what_is_not_there_is_no_matter(self, server, ledger):
        written = write(server, ledger, [entry("a", 1, before=4)]).writer.written
        assert (written.removed, written.created) == (0, 1)
        assert acknowledged(ledger) == {"a": 1}

    def test_it_is_not_acknowledged_before(self, server, ledger):
        server.documents = {f"a#{n}": {"content": "old"} for n in range(9)}
        server.script = [None, {"a#5": BUSY, "a#6": BUSY}]
        write(server, ledger, [entry("a", 2, before=9)])
        assert set(server.documents) == {"a#0", "a#1"}
        assert acknowledged(ledger) == {"a": 2}


class TestRepeated:
    @pytest.mark.parametrize("between", [0, 1, 3, 40])
    def test_the_last_one_wins(self, server, ledger, between):
        first, *others = [entry("a", 2, text="first"), *(entry(f"o{number}") for number in range(between))]
        last = entry("a", 2, 2, text="last", earlier=first)
        written = write(server, ledger, [first, *others, last, entry("b")])
        assert server.texts()["a#0"] == "last 0"
        assert ledger.known(["a"])["a"].hash == b"last"
        assert written.writer.written.records == between + 3

    def test_while_the_earlier_one_is_under_way(self, server, ledger):
        written, order = Written(server, ledger), []

        def work():
            with written.writer:
                first = entry("a", 4, text="first")
                written.put(first)
                written.put(entry("b"))
                assert arrived.wait(10)
                threading.Timer(0.1, lambda: (order.append("first answered"), go.set())).start()
                written.put(entry("a", 1, 4, text="last", earlier=first))
                order.append("last put")
                written.writer.finish()

        arrived, go = threading.Event(), threading.Event()
        server.script = [lambda names: (arrived.set(), go.wait(10), None)[2]]
        finishes(work)
        assert order == ["first answered", "last put"]
        assert server.texts() == {"a#0": "last 0", "b#0": "text 0"}
        assert acknowledged(ledger) == {"a": 1, "b": 1}


class TestFailure:
    def test_is_raised_where_records_are_put(self, server, ledger):
        server.script = [None, api_error(400, "illegal_argument_exception")]

        def endless():
            number = 0
            while True:
                yield entry(f"r{number}")
                number += 1

        with pytest.raises(BulkWriteError, match="illegal_argument_exception"):
            write(server, ledger, endless())
        rest = {name.removesuffix("#0") for name in server.documents}
        assert set(acknowledged(ledger)) == rest  # all that was acknowledged, and nothing else
        assert under_way(ledger).isdisjoint(rest)
        assert len(under_way(ledger)) >= 4

    def test_is_raised_at_the_end(self, server, ledger):
        server.script = [api_error(401)]
        with pytest.raises(BulkWriteError, match="401"):
            write(server, ledger, [entry("a")])

    def test_when_patience_is_over(self, server, ledger):
        server.rule = lambda name, body: BUSY if name == "b#0" else None
        with pytest.raises(BulkWriteError, match=r"takes no documents \(try 3\): queue full"):
            write(server, ledger, [entry("a"), entry("b")], backoff=Backoff(0.0005, 0.001, 3, patient=True))
        assert under_way(ledger) == {"a", "b"}

    def test_of_the_ledger(self, server, ledger, monkeypatch):
        def full(*given):
            raise LedgerError("the disk is full", "path")

        monkeypatch.setattr(ledger, "landed", full)
        with pytest.raises(LedgerError, match="the disk is full"):
            write(server, ledger, [entry(f"r{number}") for number in range(100)])
        assert len(server.documents) < 100

    def test_of_the_dead_letters(self, server, ledger):
        def too_many(entry):
            raise DeadLetterError("more than 0 dead letters")

        server.rule = lambda name, body: CONFLICT if name == "r9#0" else None
        with pytest.raises(DeadLetterError):
            write(server, ledger, [entry(f"r{number}") for number in range(100)], dead=too_many)
        assert {"r8", "r10", "r11"} <= set(acknowledged(ledger))  # the same request's
        assert "r9" not in acknowledged(ledger)
        assert "r9" not in under_way(ledger)  # nothing of it is there

    def test_of_the_dead_letters_leaves_the_figures_true(self, server, ledger):
        def too_many(entry):
            raise DeadLetterError("more than 0 dead letters")

        server.rule = lambda name, body: CONFLICT if name == "r1#0" else None
        written = Written(server, ledger, dead=too_many)
        with written.writer:
            for number in range(4):
                written.put(entry(f"r{number}"))
            with pytest.raises(DeadLetterError):
                written.writer.finish()
        done = written.writer.written
        assert (done.created, done.records, done.refused) == (3, 3, 1)

    def test_ends_the_pauses_of_other_requests(self, server, ledger):
        both = threading.Barrier(2)
        server.script = [
            lambda names: (both.wait(10), api_error(429))[1],
            lambda names: (both.wait(10), time.sleep(0.1), api_error(400))[2],
        ]
        started = time.monotonic()
        with pytest.raises(BulkWriteError, match="400"):
            write(server, ledger, [entry(f"r{number}") for number in range(8)], backoff=Backoff(60, 60, patient=True))
        assert time.monotonic() - started < 20

    def test_of_the_caller_ends_them_too(self, server, ledger):
        server.script = [api_error(429)] * 100
        written = Written(server, ledger, Backoff(60, 60, patient=True))

        def work():
            with written.writer:
                for number in range(4):
                    written.put(entry(f"r{number}"))
                written.writer._send()
                while not server.requests:
                    time.sleep(0.005)
                raise KeyboardInterrupt

        started = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            finishes(work)
        assert time.monotonic() - started < 20
        assert acknowledged(ledger) == {}

    def test_a_server_that_is_away_is_not_waited_for_once_the_end_is_asked_for(self, server, ledger, monkeypatch):
        monkeypatch.setattr(stopping, "GRACE", 0.2)
        server.script = [UnreachableError("refused")] * 1000
        stop = Stop()
        threading.Timer(0.3, stop.ask).start()
        started = time.monotonic()
        with pytest.raises(BulkWriteError, match="given up"):
            write(server, ledger, [entry("a")], backoff=Backoff(60, 60, patient=True), stop=stop)
        assert time.monotonic() - started < 20
        assert under_way(ledger) == {"a"}

    def test_nothing_more_is_sent_afterwards(self, server, ledger):
        """Requests that wait for their turn are given up, though the one that they wait for ends."""
        written = Written(server, ledger)
        arrived, go = threading.Event(), threading.Event()

        def wait(names):
            arrived.set()
            go.wait(10)

        server.script = [wait, wait]

        def work():
            with written.writer:
                for number in range(16):  # two are under way, two wait
                    written.put(entry(f"r{number:02}"))
                assert arrived.wait(10)
                threading.Timer(0.1, go.set).start()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            finishes(work)
        assert len(server.requests) == 2
        assert len(acknowledged(ledger)) == 8  # what was under way is still taken note of

    def test_of_any_kind_never_hangs(self, server, ledger):
        server.script = [TypeError("a bug")]
        with pytest.raises(TypeError, match="a bug"):
            write(server, ledger, [entry(f"r{number}") for number in range(100)])


class TestBounds:
    def test_put_waits_while_the_server_is_behind(self, server, ledger):
        go, put = threading.Event(), []
        server.script = [lambda names: go.wait(30) and None] * 1000
        written = Written(server, ledger)

        def work():
            with written.writer:
                for number in range(200):
                    written.put(entry(f"r{number:03}"))
                    put.append(number)
                written.writer.finish()

        threading.Timer(0.3, lambda: (counts.append(len(put)), go.set())).start()
        counts = []
        finishes(work)
        assert 16 <= counts[0] <= 4 * (2 + 2 + 2)  # under way, waiting, being filled
        assert put == list(range(200)), "and goes on once it is not"
        assert len(acknowledged(ledger)) == 200

    def test_nothing_is_kept_of_what_is_settled(self, server, ledger):
        server.rule = lambda name, body: CONFLICT if name == "r7#0" else None
        entries = [entry(f"r{number}", 3) for number in range(50)]
        writer = write(server, ledger, entries).writer
        assert all(one.settled and not one.requests for one in entries)
        assert (writer._open, writer._waiting) == (0, 0)
