"""The command `es-ingest` as a user types it."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("es-ingest")


@pytest.fixture
def es_ingest(connection, tmp_path):
    def call(*arguments, stdin=None, **env):
        environment = {**os.environ, "ES_URL": connection.url, "NO_COLOR": "1", **env}
        return subprocess.run(
            [COMMAND, *arguments],
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
        )

    return call


ROWS = '{"id": "a", "title": "Aspirin", "text": "It thins the blood."}\nbroken\n{"id": "b", "text": "Insulin."}\n'


def test_help_imports_nothing_heavy(es_ingest):
    assert "run" in es_ingest("--help").stdout
    loaded = subprocess.run(
        [sys.executable, "-c", f"import es_ingest.cli, sys; print([m for m in sys.modules if m in {HEAVY}])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "[]"


HEAVY = ["torch", "haystack", "elasticsearch", "transformers", "numpy"]


def test_run_names_malformed_rows_and_goes_on(es_ingest, index, tmp_path):
    (tmp_path / "notes.jsonl").write_text(ROWS)
    done = es_ingest("run", "notes.jsonl", "--index", index, "--model", "minilm", "--json", "--quiet")
    assert done.returncode == 3, done.stderr
    assert "notes.jsonl:2: not a record" in done.stderr
    summary = json.loads(done.stdout)
    wanted = {"index": index, "read": 3, "chunks": 2, "written": 2, "failed": 1, "truncated": 0}
    assert wanted.items() <= summary.items()
    assert summary["tokens"] > 0
    assert summary["seconds"] > 0
    assert summary["fingerprint"]["model"] == "sentence-transformers/all-MiniLM-L6-v2"

    found = es_ingest("search", index, "what thins blood", "--json", "--quiet", "--top-k", "1")
    assert found.returncode == 0, found.stderr
    (hit,) = json.loads(found.stdout)["hits"]
    assert (hit["document_id"], hit["content"], hit["chunk_start"]) == ("a", "It thins the blood.", 0)
    for_people = es_ingest("search", index, "what thins blood")
    assert "1. Aspirin" in for_people.stdout
    assert "\x1b" not in for_people.stdout + for_people.stderr


def test_run_takes_nothing_from_a_pipe_but_once(es_ingest, index, tmp_path):
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    rows = "".join(f'{{"id": "{number}", "text": "Note {number}."}}\n' for number in range(2000))
    filling = threading.Thread(target=pipe.write_text, args=(rows,), daemon=True)
    filling.start()
    done = es_ingest("run", "pipe.jsonl", "--index", index, "--model", "minilm", "--format", "jsonl", "--json")
    assert (json.loads(done.stdout)["written"], done.returncode) == (2000, 0)


def test_run_reads_standard_input(es_ingest, index):
    done = es_ingest("run", "-", "--format", "jsonl", "--index", index, "--model", "minilm", "--json", stdin=ROWS)
    assert json.loads(done.stdout)["written"] == 2


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["run", "missing.jsonl", "--model", "minilm"], 7, "missing.jsonl"),
        (["run", "notes.jsonl", "--format", "odd", "--model", "minilm"], 2, "medquad, beir"),
        (["run", "notes.jsonl", "--model", "gte-base"], 4, "use the model 'minilm'"),
        (["run", "notes.jsonl", "--model", "no such"], 4, "medte, gte-base"),
        (["run", "notes.jsonl", "--model", "minilm", "--precision", "int3"], 2, "auto, fp32, bf16"),
        (["run", "notes.jsonl", "--model", "minilm", "--quantisation", "zip"], 2, "hnsw, int8"),
        (["run", "notes.jsonl", "--model", "minilm", "--es", "http://127.0.0.1:9"], 5, "nothing answers"),
        (["run", "notes.jsonl", "--model", "minilm", "--es", "elastic"], 2, "neither auto, docker, local"),
        (["run", "notes.jsonl", "--model", "minilm", "--text-field", "abstract"], 3, "abstract"),
        (["run", "notes.jsonl", "--model", "minilm", "--text-field", ""], 2, "blank"),
    ],
)
def test_bad_input_gets_a_message_and_a_status(es_ingest, index, tmp_path, arguments, status, said):
    (tmp_path / "notes.jsonl").write_text(ROWS)
    done = es_ingest(*arguments, "--index", index, HF_HUB_OFFLINE="1")
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_search_of_a_missing_index(es_ingest, index):
    done = es_ingest("search", index, "anything", "--quiet")
    assert done.returncode == 6
    assert done.stderr.startswith(f"error: index '{index}' is not there")


def test_formats_are_listed(es_ingest):
    listed = es_ingest("formats").stdout
    assert all(name in listed for name in ("medquad", "beir", "jsonl", "csv", "parquet"))


def test_an_unwritable_folder_for_the_server_is_named(es_ingest, tmp_path):
    (tmp_path / "file").write_text("")
    home = str(tmp_path / "file" / "below")
    done = es_ingest("search", "x", "y", "--es", "local", ES_INGEST_HOME=home)
    assert done.returncode == 5, done.stderr
    assert home in done.stderr
    assert "ES_INGEST_HOME" in done.stderr
