"""The command `es-ingest`, in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("es-ingest")


@pytest.fixture
def client(connection):
    with connection.client() as found:
        yield found


@pytest.fixture
def es_ingest(connection, tmp_path):
    def call(*arguments, stdin=None, **env):
        own = {"ES_URL": connection.url, "NO_COLOR": "1", "HF_HUB_OFFLINE": "1"}
        environment = {**os.environ, **own, "ES_INGEST_STATE": str(tmp_path / "state"), **env}
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
