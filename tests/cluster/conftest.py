import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from es_ingest.cluster import Connection, open_cluster
from es_ingest.cluster.distribution import RELEASES
from es_ingest.cluster.folders import server_user
from es_ingest.cluster.jdk import find_jdks

OLDEST_JAVA = min(release.java for release in RELEASES)
HEAP = "512m"
Cli = Callable[..., "subprocess.CompletedProcess[str]"]
SECRETS = ("ES_URL", "ES_API_KEY", "ES_USERNAME", "ES_PASSWORD", "ES_CA_CERTS")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SECRETS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the server's user may enter; pytest's own are closed to it when root runs the tests."""
    folder = Path(tempfile.mkdtemp(prefix="medte-test-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def jdk() -> None:
    """Skip where no local server can run without a download of a JDK."""
    if all(found.lack(OLDEST_JAVA) for found in find_jdks(server_user())):
        pytest.skip(f"no JDK >= {OLDEST_JAVA} here")


@pytest.fixture(scope="session")
def server(jdk: None) -> Iterator[Connection]:
    """One real server for all tests of this folder that only talk to it."""
    with open_cluster("local", ephemeral=True, heap=HEAP) as connection:
        yield connection


@pytest.fixture
def cli() -> Cli:
    """Run `es-ingest server …` in a process of its own."""

    def run(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "es_ingest.commands.server", *arguments]
        return subprocess.run(
            command, env={**os.environ, **env}, capture_output=True, text=True, check=False, timeout=150
        )

    return run


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
