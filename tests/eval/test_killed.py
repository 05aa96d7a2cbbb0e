"""`medte-eval run` killed anywhere goes on, and ends where a run does that nobody killed."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from elasticsearch import Elasticsearch

from es_ingest.cluster import Connection
from medte_eval.results import RUN_SUFFIX, read_result

from .conftest import evaluation_indices

KILLS = 4
SEED = 1
RUN = """
import os, signal, sys
from medte_eval import cli
from medte_eval.session import Session

calls, last = 0, int(sys.argv.pop(1))
enter = Session.__enter__


def watch(frame, event, argument):
    global calls
    if event == "call" and "medte_eval" in frame.f_code.co_filename:
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)


def entered(self):
    sys.setprofile(watch)
    return enter(self)


Session.__enter__ = entered
try:
    cli.main()
finally:
    print(calls, file=sys.stderr)
"""
"""Runs the command, and kills it at the call of that number of a function of medte_eval, wherever that is."""


def whole_results(folder: Path) -> dict[str, dict[str, Any]]:
    """What has a result in a folder, by file; fails where a file is not whole."""
    for path in folder.glob("[!.]*.json*"):
        text = path.read_text()
        assert [json.loads(line) for line in (text.splitlines() if path.suffix == ".jsonl" else [text])]
    found = {path.name: read_result(path) for path in folder.glob(f"*{RUN_SUFFIX}")}
    measured_anew = ("seconds", "latency", "phases", "index_bytes")
    return {name: {key: one[key] for key in one if key not in measured_anew} for name, one in found.items()}


def test_killed_anywhere_it_goes_on_and_leaves_nothing(
    connection: Connection, client: Elasticsearch, beir: Path, medquad: Path, tmp_path: Path
) -> None:
    def run(out: Path, last: int = 0) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-c", RUN, str(last), "run", "--tasks", f"beir:{beir},MedQuADRetrieval"]
        command += ["--system", "encoder,dense,bm25", "--data", str(medquad), "--model", "minilm"]
        command += ["--es", connection.url, "--out", str(out), "--json", "--quiet", "--latency-queries", "3"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    never = run(tmp_path / "never")
    expected = whole_results(tmp_path / "never")
    calls = int(never.stderr.splitlines()[-1])
    draw = random.Random(SEED)
    there: set[str] = set()
    for _ in range(KILLS):
        killed = run(tmp_path / "killed", draw.randint(1, calls // KILLS))
        found = whole_results(tmp_path / "killed")
        assert killed.returncode == -signal.SIGKILL
        assert found == {name: expected[name] for name in found}
        assert there <= set(found)
        there = set(found)
    done = run(tmp_path / "killed")

    assert never.returncode == done.returncode == 0, done.stderr
    assert len(expected) == 6
    assert sum(one["reused"] for one in json.loads(done.stdout)["results"]) == len(there)
    assert whole_results(tmp_path / "killed") == expected
    assert {path.name for path in (tmp_path / "killed").iterdir()} == {
        path.name for path in (tmp_path / "never").iterdir()
    }
    assert not evaluation_indices(client)
