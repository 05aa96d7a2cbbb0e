"""`es-ingest plan` as a user types it: no server is there, and none is wanted."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from es_ingest.data import medquad_sample

COMMAND = Path(sys.executable).with_name("es-ingest")
SAMPLE = str(medquad_sample())
MODEL = ("--model", "minilm", "--device", "cpu", "--precision", "fp32")


@pytest.fixture
def plan(tmp_path):
    def call(*arguments, stdin=None, **env):
        return subprocess.run(
            [COMMAND, "plan", *arguments],
            cwd=tmp_path,
            env={**os.environ, "ES_URL": "http://127.0.0.1:9", "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", **env},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=180,
        )

    return call


def row(number, text="Insulin lowers blood sugar."):
    return json.dumps({"id": str(number), "text": text}) + "\n"


def test_medquad_for_people(plan, tmp_path):
    done = plan(SAMPLE, *MODEL, "--seconds", "2", PYTHONIOENCODING="utf-8")
    assert done.returncode == 0, done.stderr
    assert "records       2,839\n" in done.stdout
    assert "chunks        5,613, of at most 254 tokens" in done.stdout
    for_record, for_chunk = done.stdout.split("Tokens of a chunk")
    assert "Tokens of a record" in for_record
    assert "above 256, what the model takes:" in for_record
    assert "▒" in for_record
    assert "█" in for_chunk
    assert "▒" not in for_chunk
    assert "p50 " in for_chunk
    assert "RAM, 2 copies" in for_chunk
    assert all(f"\n{name} " in for_chunk for name in ("hnsw", "int8", "int4", "bbq", "flat"))
    assert "tokens/s" in for_chunk
    assert "\na run " in for_chunk
    assert "\x1b" not in done.stdout + done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert list(tmp_path.iterdir()) == []


def test_medquad_for_programs(plan):
    arguments = (SAMPLE, *MODEL, "--json", "-q", "--seconds", "1", "--replicas", "2", "--quantisation", "int8")
    done = plan(*arguments, "--records", "500")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    found = json.loads(done.stdout)
    wanted = {"records": 500, "complete": False, "malformed": 0, "repeated": 0, "copies": 3, "dim": 384}
    assert wanted.items() <= found.items()
    (size,) = found["sizes"]
    assert size["quantisation"] == "int8"
    assert size["ram"] == found["chunks"] * (388 + 128)
    assert size["disk"] == found["chunks"] * (388 + 128 + 1536) + found["text_bytes"]
    assert sum(one["count"] for one in found["tokens_of_a_record"]["histogram"]) == 500
    over = sum(one["count"] for one in found["tokens_of_a_record"]["histogram"] if one["over"])
    assert found["longer_than_model"] == over > 0
    speed, times = found["speed"], found["encode_seconds"]
    assert times["expected"] == pytest.approx(found["tokens"] / speed["tokens_per_second"], rel=0.01)
    assert times["least"] <= times["expected"] <= times["most"]
    assert found["run_seconds"]["expected"] == pytest.approx(times["expected"] + found["read_seconds"], rel=0.01)


def test_an_empty_source(plan, tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    done = plan("none.jsonl", *MODEL)
    assert done.returncode == 0, done.stderr
    assert "records       0\n" in done.stdout
    assert "Tokens of" not in done.stdout
    found = json.loads(plan("none.jsonl", *MODEL, "--json").stdout)
    assert (found["records"], found["chunks"], found["speed"], found["run_seconds"]) == (0, 0, None, None)


def test_malformed_rows_alone(plan, tmp_path):
    (tmp_path / "bad.jsonl").write_text("secret words\n" * 7)
    done = plan("bad.jsonl", *MODEL, "--no-encode")
    assert done.returncode == 3, done.stderr
    assert "malformed     7 rows, first of them:" in done.stdout
    assert done.stdout.count("bad.jsonl:") == 5
    assert "secret" not in done.stdout + done.stderr


def test_deletions(plan, tmp_path):
    text = "<PubmedArticleSet><DeleteCitation><PMID>8</PMID><PMID>9</PMID></DeleteCitation></PubmedArticleSet>"
    (tmp_path / "pubmed1.xml").write_text(text)
    done = plan("pubmed1.xml", *MODEL, "--no-encode")
    assert "deletions     2; a run removes these records, wherever they came from\n" in done.stdout
    found = json.loads(plan("pubmed1.xml", *MODEL, "--no-encode", "--json").stdout)
    assert (found["deletions"], found["records"]) == (2, 0)


def test_one_record_from_standard_input(plan):
    done = plan("-", "--format", "jsonl", *MODEL, "--json", stdin=row(1))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["records"], found["chunks"], found["truncated"]) == (1, 1, 0)
    assert found["speed"]["chunks"] == 1
    assert found["encode_seconds"]["expected"] < 10


def test_without_encoding_no_weights_are_loaded_and_no_time_is_told(plan):
    done = plan("-", "--format", "jsonl", "--model", "minilm", "--no-encode", stdin=row(1) + row(1) + "broken\n")
    assert done.returncode == 3, done.stderr
    assert "repeated ids  1; the last record of each counts" in done.stdout
    assert "tokens/s" not in done.stdout
    assert "a run" not in done.stdout


def test_a_terminal_without_blocks_gets_ascii(plan):
    done = plan("-", "--format", "jsonl", *MODEL, "--no-encode", stdin=row(1, "word " * 400), PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert "\\u" not in done.stdout
    assert "+++" in done.stdout
    assert "###" in done.stdout


def test_options_come_from_a_file(plan, tmp_path):
    (tmp_path / "plan.toml").write_text('[plan]\nmodel = "minilm"\nencode = false\nchunk-tokens = 32\nreplicas = 0\n')
    (tmp_path / "notes.jsonl").write_text(row(1, "word " * 400))
    done = plan("notes.jsonl", "--config", "plan.toml")
    assert done.returncode == 0, done.stderr
    assert "of at most 32 tokens" in done.stdout
    assert "copies" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["missing.jsonl", *MODEL], 7, "missing.jsonl"),
        (["notes.jsonl", "--format", "odd"], 2, "medquad"),
        (["notes.jsonl", *MODEL, "--quantisation", "zip"], 2, "hnsw, int8"),
        (["notes.jsonl", *MODEL, "--chunk-tokens", "400"], 2, "takes 1 to 254"),
        (["notes.jsonl", *MODEL, "--records", "0"], 2, "--records"),
        (["notes.jsonl", "--model", "gte-base"], 4, "minilm"),
    ],
)
def test_bad_input_gets_a_message_and_a_status(plan, tmp_path, arguments, status, said):
    (tmp_path / "notes.jsonl").write_text(row(1))
    done = plan(*arguments)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
