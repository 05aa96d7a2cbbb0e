"""The command `es-ingest` as a user types it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from filelock import FileLock

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
        (["run", "notes.jsonl", "--format", "odd", "--model", "minilm"], 2, "clinicaltrials"),
        (["run", "notes.jsonl", "--model", "gte-base"], 4, "use the model 'minilm'"),
        (["run", "notes.jsonl", "--model", "no such"], 4, "medte, gte-base"),
        (["run", "notes.jsonl", "--model", "minilm", "--precision", "int3"], 2, "auto, fp32, bf16"),
        (["run", "notes.jsonl", "--model", "minilm", "--quantisation", "zip"], 2, "hnsw, int8"),
        (["run", "notes.jsonl", "--model", "minilm", "--es", "http://127.0.0.1:9"], 5, "nothing answers"),
        (["run", "notes.jsonl", "--model", "minilm", "--es", "elastic"], 2, "neither auto, docker, local"),
        (["run", "notes.jsonl", "--model", "minilm", "--text-field", "abstract"], 7, "abstract"),
        (["run", "notes.jsonl", "--model", "minilm", "--text-field", ""], 2, "blank"),
    ],
)
def test_bad_input_gets_a_message_and_a_status(es_ingest, index, tmp_path, arguments, status, said):
    (tmp_path / "notes.jsonl").write_text(ROWS)
    done = es_ingest(*arguments, "--index", index, HF_HUB_OFFLINE="1")
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_run_that_ends_by_an_error_tells_what_it_did(es_ingest, index, tmp_path):
    (tmp_path / "notes.jsonl").write_text(ROWS)
    arguments = ["run", "notes.jsonl", "--index", index, "--model", "minilm", "--max-dead", "0", "--quiet"]
    for_people = es_ingest(*arguments)
    assert (for_people.returncode, for_people.stdout) == (8, "")
    *_, error = told = for_people.stderr.splitlines()
    assert error.startswith("error: more than 0 dead letters (--max-dead)")
    assert [line for line in told if line.startswith("failed        1 (1 malformed, 0 refused), kept in ")], told
    done = es_ingest(*arguments, "--json")
    summary = json.loads(done.stdout)
    assert done.returncode == 8
    assert done.stderr.splitlines()[-1] == f"error: {summary['error']}"
    assert (summary["malformed"], summary["failed"], summary["switch"]) == (1, 1, None)
    assert summary["records"] + summary["unchanged"] <= summary["read"] <= 3
    whole = json.loads(es_ingest(*arguments[:-3], "--json", "--quiet").stdout)
    assert (whole["error"], whole["read"], whole["records"] + whole["unchanged"]) == (None, 3, 2)


@pytest.mark.parametrize("target", ["--index", "--alias"])
def test_a_field_that_no_row_has_ends_a_run_before_anything_is_noted(es_ingest, index, client, tmp_path, target):
    (tmp_path / "notes.jsonl").write_text(ROWS)
    for fields in (["--text-field", "txet"], ["--vector-field", "v", "--model", "minilm"]):
        done = es_ingest("run", "notes.jsonl", target, index, *fields)
        assert (done.returncode, done.stdout) == (7, "")
        assert "notes.jsonl:1: has no field" in done.stderr
        assert "; it has 'id', " in done.stderr
    assert not (tmp_path / "state").exists()
    assert client.indices.get(index=f"{index}*").body == {}


def test_errors_are_json_lines_too_where_these_are_asked_for(es_ingest, index, tmp_path):
    (tmp_path / "notes.jsonl").write_text(ROWS)
    arguments = ["run", "notes.jsonl", "--index", index, "--model", "minilm", "--max-dead", "0", "--json"]
    done = es_ingest(*arguments, "--log-format", "json")
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert (done.returncode, lines[-1]["level"]) == (8, "ERROR")
    assert lines[-1]["message"] == json.loads(done.stdout)["error"]


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_that_waits_for_its_pipe(index, connection, number):
    environment = {**os.environ, "ES_URL": connection.url}
    program = Path(sys.executable).with_name("es-ingest")
    command = [program, "run", "-", "--format", "jsonl", "--model", "minilm", "--index", index, "--json"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, env=environment, **pipes) as process:
        process.stdin.write(b'{"id": "a", "text": "Aspirin thins the blood."}\n')
        process.stdin.flush()
        with connection.client() as client:
            for _ in range(300):
                if client.indices.exists(index=index):
                    break
                time.sleep(0.1)
        time.sleep(2)
        process.send_signal(number)
        begun = time.monotonic()
        process.wait(60)
        assert time.monotonic() - begun < 15
        out, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 128 + number, err
    assert b"Fatal" not in err
    summary = json.loads(out)
    assert summary["interrupted"]
    assert summary["records"] + summary["read"] > 0


def test_fresh_starts_over_but_not_under_a_running_run(es_ingest, index, connection, tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"id": "a", "text": "Aspirin."}\n{"id": "b", "text": "Insulin."}\n')
    arguments = ["run", "notes.jsonl", "--index", index, "--model", "minilm", "--json", "--quiet"]
    state = tmp_path / "own"
    assert es_ingest(*arguments, ES_INGEST_STATE=str(state)).returncode == 0
    (ledger,) = state.glob("*.sqlite")
    with FileLock(f"{ledger}.lock"):
        refused = es_ingest(*arguments, "--fresh", ES_INGEST_STATE=str(state))
    assert refused.returncode == 8
    assert "is in use by another es-ingest" in refused.stderr
    again = es_ingest(*arguments, ES_INGEST_STATE=str(state))
    assert json.loads(again.stdout)["unchanged"] == 2
    (tmp_path / "notes.jsonl").write_text('{"id": "b", "text": "Insulin."}\n')
    fresh = es_ingest(*arguments, "--fresh", ES_INGEST_STATE=str(state))
    assert json.loads(fresh.stdout)["created"] == 1
    assert len(list(state.glob("*.sqlite"))) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--dead", "notes.jsonl"], "is a source as well"),
        (["--ledger", "sub/../notes.jsonl"], "is a source as well"),
        (["--dead", "x", "--metrics-file", "x"], "is --dead as well"),
        (["--dead", "."], "is a folder"),
        (["--config", "bad.toml"], "rnu"),
        (["--config", "list.toml"], "single value"),
        (["--config", "odd.toml"], "no option"),
        (["--config", "user.toml"], "ES_USERNAME"),
    ],
)
def test_files_and_settings_that_cannot_be_meant(es_ingest, tmp_path, arguments, said):
    (tmp_path / "sub").mkdir()
    (tmp_path / "notes.jsonl").write_text(ROWS)
    (tmp_path / "bad.toml").write_text("[rnu]\nmax-dead = 3\n")
    (tmp_path / "list.toml").write_text('[run]\nmodel = ["a", "b"]\n')
    (tmp_path / "odd.toml").write_text('[run]\nmodle = "a"\n')
    (tmp_path / "user.toml").write_text('[run]\nes = "https://a:b@host"\n')
    done = es_ingest("run", "notes.jsonl", "--index", "never-made", *arguments, COLUMNS="300", TERMINAL_WIDTH="300")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert (tmp_path / "notes.jsonl").read_text() == ROWS
