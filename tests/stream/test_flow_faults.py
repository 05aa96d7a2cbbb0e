"""The stream killed at every request, and under faults drawn by chance: afterwards every record is there once."""

import random
import shutil
import threading

import pytest
from elasticsearch import ConnectionError as UnreachableError

from es_ingest.stream import ahead, intake
from es_ingest.stream.stopping import Stop
from medte_haystack.errors import BulkWriteError
from medte_haystack.index import bulk
from tests.stream.fakes import BUSY, CONFLICT, Job, Lost, Short, api_error, record


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(bulk, "MAX_COUNT", 4)
    monkeypatch.setattr(intake, "_TOGETHER", 3)
    monkeypatch.setattr(ahead, "_LOOK", 0.01)


def refuse_bad(name, body):
    return CONFLICT if body and body["content"].startswith("bad") else None


def draw(chance, names, run, *, bad=0.1):
    """Records of these ids in some order, a few of them several times with other contents."""
    drawn = []
    for name in chance.sample(names, len(names)) + chance.choices(names, k=len(names) // 4):
        kinds = ["bad" if chance.random() < bad else "part" for _ in range(chance.choice([1, 1, 2, 3, 7]))]
        drawn.append(record(name, "|".join(f"{kind} {n} {chance.choice([0, 0, run])}" for n, kind in enumerate(kinds))))
    return drawn


def check(job, records, left):
    """Check index, ledger and dead letters after an undisturbed run over the records.

    :param left: What the stream left unsettled.
    """
    last = {one.id: one.text.split("|") for one in records}
    good = {name: parts for name, parts in last.items() if not any(part.startswith("bad") for part in parts)}
    stored = job.server.texts()
    for name, parts in good.items():
        assert [stored.pop(f"{name}#{number}") for number in range(len(parts))] == parts
        assert not [other for other in stored if other.startswith(f"{name}#")]
    acknowledged = job.acknowledged()
    for name in {name.split("#")[0] for name in stored} - left.keys():  # refused, and not known to be there in part
        assert {f"{name}#{number}" for number in range(acknowledged[name])} == {
            other for other in stored if other.startswith(f"{name}#")
        }
    assert {name: acknowledged[name] for name in good} == {name: len(parts) for name, parts in good.items()}
    dead = {one["record"]["id"] for one in job.letters()}
    assert last.keys() - good.keys() <= dead
    summary = job.summary
    assert summary.read == summary.unchanged + summary.records + summary.failed
    assert len(job.letters()) == summary.refused


class Killed(Job):
    """Keeps ledger and index as a kill at each request would leave them: before it, and before its answer."""

    def __init__(self, folder):
        super().__init__(folder)
        self.folder = folder
        self.remains = []
        self.lock = threading.Lock()

    def photograph(self):
        folder = self.folder / f"killed-{len(self.remains)}"
        folder.mkdir()
        for file in self.folder.glob("ledger.sqlite*"):
            if not file.name.endswith(".lock"):
                shutil.copy(file, folder)
        self.remains.append((folder, dict(self.server.documents)))


class TestKilledAtEveryRequest:
    @pytest.mark.parametrize("seed", range(3))
    def test_the_next_run_completes_it(self, tmp_path, seed):
        chance = random.Random(seed)
        names = [f"r{number}" for number in range(12)]
        first = Killed(tmp_path)
        first.server.rule = refuse_bad
        first.run(draw(chance, names, 1))
        records = draw(chance, names, 2)

        watched = first.server.bulk

        def bulk(**given):
            with first.lock:  # one after the other, so that what is photographed goes together
                first.photograph()
                answer = watched(**given)
                first.photograph()
                return answer

        first.server.bulk = bulk
        first.run(records)
        assert len(first.remains) > 10
        for folder, documents in first.remains:
            again, left = Job(folder), {}
            again.server.documents, again.server.rule = documents, refuse_bad
            again.run(records, look=lambda stream, left=left: left.update(stream.unsettled))
            check(again, records, left)


class TestFaultsByChance:
    @pytest.mark.parametrize("seed", range(40))
    def test_runs_that_fail_stop_and_go_on(self, job, seed):
        chance = random.Random(seed)
        names = [f"r{number}" for number in range(chance.choice([3, 10, 30]))]
        job.server.rule = refuse_bad
        for run in range(chance.choice([1, 2, 4])):
            records = draw(chance, names, run)
            job.server.script = [self.fault(chance, records, fatal=0.05) for _ in range(60)]
            stop = Stop()
            items = self.stopping(records, stop, chance.randrange(len(records)) if chance.random() < 0.3 else None)
            try:
                job.run(items, stop=stop, tries=60)
            except BulkWriteError:
                assert job.summary.records <= len(records)
        job.dead.unlink(missing_ok=True)
        job.server.script = [self.fault(chance, records, fatal=0) for _ in range(60)]
        left = {}
        job.run(records, tries=100, look=lambda stream: left.update(stream.unsettled))
        check(job, records, left)
        good = [one for one in {one.id: one for one in records}.values() if "bad" not in one.text]
        job.run(good)  # once more, where an earlier version was refused
        assert job.run(good).unchanged == len(good)

    def fault(self, chance, records, fatal):
        if chance.random() < fatal:
            return api_error(400, "fatal")
        some = {f"{one.id}#{chance.randrange(3)}": BUSY for one in chance.sample(records, min(len(records), 5))}
        cut = UnreachableError("cut")
        return chance.choice([None, None, None, api_error(429), api_error(503), some, cut, Lost(cut), Short(-1)])

    def stopping(self, records, stop, at):
        for number, one in enumerate(records):
            if number == at:
                stop.ask()
            yield one
