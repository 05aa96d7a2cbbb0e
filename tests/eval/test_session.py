"""Several tasks on several systems: what is done is not done again, what fails is named, whatever kills it."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from elastic_transport import TransportError
from elasticsearch import Elasticsearch
from mteb.abstasks import AbsTask

from es_ingest.cluster import Connection
from es_ingest.faults import Exit
from es_ingest.records import ReadError
from medte_eval.session import Failure, Session, run_all
from medte_eval.systems import SystemOptions, find_systems
from medte_eval.systems.dense import DenseSystem
from medte_eval.systems.system import silent
from medte_eval.tasks.beir import BeirRetrieval
from medte_haystack.encoder import Encoder
from medte_haystack.errors import SearchError

from .conftest import evaluation_indices
from .small_tasks import Classification, Pairs

Run = Callable[..., list[dict[str, Any] | Failure]]


@pytest.fixture
def run(connection: Connection, encoder: Encoder, tmp_path: Path, client: Elasticsearch) -> Iterator[Run]:
    """Runs tasks on systems, results in `tmp_path / "out"`; each time as a new command would."""

    def start(
        tasks: list[AbsTask],
        systems: str,
        *,
        model: Encoder = encoder,
        fresh: bool = False,
        latency_queries: int = 0,
        **options: Any,
    ) -> list[dict[str, Any] | Failure]:
        given = SystemOptions(**options)
        with Session(connection.url, None, lambda _: model, given, silent) as session:
            every = [(task.metadata.name, lambda task=task: task) for task in tasks]
            chosen = find_systems(systems.split(","), given)
            kept: dict[str, Any] = {"out": tmp_path / "out", "fresh": fresh, "latency_queries": latency_queries}
            return list(run_all(every, chosen, session, **kept))

    yield start
    assert not evaluation_indices(client)


def reused(found: list[dict[str, Any] | Failure]) -> list[bool]:
    return [one["reused"] for one in found if isinstance(one, dict)]


def test_what_is_done_is_not_done_again(run: Run, beir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = [BeirRetrieval(beir), Pairs()]
    first = run(tasks, "encoder,dense")
    with monkeypatch.context() as patch:
        patch.setattr(DenseSystem, "find", None)
        again = run(tasks, "encoder,dense")

    assert reused(first) == [False] * 4
    assert reused(again) == [True] * 4
    assert [{**one, "reused": False} for one in again if isinstance(one, dict)] == first
    assert reused(run(tasks, "encoder,dense", fresh=True)) == [False] * 4


def test_other_settings_data_or_weights_are_another_result(
    run: Run, beir: Path, encoder: Encoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def once(**more: Any) -> list[bool]:
        return reused(run([BeirRetrieval(beir)], "dense", **more))

    assert once() == [False]
    assert once(quantisation="int8") == [True]  # the default
    assert once(quantisation="flat") == once(chunk_tokens=20) == once(oversample=2.0) == [False]
    assert once() == [True]

    other = Encoder.load("minilm", device="cpu", precision="fp32")
    monkeypatch.setattr(other, "files", replace(other.files, spec=replace(other.spec, revision="another")))
    with caplog.at_level(logging.WARNING):
        assert once(model=other) == [False]
    assert "all-MiniLM-L6-v2 (revision 8b3219a92973, now another); it is run again" in caplog.text
    with (beir / "corpus.jsonl").open("a") as corpus:
        corpus.write('\n{"_id": "new", "title": "", "text": "Something else."}\n')
    assert once() == [False]


@pytest.mark.parametrize("package", ["medte", "mteb"])
def test_a_result_of_another_version_is_made_again(
    run: Run, beir: Path, tmp_path: Path, package: str, caplog: pytest.LogCaptureFixture
) -> None:
    run([BeirRetrieval(beir)], "encoder")
    (file,) = (tmp_path / "out").glob("*.run.json")
    found = json.loads(file.read_text())
    file.write_text(json.dumps({**found, "versions": {**found["versions"], package: "0.0.1"}}))

    with caplog.at_level(logging.WARNING):
        assert reused(run([BeirRetrieval(beir)], "encoder")) == [False]
    assert f"its result was made by {package} 0.0.1" in caplog.text
    assert reused(run([BeirRetrieval(beir)], "encoder")) == [True]


def test_a_latency_that_is_asked_for_and_missing_is_measured(run: Run, beir: Path) -> None:
    tasks = [BeirRetrieval(beir), Pairs()]
    assert reused(run(tasks, "encoder")) == [False, False]
    assert reused(run(tasks, "encoder", latency_queries=2)) == [False, True]
    assert reused(run(tasks, "encoder", latency_queries=2)) == reused(run(tasks, "encoder")) == [True, True]


@pytest.mark.parametrize("harm", ["cut", "gone", "other"])
def test_a_result_that_is_not_whole_is_made_again(run: Run, beir: Path, tmp_path: Path, harm: str) -> None:
    (first,) = run([BeirRetrieval(beir)], "encoder")
    assert isinstance(first, dict)
    (file,) = (tmp_path / "out").glob("*.run.json")
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:100])
    elif harm == "gone":
        (tmp_path / "out" / first["files"]["items"]).unlink()
    else:
        file.write_text(json.dumps({**json.loads(file.read_text()), "key": "0" * 64}))

    assert reused(run([BeirRetrieval(beir)], "encoder")) == [False]
    assert reused(run([BeirRetrieval(beir)], "encoder")) == [True]


def test_a_task_that_fails_is_named_and_the_others_go_on(run: Run, beir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = BeirRetrieval(beir.parent / "nothing")
    found = run([missing, Classification(), BeirRetrieval(beir)], "bm25,encoder")

    data, refused, *done = found
    assert isinstance(data, Failure)
    assert (data.task, data.system, data.status) == ("nothing", None, Exit.SOURCE)
    assert isinstance(refused, Failure)
    assert (refused.task, refused.system, refused.status) == ("SmallClassification", "bm25", Exit.USAGE)
    assert [one["task"]["name"] for one in done if isinstance(one, dict)] == ["SmallClassification", "tiny", "tiny"]


def test_what_cannot_be_opened_later_is_a_failure_of_its_task(beir: Path, encoder: Encoder, tmp_path: Path) -> None:
    missing, tasks = BeirRetrieval(beir.parent / "nothing"), [Pairs(), Classification()]
    systems = find_systems(["dense", "encoder"], SystemOptions())

    def run(tasks: list[AbsTask]) -> list[dict[str, Any] | Failure]:
        away = Connection("http://localhost:1", "url", version="9.0.0")
        with Session(lambda: away, None, lambda _: encoder, SystemOptions(), silent) as session:
            return list(run_all([(one.metadata.name, lambda one=one: one) for one in tasks], systems, session))

    data, *found = run([missing, *tasks])

    assert isinstance(data, Failure)
    assert [(one.task, one.system, one.status, one.bug) for one in found if isinstance(one, Failure)] == [
        (task.metadata.name, "dense", Exit.CLUSTER, None) for task in tasks
    ]
    done = [(one["task"]["name"], one["system"]["name"]) for one in found if isinstance(one, dict)]
    assert done == [(task.metadata.name, "encoder") for task in tasks]
    with pytest.raises(TransportError):  # before anything is run
        run([*tasks])


def test_a_server_that_dies_ends_its_own_evaluations_alone(
    run: Run, beir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise SearchError("a search of index 'x' was not answered after 2 attempts: it is gone")

    monkeypatch.setattr(DenseSystem, "_find", die)
    dense, encoder = run([BeirRetrieval(beir)], "dense,encoder")

    assert isinstance(dense, Failure)
    assert (dense.status, dense.bug) == (Exit.CLUSTER, None)
    assert "it is gone" in dense.message
    assert isinstance(encoder, dict)


def test_a_bug_is_kept_and_its_text_is_not_told(run: Run, beir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("text of a document")

    monkeypatch.setattr(DenseSystem, "_find", fail)
    (failure,) = run([BeirRetrieval(beir)], "dense")

    assert isinstance(failure, Failure)
    assert isinstance(failure.bug, RuntimeError)
    assert failure.to_dict() == {"task": "tiny", "system": "dense", "exit_status": 1, "message": "RuntimeError"}
    assert Failure.of(ReadError("a", "is gone"), "t", None).to_dict()["exit_status"] == Exit.SOURCE
