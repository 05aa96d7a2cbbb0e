"""The stream from records to acknowledged chunks: nothing lost, nothing twice, and the summary true."""

import gc
import threading
import time
import weakref

import numpy as np
import pytest
from elasticsearch import ConnectionError as UnreachableError

from es_ingest.records import Deleted, Malformed, ReadError, Record
from es_ingest.stream import ahead, intake
from es_ingest.stream.dead_letters import DeadLetterError
from es_ingest.stream.stopping import Stop
from medte_haystack.errors import BulkWriteError
from medte_haystack.index import bulk
from tests.stream.fakes import BUSY, CONFLICT, Lost, Short, api_error, eventually, record, with_vector


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Small groups and requests, so that few records make many of them."""
    monkeypatch.setattr(bulk, "MAX_COUNT", 4)
    monkeypatch.setattr(intake, "_TOGETHER", 3)
    monkeypatch.setattr(ahead, "_LOOK", 0.01)


def texts(*records):
    """What an index that holds these records holds."""
    return {f"{one.id}#{n}": part for one in records for n, part in enumerate(one.text.split("|"))}


def adds_up(summary):
    return summary.read == summary.unchanged + summary.records + summary.failed


MANY = [
    record(f"r{number:02}", "|".join(f"part {n} of {number}" for n in range(number % 6 + 1))) for number in range(40)
]


class TestEveryRecordOnce:
    @pytest.mark.parametrize(
        "script",
        [
            [],
            [api_error(429), None, api_error(503)] * 4,
            [{"r00#0": BUSY, "r01#1": BUSY, "r02#2": {**BUSY, "status": 503}}] * 3,
            [Lost(UnreachableError("cut")), None, UnreachableError("refused")] * 4,
            [Short(-1), Short(-4), Short(2)] * 3,
        ],
        ids=["fine", "requests", "items", "lost", "short"],
    )
    def test_whatever_passes(self, job, script):
        job.server.script = list(script)
        summary = job.run(MANY)
        assert job.server.texts() == texts(*MANY)
        assert job.acknowledged() == {one.id: one.text.count("|") + 1 for one in MANY}
        assert (summary.read, summary.records, summary.failed) == (40, 40, 0)
        assert summary.chunks == len(job.server.documents) == summary.written
        assert adds_up(summary)
        assert job.letters() == []

    def test_with_vectors_of_their_own(self, job):
        records = [with_vector(f"r{number}", f"text|{number}") for number in range(20)]
        summary = job.run(records, vectors=True)
        assert job.server.texts() == {f"{one.id}#0": one.text for one in records}  # they are never split
        assert job.server.documents["r7#0"]["embedding"] == [1.0, 0.0]
        assert (summary.records, summary.chunks, summary.tokens) == (20, 20, 0)

    def test_nothing(self, job):
        summary = job.run([])
        assert (summary.read, summary.records, job.server.requests) == (0, 0, [])


class TestAgain:
    def test_what_did_not_change_is_neither_encoded_nor_written(self, job):
        job.run(MANY)
        job.server.requests.clear()
        summary = job.run(MANY)
        assert (summary.unchanged, summary.records, summary.chunks) == (40, 0, 0)
        assert adds_up(summary)
        assert (job.server.requests, job.encoder.stats.texts) == ([], 0)

    def test_what_changed_is_written(self, job):
        job.run(MANY)
        changed = [record("r05", "now short"), record("r06", "now|long|er"), record("new", "one")]
        summary = job.run([*MANY[:5], *changed, *MANY[7:]])
        assert job.server.texts() == texts(*MANY[:5], *changed, *MANY[7:])
        assert (summary.unchanged, summary.records) == (38, 3)
        assert (summary.created, summary.updated, summary.removed) == (3, 2, 5)
        assert job.acknowledged()["r05"] == 1

    def test_what_was_under_way_is_written_though_it_did_not_change(self, job):
        job.run(MANY)
        with job.open() as ledger:
            ledger.sending([("r03", 9)])  # by a run that was killed
        job.server.documents |= {"r03#0": {"content": "of that run"}, "r03#8": {"content": "of that run"}}
        left = []
        summary = job.run(MANY, look=lambda stream: left.append(stream.unsettled))
        assert left == [{}]
        assert (summary.records, summary.unchanged, summary.removed) == (1, 39, 1)
        assert job.server.texts() == texts(*MANY)

    def test_what_was_under_way_and_is_not_met_is_told(self, job):
        with job.open() as ledger:
            ledger.sending([("gone", 2), ("r00", 1)])
        left = []
        job.run(MANY, look=lambda stream: left.append(dict(stream.unsettled)))
        assert left == [{"gone": 2}]


class TestRepeated:
    """The last one of an id counts."""

    @pytest.mark.parametrize("between", [0, 1, 2, 5, 100])
    @pytest.mark.parametrize(
        ("first", "last"), [("a|b|c|d|e|f", "z"), ("z", "a|b|c|d|e|f"), ("a|b", "y|z"), ("same", "same")]
    )
    def test_in_one_run(self, job, between, first, last):
        others = [record(f"o{number}", "other") for number in range(between)]
        summary = job.run([record("a", first), *others, record("a", last), record("z", "end")])
        assert job.server.texts() == texts(*others, record("a", last), record("z", "end"))
        assert job.acknowledged()["a"] == last.count("|") + 1
        assert summary.repeated == 1
        assert adds_up(summary)
        assert job.run([*others, record("a", last)]).unchanged == between + 1

    @pytest.mark.parametrize("between", [0, 2, 50])
    def test_that_ends_as_the_index_has_it(self, job, between):
        others = [record(f"o{number}", "other") for number in range(between)]
        job.run([record("a", "as it was|2"), *others])
        job.run([record("a", "changed|3|4"), *others, record("a", "as it was|2")])
        assert job.server.texts() == texts(*others, record("a", "as it was|2"))

    def test_many_times(self, job):
        versions = [record("a", "|".join("x" * (number % 5 + 1))) for number in range(60)]
        summary = job.run([*versions, record("a", "last")])
        assert job.server.texts() == {"a#0": "last"}
        assert (summary.read, summary.repeated) == (61, 60)
        assert adds_up(summary)

    @pytest.mark.parametrize("between", [0, 3, 50])
    @pytest.mark.parametrize("last", ["good", "good|better", "as it was"])
    def test_after_one_that_was_refused_in_part(self, job, between, last):
        job.run([record("a", "as it was")])
        job.server.rule = lambda name, body: CONFLICT if body and body["content"] == "bad" else None
        others = [record(f"o{number}", "other") for number in range(between)]
        summary = job.run([record("a", "1|bad|3|4|5"), *others, record("a", last)])
        assert job.server.texts() == texts(*others, record("a", last))
        assert job.acknowledged()["a"] == last.count("|") + 1
        assert (summary.refused, summary.repeated) == (1, 1)
        assert adds_up(summary)

    def test_with_the_earlier_one_still_under_way(self, job):
        go, arrived = threading.Event(), threading.Event()
        job.server.script = [lambda names: (arrived.set(), go.wait(10), None)[2]]

        def items():
            yield record("a", "1|2|3|4")
            yield from [record(f"o{number}", "other") for number in range(3)]
            assert arrived.wait(10)
            threading.Timer(0.1, go.set).start()
            yield record("a", "last")

        job.run(items())
        assert {name: text for name, text in job.server.texts().items() if name[0] == "a"} == {"a#0": "last"}


class TestDeleted:
    @pytest.mark.parametrize("between", [0, 1, 50])
    def test_the_last_word_counts(self, job, between):
        others = [record(f"o{number}", "other") for number in range(between)]
        gone = [Deleted(name, "here") for name in ("a", "b", "c")]
        left = []
        items = [record("a", "1"), *others, *gone, *others, record("b", "1"), record("c", "1"), Deleted("c", "here")]
        summary = job.run(items, look=lambda stream: left.append(set(stream.deleted)))
        assert left == [{"a", "c"}]
        assert (summary.read, summary.failed) == (3 + 2 * between, 0)
        assert adds_up(summary)


class TestRefused:
    def test_one_chunk_of_several_makes_one_dead_letter(self, job):
        job.server.rule = lambda name, body: CONFLICT if name in ("r11#2", "r11#4", "r20#0") else None
        summary = job.run(MANY)
        assert sorted((one["record"]["id"], one["reason"]) for one in job.letters()) == [
            ("r11", "failed to parse field [year]"),
            ("r20", "failed to parse field [year]"),
        ]
        assert {"r11", "r20"}.isdisjoint(job.acknowledged())
        assert len(job.acknowledged()) == 38
        assert (summary.records, summary.refused, summary.failed) == (38, 2, 2)
        assert adds_up(summary)

    def test_it_is_tried_again_by_the_next_run(self, job):
        job.server.rule = lambda name, body: CONFLICT if name == "r11#2" else None
        job.run(MANY)
        job.server.rule = lambda name, body: None
        summary = job.run(MANY)
        assert (summary.records, summary.unchanged) == (1, 39)
        assert job.server.texts() == texts(*MANY)

    def test_what_is_there_of_it_is_told(self, job):
        job.server.rule = lambda name, body: CONFLICT if name == "r11#2" else None
        left = []
        job.run(MANY, look=lambda stream: left.append(dict(stream.unsettled)))
        assert left == [{"r11": 6}]

    @pytest.mark.parametrize("versions", [("1", "bad"), ("1|2", "bad|bad"), ("1", "bad|bad")])
    def test_of_one_that_was_refused_in_whole_the_earlier_version_stays(self, job, versions):
        good, bad = (record("a", text) for text in versions)
        job.run([good])
        job.server.rule = lambda name, body: CONFLICT if body and body["content"] == "bad" else None
        left = []
        summary = job.run([bad], look=lambda stream: left.append(dict(stream.unsettled)))
        assert (summary.refused, left, job.server.texts()) == (1, [{}], texts(good))
        again = job.run([good])
        assert again.unchanged == 1

    def test_of_one_that_was_refused_in_part_it_does_not(self, job):
        job.run([record("a", "1|2|3")])
        job.server.rule = lambda name, body: CONFLICT if body and body["content"] == "bad" else None
        left = []
        job.run([record("a", "bad")], look=lambda stream: left.append(dict(stream.unsettled)))  # 2 and 3 are removed
        assert left == [{"a": 3}]
        again = job.run([record("a", "bad")], look=lambda stream: left.append(dict(stream.unsettled)))
        assert (again.refused, left[1]) == (1, {"a": 3})
        assert job.run([record("a", "1|2|3")]).records == 1

    def test_rows_that_are_no_records(self, job):
        rows = [Malformed(f"here:{number}", "no text", "raw") for number in range(2)]
        summary = job.run([rows[0], *MANY[:5], rows[1]])
        assert [(one["position"], one["raw"]) for one in job.letters()] == [("here:0", "raw"), ("here:1", "raw")]
        assert (summary.malformed, summary.failed, summary.records) == (2, 2, 5)
        assert adds_up(summary)

    @pytest.mark.parametrize(
        ("vector", "why"), [(None, "brings no vector"), ((1, 0, 0), "has 3 dimensions"), ((3, 4), "has length 5")]
    )
    def test_vectors_that_do_not_fit(self, job, vector, why):
        array = None if vector is None else np.array(vector, np.float32)
        odd = Record("odd", "", "text", {}, "here", array)
        summary = job.run([with_vector("a"), odd, with_vector("b")], vectors=True)
        (letter,) = job.letters()
        assert why in letter["reason"]
        assert job.acknowledged() == {"a": 1, "b": 1}
        assert (summary.refused, summary.records) == (1, 2)
        assert adds_up(summary)

    @pytest.mark.parametrize(
        "odd",
        [
            record("odd", "a \ud800"),
            record("\ud800", "text"),
            record("odd", "text", year=2**70),
            record("odd", "text", note="\udfff"),
            record("odd", "  \n"),
        ],
        ids=["text", "id", "integer", "metadata", "blank"],
    )
    def test_what_elasticsearch_cannot_take(self, job, odd):
        for _ in range(2):
            summary = job.run([record("a", "1|2"), odd, record("b", "3")])
            assert job.acknowledged() == {"a": 2, "b": 1}
            assert (summary.refused, summary.records + summary.unchanged) == (1, 2)
            assert adds_up(summary)
        assert [one["record"]["id"] for one in job.letters()] == [odd.id] * 2

    def test_too_many_end_the_run(self, job):
        job.server.rule = lambda name, body: CONFLICT if name[1:3] in ("05", "15", "25") else None
        with pytest.raises(DeadLetterError, match="more than 2 dead letters"):
            job.run(MANY, max_dead=2)
        assert len(job.letters()) == 3
        with pytest.raises(DeadLetterError, match="more than 0 dead letters"):  # found by the thread that reads
            job.run([Malformed("here", "no text"), *MANY], max_dead=0)


class TestSourceThatBreaksOff:
    @pytest.mark.parametrize("before", [0, 1, 3, 4, 20])
    @pytest.mark.parametrize("vectors", [True, False])
    def test_what_came_before_is_written(self, job, before, vectors):
        records = [with_vector(f"r{number}") for number in range(before)]

        def items():
            yield from records
            raise ReadError("corpus.jsonl", "is cut off")

        with pytest.raises(ReadError, match="is cut off"):
            job.run(items(), vectors=vectors)
        assert set(job.acknowledged()) == {one.id for one in records}
        assert (job.summary.read, job.summary.records) == (before, before)


class TestFailure:
    def test_goes_on_where_it_stopped(self, job):
        job.server.script = [None, None, None, api_error(400, "a bug of the server")]
        with pytest.raises(BulkWriteError, match="a bug of the server"):
            job.run(MANY)
        done = job.acknowledged()
        assert 0 < len(done) < 40
        assert job.summary.records == len(done)
        with job.open() as ledger:
            again = ledger.unsettled().keys() & done  # what shared a request with one that is not done
        summary = job.run(MANY)
        assert (summary.unchanged, summary.records) == (len(done) - len(again), 40 - len(done) + len(again))
        assert job.server.texts() == texts(*MANY)

    def test_the_summary_counts_what_lands_meanwhile(self, job):
        """A request that was under way when another one failed is acknowledged, and counted."""
        failed = threading.Event()

        def answer(names):
            if "r00#0" not in names:
                failed.set()
                return api_error(400)
            failed.wait(10)
            time.sleep(0.2)
            return None

        job.server.script = [answer] * 100
        with pytest.raises(BulkWriteError):
            job.run(MANY)
        assert job.summary.records == len(job.acknowledged()) > 0
        assert job.summary.written == len(job.server.documents)

    def test_of_the_source_itself(self, job):
        def items():
            yield from MANY[:10]
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            job.run(items())
        assert job.summary.records == len(job.acknowledged())


class TestStop:
    @pytest.mark.parametrize("after", [0, 1, 7, 39])
    def test_in_the_middle(self, job, after):
        stop = Stop()

        def items():
            for number, one in enumerate(MANY):
                if number == after:
                    stop.ask()
                yield one

        summary = job.run(items(), stop=stop)
        assert summary.interrupted
        done = job.acknowledged()
        assert job.server.texts() == texts(*[one for one in MANY if one.id in done])  # whole records
        assert (summary.records, len(done)) == (len(done), summary.records)
        summary = job.run(MANY)
        assert (summary.unchanged, summary.records, summary.interrupted) == (len(done), 40 - len(done), False)
        assert job.server.texts() == texts(*MANY)

    def test_while_the_source_gives_nothing(self, job, monkeypatch):
        monkeypatch.setattr(ahead, "_PATIENCE", 0.05)
        stop, gone = Stop(), threading.Event()

        def items():
            yield from MANY[:9]
            threading.Timer(0.2, stop.ask).start()
            gone.wait(30)

        summary = job.run(items(), stop=stop)
        gone.set()
        assert summary.interrupted
        assert len(job.acknowledged()) == 6  # the last three wait for what comes next

    def test_while_the_server_is_busy(self, job):
        stop = Stop()
        job.server.script = [lambda names: (stop.ask(), api_error(429))[1], api_error(429)]
        summary = job.run(MANY, stop=stop)
        assert summary.interrupted
        assert summary.records == len(job.acknowledged()) > 0


class TestMemory:
    @staticmethod
    def counted(job, number, most):
        """Give records as the server keeps up with them, and note how many vectors are alive now and then."""
        alive = []
        for n in range(number):
            one = with_vector(f"r{n}")
            alive.append(weakref.ref(one.vector))
            yield one
            if n % 250 == 249:
                eventually(lambda least=n - 100: len(job.server.documents) > least)
                gc.collect()
                most.append(sum(found() is not None for found in alive))

    def test_one_request_that_takes_long_does_not_keep_the_others(self, job):
        go, most = threading.Event(), []
        job.server.script = [lambda names: go.wait(30) and None]

        def items():
            yield from self.counted(job, 1000, most)
            go.set()

        job.run(items(), vectors=True)
        assert max(most) < 200
        assert len(job.acknowledged()) == 1000

    def test_what_is_written_is_let_go_of_long_before_its_entry(self, job, monkeypatch):
        monkeypatch.setattr(intake, "_TOGETHER", 1000)  # entries are kept that long
        monkeypatch.setattr(intake, "_WEIGHT_TOGETHER", 5)
        kept, most = [], []
        look = lambda stream: kept.extend(stream._intake._preparing.values())  # noqa: E731
        job.run(self.counted(job, 900, most), vectors=True, look=look)
        assert len(kept) == 900
        assert max(most) < 200
