"""Runs on two workers, on a real server."""

import gc
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest

from es_ingest.cluster import Connection
from es_ingest.distributed.engine import RayEngine
from es_ingest.distributed.errors import EngineError
from es_ingest.distributed.messages import Destination, Recipe
from es_ingest.ingest import Ingester
from es_ingest.records import Deleted, Malformed, ReadError, Record
from es_ingest.stream.dead_letters import DeadLetterError
from es_ingest.stream.entries import Entry
from es_ingest.stream.stopping import Stop
from medte_haystack.errors import BulkWriteError
from medte_haystack.index import Fingerprint
from medte_haystack.index.bulk import Backoff

MADE_UP = Fingerprint(model="made-up", dim=16, pooling="mean")

_SENTENCE = "The patient with number {} was given {} milligrams of aspirin for a headache."


def documents(count):
    """Return records of one to six chunks."""
    return [
        Record(
            f"d{number}",
            f"Note {number}",
            " ".join(_SENTENCE.format(number, dose) for dose in range(1 + number % 7)),
            {"year": 2000 + number % 5},
            f"made:{number}",
        )
        for number in range(count)
    ]


def test_a_run_equals_the_local_engines(ingest, stored, encoder, index, client):
    records = documents(150)
    far = ingest(records, encoder=encoder, encoding=2)
    try:
        near = ingest(records, encoder=encoder, engine="local", name=f"{index}-local")
        mine, others = stored(), stored(f"{index}-local")
    finally:
        client.options(ignore_status=404).indices.delete(index=f"{index}-local")
    same = ("read", "unchanged", "records", "chunks", "written", "created", "updated", "failed", "tokens", "truncated")
    assert {name: getattr(far, name) for name in same} == {name: getattr(near, name) for name in same}
    assert far.chunks > far.records == 150
    assert far.encode_seconds > 0
    assert far.fingerprint == near.fingerprint
    assert mine.keys() == others.keys()
    for name, source in others.items():
        assert np.dot(mine[name].pop("embedding"), source.pop("embedding")) == pytest.approx(1, abs=1e-5)
        assert mine[name] == source

    again = ingest(records, encoder=encoder)
    assert (again.unchanged, again.records, again.tokens, again.written) == (150, 0, 0, 0)

    shrunk = replace(records[6], text=_SENTENCE.format(6, 1))
    changed = replace(records[0], text="Another text.")
    third = ingest([changed, *records[1:6], shrunk, *records[7:]], encoder=encoder)
    assert (third.unchanged, third.records, third.created) == (148, 2, 0)
    assert third.removed > 0
    after = stored()
    assert after["d0#0"]["content"] == "Another text."
    assert after.keys() == mine.keys() - {f"d6#{number}" for number in range(1, 7)}
    assert third.removed == len(mine) - len(after)


def test_of_records_with_one_id_the_last_counts(ingest, stored, made):
    records = [made(number) for number in range(300)]
    repeated = [made(5, "The second."), made(6), made(5, "The third.")]
    summary = ingest([*records, *repeated])
    assert summary.repeated == 3
    assert summary.read == 303 == summary.records + summary.unchanged
    found = stored()
    assert len(found) == 300
    assert found["r5#0"]["content"] == "The third."


def test_what_is_refused_is_a_dead_letter_and_what_is_missing_is_removed(ingest, stored, made, tmp_path, index):
    records = [made(number, year=2000) for number in range(60)]
    odd = made(61, year={"an": "object"})
    malformed = Malformed("made:62", "no JSON", "{")
    unfit = replace(made(63), vector=None)
    summary = ingest([*records, odd, malformed, unfit, made(64, year=2001)])
    assert (summary.read, summary.records, summary.failed) == (64, 61, 3)
    assert (summary.malformed, summary.refused) == (1, 2)
    letters = [json.loads(line) for line in (tmp_path / f"{index}.dead.jsonl").read_text().splitlines()]
    assert {letter["position"] for letter in letters} == {"made:61", "made:62", "made:63"}
    assert stored().keys() == {f"r{number}#0" for number in [*range(60), 64]}

    with pytest.raises(DeadLetterError, match="more than 2 dead letters"):
        ingest([*records, *(made(number, year={"an": "object"}) for number in range(70, 80))], max_dead=2)

    summary = ingest(records[10:], delete_missing=True)
    assert (summary.unchanged, summary.records, summary.missing) == (50, 0, 11)
    assert stored().keys() == {f"r{number}#0" for number in range(10, 60)}


def test_what_the_sources_delete_is_removed_at_the_end(ingest, stored, made):
    ingest([made(number) for number in range(20)])
    gone = [Deleted(f"r{number}", "made") for number in (3, 25, 99)]
    summary = ingest(
        [*(made(number) for number in range(20, 30)), *gone, Deleted("r4", "made"), made(4, "Back.")], job="b"
    )
    assert (summary.deleted, summary.removed, summary.records) == (2, 2, 11)
    assert stored().keys() == {f"r{number}#0" for number in range(30) if number not in (3, 25)}


def test_workers_that_are_killed_and_a_source_that_breaks_off_lose_nothing(ingest, stored, made, pids):
    killed = {}

    def watch(summary):
        for stage, after in (("Encode", 256), ("Write", 3_000)):
            if stage not in killed and summary.records >= after:
                killed[stage] = pids(f"MapBatches({stage})")
                for pid in killed[stage]:
                    os.kill(pid, signal.SIGKILL)

    def broken():
        yield from (made(number) for number in range(9_000))
        raise ReadError("made", "breaks off")

    with pytest.raises(ReadError):
        ingest(broken(), watch=watch, encoding=2)
    assert killed["Encode"]
    assert killed["Write"]
    assert stored().keys() == {f"r{number}#0" for number in range(9_000)}
    again = ingest(made(number) for number in range(9_000))
    assert (again.unchanged, again.written) == (9_000, 0)


def test_a_run_that_shall_end_drains(ingest, stored, made):
    stop = Stop()

    def watch(summary):
        if summary.records >= 500:
            stop.ask()

    first = ingest((made(number) for number in range(20_000)), stop=stop, watch=watch)
    assert first.interrupted
    assert 500 <= first.records < 6_000
    second = ingest([made(number) for number in range(6_000)], engine="local")
    assert (second.unchanged, second.records) == (first.records, 6_000 - first.records)
    assert len(stored()) == 6_000


def test_an_index_that_is_gone_ends_the_run(ingest, client, index, made):
    def watch(summary):
        if summary.records >= 256:
            client.options(ignore_status=404).indices.delete(index=index)

    client.cluster.put_settings(persistent={"action.auto_create_index": False})
    try:
        with pytest.raises(BulkWriteError, match="are not acknowledged"):
            ingest((made(number) for number in range(50_000)), watch=watch)
    finally:
        client.cluster.put_settings(persistent={"action.auto_create_index": None})


def test_another_model_on_a_worker_ends_the_run(ingest, client, connection, workers, index, encoder):
    ingester = Ingester(client, index, encoder, chunk_tokens=32)
    cluster = RayEngine(replace(workers, number=1), connection, "minilm", encoder, "fp32", None)
    other = replace(ingester.fingerprint, weights_sha256="0" * 64)
    with pytest.raises(EngineError, match=r"a worker on .* has weights_sha256 '53aa5117.*, the driver '0000"):
        ingest(documents(5), encoder=encoder, stream=cluster.stream(other))


def test_what_ray_data_knows_of_a_job(workers):
    """It logs what a stage is made with, and the workers it asks for."""
    from ray.data._internal.metadata_exporter import sanitize_for_struct

    from es_ingest.distributed.job import Job  # which imports Ray

    recipe = Recipe(MADE_UP, None, "cuda", "bf16", None, None, 0, 1)
    connection = Connection("http://localhost:1", "url", api_key="SECRET-KEY", basic_auth=("u", "SECRET-WORD"))
    with_secrets = Destination(connection, None, "unused", True, Backoff())
    assert "SECRET" in repr(sanitize_for_struct({"destination": with_secrets}))  # or the next lines prove nothing
    job = Job(replace(workers, device="cuda"), recipe, with_secrets)
    try:
        stage, stages = job.dataset._logical_plan.dag, []
        while stage.input_dependencies:
            stages.append(stage)
            (stage,) = stage.input_dependencies
        write, encode = stages
        assert "SECRET" not in repr([sanitize_for_struct(one._get_args()) for one in stages])
        assert [one.ray_remote_args.get("num_gpus") for one in (encode, write)] == [1, None]
    finally:
        job.__exit__()


def test_earlier_versions_of_a_record_are_not_kept(ingest, stored):
    alive = []

    def look(summary):
        found = [one for one in gc.get_objects() if type(one) is Entry and one.record.id == "again"]
        alive.append(len(found))

    unit = np.eye(16, dtype=np.float32)
    versions = [Record("again", "", f"version {n}", {}, f"made:{n}", unit[n]) for n in range(6)]
    summary = ingest(versions, watch=look)
    assert (summary.records, summary.repeated) == (6, 5)
    assert stored()["again#0"]["content"] == "version 5"
    assert 0 < max(alive) <= 3
