"""What a run holds at a time: bounded by weight, whatever of a record it is that weighs."""

import time
import weakref
from itertools import islice

import numpy as np
import pytest

from es_ingest.records import Record
from es_ingest.stream.content import weight
from es_ingest.stream.intake import _WEIGHT_TOGETHER, Intake
from medte_haystack.index import bulk

MEGABYTE = 1 << 20


class Text(str):
    """Text whose end can be noticed."""


@pytest.fixture
def held():
    """Counts texts that are alive, and the most that were."""

    class Held:
        now = most = 0

        def text(self):
            self.now += 1
            self.most = max(self.most, self.now)
            made = Text("x" * MEGABYTE)
            weakref.finalize(made, self.end)
            return made

        def end(self):
            self.now -= 1

    return Held()


def slowly(names):
    time.sleep(0.01)  # the server is what is behind; how far is not looked at


@pytest.mark.parametrize("vectors", [True, False], ids=["ready-made", "encoded"])
@pytest.mark.parametrize("where", ["title", "metadata", "nested metadata"])
def test_records_that_weigh_by_title_or_metadata_do_not_pile_up(job, held, monkeypatch, where, vectors):
    monkeypatch.setattr(bulk, "MAX_COUNT", 1)

    def records():
        for number in range(150):
            big = held.text()
            title = big if where == "title" else ""
            meta = {"title": {}, "metadata": {"note": big}}.get(where, {"notes": [{"text": big}]})
            yield Record(f"r{number}", title, "text", meta, "here", np.array([1, 0], np.float32))

    job.server.script = [slowly] * 150
    summary = job.run(records(), vectors=vectors)
    assert (summary.records, summary.failed) == (150, 0)
    # 10 groups, the encoder's window of 5, 10 that it has made, 8 requests and 3 that wait, and some that are settled.
    assert held.most <= 40


def test_a_group_weighs_little(job):
    record = Record("a", "t" * 100_000, "x", {"n": "m" * 100_000}, "here")
    assert weight(record) == 100_000 + 1 + 100_008
    with job.open() as ledger:
        intake = Intake(None, ledger, None, job.summary)
        groups = intake.groups(Record(str(n), record.title, "x", record.meta, "here") for n in range(10))
        assert [len(group) for group in islice(groups, 3)] == [2, 2, 2]
    assert 2 * weight(record) > _WEIGHT_TOGETHER > weight(record)


@pytest.mark.parametrize("value", ["\ud800", 2**70, {1: "a"}, np.arange(3)])
def test_anything_has_a_weight(value):
    assert weight(Record("a", "", "text", {"odd": value}, "here")) > 10


def test_the_encoder_is_told_what_is_kept_beside_the_texts(job):
    records = [Record(f"r{n}", "title", "one|two|three", {"kind": "note"}, "here") for n in range(4)]
    job.run(records)
    assert job.encoder.beside == 4 * (len("title") + len('{"kind":"note"}')), "once a record, not once a chunk"
