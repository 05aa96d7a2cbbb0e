"""Letters of a job as they are replayed: by its format, its mapping of fields, and how its vectors came about."""

import json

import numpy as np
import pytest

from es_ingest.readers import FieldMapping
from es_ingest.readers.vectors import checked
from es_ingest.records import Malformed, ReadError, Record
from es_ingest.replay import JobLetters
from es_ingest.stream.dead_letters import DeadLetters, jobs_of


@pytest.fixture
def replayed(tmp_path):
    """Keeps items as the dead letters of a job, and gives them as they are replayed."""

    def call(job, *items, mapping=None, encodes=True):
        path = tmp_path / "dead.jsonl"
        path.unlink(missing_ok=True)
        letters = DeadLetters(path, job=job, mapping=mapping, run="2026-01-01")
        for item in items:
            letters.put(item, getattr(item, "reason", "refused"))
        letters.close()
        ((name, how),) = jobs_of(path).items()
        found = list(JobLetters(path, name, how, encodes=encodes))
        assert {time for time, _ in found} <= {"2026-01-01"}
        return [item for _, item in found]

    return call


MAPPING = FieldMapping(id="note", text=("history", "findings"), meta=("ward",)).to_dict()
ROW = {"note": 7, "history": "cough", "findings": "", "ward": "A", "secret": "x"}


def test_the_jobs_mapping_holds(replayed):
    (found,) = replayed("jsonl /a.jsonl", Malformed("a.jsonl:1", "bad", json.dumps(ROW)), mapping=MAPPING)
    assert found == Record("7", "", "cough", {"ward": "A"}, "a.jsonl:1")


@pytest.mark.parametrize("job", ["jsonl /a.jsonl", "csv /a.csv"])
def test_a_row_may_be_mended_as_json_of_its_own(tmp_path, job):
    path = tmp_path / "dead.jsonl"
    row = {"note": "7", "history": "cough", "findings": "", "ward": "A"}
    letter = {"position": "a:1", "reason": "bad", "raw": row, "job": job, "mapping": MAPPING}
    path.write_text(json.dumps(letter), "utf-8")
    assert [item for _, item in JobLetters(path, job, MAPPING, encodes=True)] == [
        Record("7", "", "cough", {"ward": "A"}, "a:1")
    ]
    path.write_text(json.dumps(letter | {"raw": 7}), "utf-8")
    ((_, found),) = JobLetters(path, job, MAPPING, encodes=True)
    assert (type(found), found.raw) == (Malformed, "7")
    path.write_text(json.dumps(letter | {"mapping": 5}), "utf-8")
    with pytest.raises(ReadError, match="its mapping is not an object"):
        jobs_of(path)


def test_a_row_that_is_not_mended_stays_dead_as_it_is(replayed):
    row = Malformed("a.jsonl:1", "empty text", json.dumps(ROW | {"history": ""}))
    (found,) = replayed("jsonl -", row, mapping=MAPPING)
    assert (found, found.raw) == (row, row.raw)


def test_what_is_no_row_keeps_what_there_is_of_it(replayed):
    row = Malformed("a.csv:3", "a quote that opens in line 3 is never closed", '7,"note')
    (found,) = replayed("csv /a.csv", row)
    assert found.reason.endswith("make it an object of all column names and their cells, or mend the source")
    assert (found.position, found.raw) == (row.position, row.raw)


@pytest.mark.parametrize("job", ["medquad /a.xml", "text /a", "my own", ""])
@pytest.mark.parametrize("raw", [None, '{"id": "7", "text": "x"}'])
def test_what_no_reader_reads_again_stays_dead_and_says_what_to_do(replayed, job, raw):
    row = Malformed("a.xml", "not well-formed", raw)
    (found,) = replayed(job, row)
    why = "its job names no format that is known; " if job in ("my own", "") else ""
    assert found == Malformed("a.xml", f"not well-formed; {why}mend the source and run its command again")
    assert found.raw == raw
    assert replayed(job, found) == [found], "said once"


def test_vectors_of_a_field_are_scaled_as_the_job_scales_them(replayed):
    mapping = FieldMapping(vector="v").to_dict() | {"normalise": True}
    row = Malformed("a.jsonl:1", "bad", '{"id": 7, "text": "x", "v": [3, 4]}')
    (found,) = replayed("jsonl /a.jsonl", row, mapping=mapping, encodes=False)
    np.testing.assert_allclose(found.vector, [0.6, 0.8])
    (found,) = replayed("jsonl /a.jsonl", row, mapping=FieldMapping(vector="v").to_dict(), encodes=False)
    np.testing.assert_array_equal(found.vector, [3, 4])


def test_a_vector_that_does_not_fit_is_kept_with_its_record(replayed):
    records = [Record(f"r{n}", "T", "x", {"k": 1}, "a.jsonl:1", np.ones(n, np.float32)) for n in (2, 3)]
    *_, letter = checked(records)
    (found,) = replayed("jsonl /a.jsonl", letter, mapping=FieldMapping(vector="vector").to_dict(), encodes=False)
    assert (found.id, found.title, found.meta, len(found.vector)) == ("r3", "T", {"k": 1}, 3)


def test_a_vector_that_is_in_a_file_cannot_be_had(replayed):
    row = Malformed("a.jsonl:1", "bad", '{"id": 7, "text": "x"}')
    (found,) = replayed("jsonl /a.jsonl", row, encodes=False)
    assert found.reason == "its vector is in a file beside the source; mend the source and run its command again"
    assert found.raw == row.raw
