"""`es-ingest server` in processes of its own, against the real server."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from es_ingest.cluster import open_cluster
from es_ingest.cluster.state import process_identity

_MODULE = "es_ingest.commands.server"


def _start(data):
    return [sys.executable, "-m", _MODULE, "start", "--data", data, "--heap", "512m", "--port", "0"]


@pytest.fixture
def kept(jdk, open_folder, cli):
    """A data folder; whatever server is kept on it is stopped at the end."""
    data = str(open_folder / "data")
    yield data
    cli("stop", "--data", data)


def test_two_starts_at_once_then_status_join_and_stop(kept, cli):
    command = _start(kept)
    starts = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outcomes = [(*process.communicate(timeout=150), process.returncode) for process in starts]
    assert [code for *_, code in outcomes] == [0, 0]
    words = sorted(out.split()[0] for out, *_ in outcomes)
    assert words == ["already", "started"]
    urls = {re.search(r"http://\S+", out)[0] for out, *_ in outcomes}
    assert len(urls) == 1
    waited = next(err for out, err, _ in outcomes if out.startswith("already"))
    assert "another process starts or stops a server" in waited

    status = cli("status", "--json", "--data", kept)
    found = json.loads(status.stdout)
    assert status.returncode == 0
    assert found["running"] is True
    assert {found["url"]} == urls
    assert (found["data"], found["kept"], found["heap"], found["health"]) == (kept, True, "512m", "green")
    assert process_identity(found["pid"])

    again = cli("start", "--data", kept, "--heap", "1g")
    assert again.returncode == 0
    assert again.stdout.startswith("already running: Elasticsearch")
    assert "not applied" in again.stderr

    with open_cluster("auto", data=Path(kept)) as connection:
        assert connection.url == found["url"]
        assert "a local server is running" in connection.reason
    assert process_identity(found["pid"])  # leaving the block left it running

    logs = cli("logs", "-n", "3", "--data", kept)
    assert len(logs.stdout.splitlines()) == 3

    port = found["url"].rpartition(":")[2]
    other = cli("start", "--data", f"{kept}-2", "--port", port)
    assert other.returncode == 5
    assert f"error: port {port} of 127.0.0.1 is taken" in other.stderr

    stopped = cli("stop", "--data", kept)
    assert stopped.stdout.startswith("stopped Elasticsearch")
    assert not process_identity(found["pid"])
    after = cli("status", "--json", "--data", kept)
    assert (after.returncode, json.loads(after.stdout)["running"]) == (3, False)
    twice = cli("stop", "--data", kept)
    assert (twice.returncode, twice.stdout) == (0, f"no server is running on {kept}\n")


def test_stale_note_is_neither_believed_nor_acted_on(kept, cli, open_folder):
    """The note names a process that exists and is not the server: it must survive `stop`."""
    with subprocess.Popen(["sleep", "60"]) as stranger:
        (open_folder / "data").mkdir(mode=0o755)
        values = {"pid": stranger.pid, "identity": "boot:1", "version": "9.5.3", "data": kept, "heap": "1g"}
        values |= {"kept": True, "owner": 1, "owner_identity": "", "started": 0.0, "url": "http://127.0.0.1:1"}
        (open_folder / "data" / "server.json").write_text(json.dumps(values))
        assert cli("status", "--data", kept).returncode == 3
        assert cli("stop", "--data", kept).stdout == f"no server is running on {kept}\n"
        assert stranger.poll() is None
        stranger.kill()


def test_interrupted_start_leaves_nothing(kept, cli):
    command = _start(kept)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while "starting Elasticsearch" not in process.stderr.readline():
            assert process.poll() is None
        deadline = time.monotonic() + 30
        while json.loads(cli("status", "--json", "--data", kept).stdout)["pid"] is None:
            assert time.monotonic() < deadline
        pid = json.loads(cli("status", "--json", "--data", kept).stdout)["pid"]
        process.send_signal(signal.SIGINT)
    assert process.returncode != 0
    assert not process_identity(pid)
    assert cli("status", "--data", kept).returncode == 3


def test_errors_are_one_message_and_status_5(cli, tmp_path):
    bad = cli("start", "--heap", "1", "--data", str(tmp_path / "x"))
    assert bad.returncode == 5
    assert "error:" in bad.stderr
    assert "Traceback" not in bad.stderr
    none = cli("logs", "--data", str(tmp_path / "x"))
    assert none.returncode == 5
    assert "no log in" in none.stderr


def test_help_does_not_import_what_it_does_not_need():
    heavy = ("elasticsearch", "elastic_transport", "jgo", "docker", "torch", "es_ingest.cluster")
    code = f"import sys, es_ingest.commands.server; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
