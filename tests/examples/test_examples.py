"""The examples run as a user runs them, from another folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run_example(connection, tmp_path):
    """Run a script that makes an index, and return what it printed."""

    def run(script, index, *arguments):
        with connection.client() as client:
            client.options(ignore_status=404).indices.delete(index=index)
            env = {**os.environ, "ES_URL": connection.url}
            command = [sys.executable, EXAMPLES / script, *arguments]
            done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
            client.options(ignore_status=404).indices.delete(index=index)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize(("script", "index"), [("pipelines.py", "pipelines-example"), ("from_yaml.py", "yaml-example")])
def test_example_finds_what_it_indexed(script, index, run_example) -> None:
    written, *found = run_example(script, index)
    assert int(written.split()[0]) > 100, "answers longer than the model takes are split"
    assert len(found) == 3
    assert all("Acromegaly" in line for line in found[:2])


def test_hybrid_search_finds_and_reranks(run_example, cross_encoder) -> None:
    _, *found = run_example("hybrid.py", "hybrid-example")
    assert len(found) == 5
    assert all("Acromegaly" in line and "dense" in line and "lexical" in line for line in found[:1])
    _, *reranked = run_example("hybrid.py", "hybrid-example", str(cross_encoder))
    assert len(reranked) == 5
