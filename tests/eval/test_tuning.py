"""Weights of hybrid search, learned on one part of the queries and reported on the other."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch
from typer.testing import CliRunner

from es_ingest.cluster import Connection
from medte_eval.cli import app
from medte_eval.run import evaluate
from medte_eval.systems.system import System
from medte_eval.tasks.beir import BeirRetrieval
from medte_eval.tuning import Judged, _measure
from medte_eval.weights import Learned, WeightsError, parse_weights, write_weights
from medte_haystack import MedTEDocumentStore, MedTEHybridRetriever

RUN = ["--model", "minilm", "--precision", "fp32", "--quantisation", "flat", "--quiet", "--json"]


def test_weights_are_learned_reported_and_taken(
    connection: Connection, client: Elasticsearch, medquad: Path, tmp_path: Path
) -> None:
    arguments = ["--data", str(medquad), "--es", connection.url, *RUN]
    file = tmp_path / "weights.json"
    done = CliRunner().invoke(app, ["tune", "--task", "MedQuADRetrieval", "--out", str(file), *arguments])
    assert done.exit_code == 0, done.stderr
    tuned = json.loads(done.stdout)

    assert (tuned["train_queries"], tuned["held_out_queries"]) == (16, 15)
    assert set(tuned["held_out"]) == {"dense", "bm25", "default", "learned"}
    assert tuned["held_out"]["learned"] == pytest.approx(tuned["comparison"]["b"])
    fusion, (dense, lexical) = tuned["hybrid"]["fusion"], tuned["hybrid"]["weights"]
    assert dense + lexical == pytest.approx(1)
    every = [score for its in tuned["grid"].values() for score in its.values()]
    assert tuned["grid"][fusion][f"{dense:g}"] == max(every)
    assert len(every) == 3 * 21

    learned = json.loads(file.read_text())
    assert learned["learned"]["task"] == "MedQuADRetrieval.LLMFree"
    store = MedTEDocumentStore(**connection.client_options(), index="x")
    assert MedTEHybridRetriever(document_store=store, **learned["hybrid"]).options.weights == [dense, lexical]

    command = ["run", "--tasks", "MedQuADRetrieval", "--system", "hybrid", "--weights", str(file), *arguments]
    (result,) = json.loads(CliRunner().invoke(app, command).stdout)["results"]
    assert (result["system"]["fusion"], result["system"]["weights"]) == (fusion, [dense, lexical])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fusion", "weighted"], "weights are learned for rrf, min_max, distribution"),
        (["--task", "Nothing"], "unknown task 'Nothing'"),
        (["--out", "/no/such/folder/w.json"], "there is no folder /no/such/folder"),
        (["--task", "SIB200ClusteringS2S"], "SIB200ClusteringS2S is of type Clustering; hybrid weights are learned"),
        (["--task", "MedQAPair"], "MedQAPair is of type PairClassification; hybrid weights are learned"),
        (["--task", "MTEB(Medical, v1)"], "12 tasks; hybrid weights are learned from one retrieval task, such as"),
        (["--task", ""], "no task is named"),
        (["--quantisation", "int9"], "quantisation 'int9' is unknown"),
        (["--index", "i", "--quantisation", "flat"], "an existing index has its quantisation"),
    ],
)
def test_what_cannot_be_tuned_is_told(arguments: list[str], message: str, tmp_path: Path) -> None:
    given = ["tune", "--task", "MedQuADRetrieval", "--out", str(tmp_path / "w.json"), *arguments]
    done = CliRunner().invoke(app, given, env={"COLUMNS": "300", "NO_COLOR": "1"})

    assert done.exit_code == 2
    assert message in done.stderr


def test_documents_under_a_querys_own_id_count_as_the_task_says() -> None:
    queries = {str(number): "?" for number in range(20)}
    judged = Judged(queries, {query: {"d": 1} for query in queries})
    run = {query: {query: 2.0, "d": 1.0} for query in queries}

    assert _measure(run, judged).mean() < 1
    for part in replace(judged, ignore_own=True).split(0.5):
        assert _measure({query: run[query] for query in part.queries}, part).mean() == 1


def test_too_few_queries_are_told(connection: Connection, medquad: Path, tmp_path: Path) -> None:
    given = ["tune", "--task", "MedQuADRetrieval", "--out", str(tmp_path / "w.json"), "--queries", "12"]
    done = CliRunner().invoke(app, [*given, "--data", str(medquad), "--es", connection.url, *RUN])

    assert done.exit_code == 6
    assert "leave fewer than 10 to learn from or to report on" in done.stderr


def test_weights_come_as_numbers_or_as_a_file(tmp_path: Path) -> None:
    assert parse_weights("0.7, 0.3") == Learned(None, (0.7, 0.3))
    write_weights(tmp_path / "w.json", Learned("rrf", (0.5, 0.5)), {"task": "t"})
    assert parse_weights(str(tmp_path / "w.json")) == Learned("rrf", (0.5, 0.5), "t")

    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(WeightsError, match="holds no weights"):
        parse_weights(str(tmp_path / "other.json"))
    with pytest.raises(WeightsError, match="neither two numbers"):
        parse_weights("nothing")
    with pytest.raises(WeightsError, match="are not two numbers"):
        parse_weights("a,b")


def test_weights_learned_from_these_very_queries_are_told(
    opened: Callable[..., System], beir: Path, tmp_path: Path
) -> None:
    write_weights(tmp_path / "w.json", Learned("rrf", (0.5, 0.5)), {"task": "tiny", "train_queries": 5})
    learned = parse_weights(str(tmp_path / "w.json"))
    assert (learned.task, learned.queries) == ("tiny", 5)

    here, elsewhere = (
        evaluate(BeirRetrieval(beir), opened("hybrid", weights=learned.weights, learned_from=(name, 5)))
        for name in ("tiny", "other")
    )

    assert here.details["weights_learned_here"] == 5
    assert any("learned from 5 of these very queries" in note for note in here.notes)
    assert "weights_learned_here" not in elsewhere.details
    assert not elsewhere.notes
    assert here.key == elsewhere.key
