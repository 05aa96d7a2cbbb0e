import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from es_ingest.cluster import Connection
from medte_eval.cli import app

PLAIN = {"COLUMNS": "300", "NO_COLOR": "1"}
DENSE = ["--tasks", "MedQuADRetrieval", "--system", "dense"]
NO_NETWORK = {
    "HTTP_PROXY": "http://localhost:1",
    "HTTPS_PROXY": "http://localhost:1",
    "NO_PROXY": "localhost,127.0.0.1",
}


def test_run_prints_one_json_object_and_writes_files(
    connection: Connection, medquad: Path, beir: Path, tmp_path: Path
) -> None:
    """In a process of its own, with an empty cache and no way to the hub; dense and exact share one index."""
    command = [sys.executable, "-m", "medte_eval.cli", "run"]
    command += ["--tasks", f"MedQuADRetrieval,beir:{beir}", "--system", "dense,exact"]
    command += ["--data", str(medquad), "--model", "minilm", "--quantisation", "flat", "--queries", "5", "--quiet"]
    command += ["--es", connection.url, "--out", str(tmp_path / "out"), "--json"]
    environment = {**os.environ, **NO_NETWORK, "HF_HOME": str(tmp_path / "hf"), "MTEB_CACHE": str(tmp_path / "mteb")}

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    dense, exact, *beir_results = json.loads(done.stdout)["results"]
    assert (dense["system"]["name"], exact["system"]["name"]) == ("dense", "exact")
    assert dense["scores"] == pytest.approx(exact["scores"], abs=1e-6)
    assert dense["counts"] == {"queries": 5, "documents": 31, "chunks": 31, "truncated": 0, "left_out": 0}
    assert dense["system"]["server_version"] == connection.version
    assert len(list((tmp_path / "out").glob("MedQuADRetrieval.LLMFree__*.run.json"))) == 2
    assert [(one["task"]["name"], one["counts"]["queries"]) for one in beir_results] == [("tiny", 5), ("tiny", 5)]
    assert str(tmp_path) not in done.stdout
    assert not list((tmp_path / "hf").rglob("*.safetensors"))


def test_help_needs_neither_mteb_nor_torch() -> None:
    script = "import sys, medte_eval.cli, medte_eval.tasks, medte_eval.systems\n"
    script += "sys.exit(bool({'mteb', 'torch', 'datasets', 'elasticsearch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--tasks", "Nothing"], 2, "unknown task 'Nothing'; `medte-eval tasks` lists them"),
        (["--tasks", "MedQuADRetrieval", "--system", "magic"], 2, "the systems are encoder, bm25, dense, exact"),
        (["--tasks", "MedQuADRetrieval", "--index", "i"], 2, "does not take --index"),
        (["--tasks", "MedQuADRetrieval", "--top-k", "5"], 2, "'--top-k'"),
        (["--tasks", "MedQuADRetrieval", "--system", ","], 2, "no system is named"),
        (["--tasks", ","], 2, "no task is named"),
        (["--tasks", "MedQuADRetrieval", "--model", "minilm", "--max-tokens", "0"], 2, "max_tokens is 0"),
        (["--tasks", "MedQuADRetrieval", "--precision", "fp1"], 2, "'fp1'"),
        (["--tasks", "MedQuADRetrieval", "--model", "minilm", "--device", "tpu"], 2, "'tpu'"),
        ([*DENSE, "--quantisation", "int9"], 2, "quantisation 'int9' is unknown; there are hnsw, int8"),
        ([*DENSE, "--oversample", "0.5"], 2, "oversample is 0.5"),
        ([*DENSE, "--num-candidates", "20000"], 2, "num_candidates is 20000"),
        ([*DENSE[:-1], "hybrid", "--fusion", "sum"], 2, "fusion 'sum' is unknown"),
        ([*DENSE[:-1], "hybrid", "--weights", "0,0"], 2, "weights"),
        ([*DENSE[:-1], "hybrid", "--weights", "nan,1"], 2, "weights"),
        (["--tasks", "beir:/no/such/folder"], 7, "/no/such/folder: is no folder"),
        (["--tasks", "MedQuADRetrieval", "--data", "/no/such/folder"], 7, "/no/such/folder"),
        (["--tasks", "MedQuADRetrieval", "--model", "./no-such-model"], 4, "no-such-model"),
        (["--tasks", "MedQuADRetrieval", "--system", "dense", "--es", "http://localhost:1"], 5, "localhost:1"),
    ],
)
def test_what_a_user_can_mend_is_one_message(arguments: list[str], status: int, message: str) -> None:
    done = CliRunner().invoke(app, ["run", *arguments], env=PLAIN)

    assert done.exit_code == status
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["run", "--tasks", "MedQuADRetrieval", "--system", "magic"], 2, "unknown system 'magic'"),
        (["run", "--tasks", "MedQuADRetrieval", "--top-k", "5"], 2, "Invalid value for '--top-k'"),
        (["run"], 2, "Missing option '--tasks'"),
        (["tasks", "--nothing"], 2, "No such option"),
        (["compare", "/no/such", "/no/such"], 2, "does not exist"),
        (["pull", "--tasks", "MedQAPair", "--from", "/no/such"], 7, "/no/such"),
    ],
)
def test_with_json_an_error_is_an_object(arguments: list[str], status: int, message: str) -> None:
    done, plain = (CliRunner().invoke(app, [*arguments, *more], env=PLAIN) for more in (["--json"], []))

    found = json.loads(done.stdout)
    assert found.keys() == {"error", "exit_status"}
    assert message in found["error"]
    assert done.exit_code == plain.exit_code == found["exit_status"] == status
    assert (done.stderr, plain.stdout) == (plain.stderr, "")


def test_a_process_of_its_own_gives_the_object_too() -> None:
    command = [sys.executable, "-m", "medte_eval.cli", "build", "--tasks", "medqapair", "--json"]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    message = "no task 'medqapair' can be built; do you mean MedQAPair? `medte-eval tasks` lists those that can"
    assert json.loads(done.stdout) == {"error": f"Invalid value: {message}", "exit_status": 2}
    assert "do you mean MedQAPair?" in done.stderr


def test_a_missing_index_is_one_message(connection: Connection) -> None:
    arguments = ["run", "--tasks", "MedQuADRetrieval", "--system", "exact", "--index", "no-such-index"]
    done = CliRunner().invoke(app, [*arguments, "--es", connection.url, "--model", "minilm"])

    assert done.exit_code == 6
    assert "no-such-index" in done.stderr


def test_an_interruption_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("medte_eval.evaluation.find_tasks", interrupt)
    done = CliRunner().invoke(app, ["run", "--tasks", "MedQuADRetrieval"])

    assert done.exit_code == 130
    assert done.stderr.startswith("interrupted; the indices made for the evaluation are removed, or are by the next")
