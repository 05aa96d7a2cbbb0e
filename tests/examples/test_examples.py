"""The examples run as a user runs them, from another folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("script", "index"), [("pipelines.py", "pipelines-example"), ("from_yaml.py", "yaml-example")])
def test_example_finds_what_it_indexed(script, index, connection, tmp_path) -> None:
    with connection.client() as client:
        client.options(ignore_status=404).indices.delete(index=index)
        env = {**os.environ, "ES_URL": connection.url}
        done = subprocess.run(
            [sys.executable, EXAMPLES / script], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        client.options(ignore_status=404).indices.delete(index=index)
    assert done.returncode == 0, done.stderr
    written, *found = done.stdout.splitlines()
    assert int(written.split()[0]) > 100, "answers longer than the model takes are split"
    assert len(found) == 3
    assert all("Acromegaly" in line for line in found[:2])
