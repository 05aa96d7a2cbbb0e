"""Records that are removed: what the server refuses, and what a kill leaves; against a server in memory."""

import pytest

from es_ingest.indices.removal import remove_records
from es_ingest.stream.stopping import Stop
from medte_haystack.errors import BulkWriteError
from medte_haystack.index.bulk import Backoff
from tests.stream.fakes import Job, Lost, api_error, record

RECORDS = [record("a", "one|two"), record("b", "three"), record("c", "four|five|six")]


@pytest.fixture
def job(tmp_path):
    made = Job(tmp_path)
    assert made.run(RECORDS).records == 3
    return made


def remove_all(job):
    """Remove what a job without any records no longer has; returns what is told of it."""
    told = []
    with job.open() as ledger:
        patient = Backoff(0.0005, 0.002, tries=1, patient=True)
        try:
            for one in remove_records(job.server, "i", ledger.missing(), ledger, patient, Stop()):
                told.append(one)  # noqa: PERF402  what comes before an error is kept
            ledger.settled()
        except BulkWriteError as error:
            return told, error
    return told, None


def test_the_ledger_forgets_what_is_gone(job):
    assert remove_all(job) == ([(3, 6)], None)
    assert (job.server.documents, job.acknowledged()) == ({}, {})
    with job.open() as ledger:
        assert ledger.unsettled() == {}


def test_what_the_server_refuses_to_remove_stays_in_the_ledger_and_is_told(job):
    item = {"status": 400, "error": {"type": "routing_missing_exception", "reason": "routing is required"}}
    job.server.rule = lambda name, body: item if body is None and name == "c#1" else None
    told, error = remove_all(job)
    assert told == [(2, 5)]
    assert "refuses to remove 1 chunks of 1 records, such as 'c#1': routing is required" in str(error)
    assert (job.server.documents.keys(), job.acknowledged()) == ({"c#1"}, {"c": 3})
    job.server.rule = lambda name, body: None
    assert remove_all(job) == ([(1, 1)], None)
    assert (job.server.documents, job.acknowledged()) == ({}, {})


@pytest.mark.parametrize("how", ["refused", "lost"])
def test_a_record_that_comes_back_after_it_was_removed_in_part_is_written_again(job, how):
    if how == "refused":
        item = {"status": 400, "error": {"type": "x"}}
        job.server.rule = lambda name, body: item if body is None and name == "c#1" else None
    else:  # carried out, and the process knows nothing of it
        job.server.script = [Lost(api_error(504))]
    _, error = remove_all(job)
    assert error is not None
    job.server.rule = lambda name, body: None
    summary = job.run(RECORDS)
    assert (summary.unchanged, summary.records) == (0, 3)
    assert job.server.texts() == {
        "a#0": "one", "a#1": "two", "b#0": "three", "c#0": "four", "c#1": "five", "c#2": "six"
    }  # fmt: skip
