"""The real server, started by the Python API."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from es_ingest.cluster import (
    AlreadyRunningError,
    FolderError,
    OptionError,
    PortInUseError,
    ServerDiedError,
    open_cluster,
)
from es_ingest.cluster.folders import server_user
from es_ingest.cluster.local import find, local_cluster
from es_ingest.cluster.server import Wish, check_port, log_tail
from es_ingest.cluster.state import Layout

HEAP = "512m"
# Opens a server on the folder, writes one document and holds on until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from es_ingest.cluster import open_cluster
with open_cluster("local", data=Path(sys.argv[1]), heap="512m") as connection:
    connection.client().index(index="kept", document={"a": 1}, refresh=True)
    print(connection.url, flush=True)
    time.sleep(120)
"""


def server_processes(text: str) -> list[psutil.Process]:
    """The JVMs that have a text in their command line or environment, which name the data folder."""
    found = []
    for process in psutil.process_iter(["name", "cmdline", "environ"]):
        words = [*(process.info["cmdline"] or []), *(process.info["environ"] or {}).values()]
        if process.info["name"] == "java" and any(text in word for word in words):
            found.append(process)
    return found


def test_listens_on_loopback_only(server):
    port = int(server.url.rpartition(":")[2])
    listening = [found for found in psutil.net_connections("tcp") if found.status == psutil.CONN_LISTEN]
    (pid,) = {found.pid for found in listening if found.laddr.port == port}
    addresses = {found.laddr.ip.removeprefix("::ffff:") for found in listening if found.pid == pid}
    assert addresses == {"127.0.0.1"}
    if user := server_user():
        assert psutil.Process(pid).uids().real == user.uid


def test_server_writes_on_a_nearly_full_disk_and_says_how_it_was_chosen(server):
    settings = server.client().cluster.get_settings(include_defaults=True, flat_settings=True)
    both = {**settings["defaults"], **settings.get("persistent", {})}
    assert both["cluster.routing.allocation.disk.threshold_enabled"] == "false"
    assert server.reason == "asked for local: an ephemeral server"


def test_killed_owner_leaves_no_server_and_its_indices_serve_the_next(jdk, open_folder):
    """SIGKILL of the process that holds a temporary server, while another wants the same folder."""
    data = open_folder / "data"
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(data)], stdout=subprocess.PIPE, text=True) as holder:
        try:
            url = holder.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:")
            assert len(server_processes(str(data))) == 2  # launcher and server
            with pytest.raises(AlreadyRunningError, match=f"process {holder.pid} uses a temporary server") as caught:
                open_cluster("local", data=data).__enter__()
            assert caught.value.pid == holder.pid
        finally:
            holder.send_signal(signal.SIGKILL)
    first = server_processes(str(data))
    # Starting at once must wait for the orphan to end, and then find what it stored.
    with open_cluster("local", data=data, heap=HEAP) as connection:
        _, alive = psutil.wait_procs(first, timeout=0)
        assert alive == []
        assert connection.client().count(index="kept")["count"] == 1
        _, state = find(data)
        assert (state.kept, state.owner) == (False, os.getpid())
    assert find(data)[1] is None
    assert server_processes(str(data)) == []


@pytest.mark.parametrize(
    "wish", [Wish(heap="2m"), Wish(heap=HEAP, settings={"no.such.setting": 1})], ids=["heap", "setting"]
)
def test_early_death_shows_the_log_and_leaves_nothing(jdk, wish):
    before = set(Path(tempfile.gettempdir()).glob("medte-es-*"))
    with pytest.raises(ServerDiedError) as caught, local_cluster(None, wish, ephemeral=True, reason="test"):
        pass
    assert caught.value.returncode != 0
    expected = "no.such.setting" if wish.settings else "initialization of VM"
    assert any(expected in line for line in caught.value.log_tail)
    assert expected in str(caught.value)
    assert set(Path(tempfile.gettempdir()).glob("medte-es-*")) <= before


def test_too_slow_is_an_error_and_leaves_nothing(jdk, open_folder):
    wish = Wish(heap=HEAP, wait=0.5)
    with (
        pytest.raises(ServerDiedError, match="was not ready within"),
        local_cluster(open_folder / "d", wish, ephemeral=False, reason="test"),
    ):
        pass
    assert server_processes(str(open_folder)) == []
    assert find(open_folder / "d")[1] is None


def test_bad_options_are_refused_before_anything_starts(open_folder, free_port):
    for heap in ("1", "lots", "1t", "-1g", ""):
        with pytest.raises(OptionError, match="is not a heap size"):
            open_cluster("local", ephemeral=True, heap=heap).__enter__()
    with pytest.raises(OptionError, match="not between 0 and 65535"):
        check_port(70000)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port))
        taken.listen()
        with pytest.raises(
            PortInUseError, match=f"port {free_port} of 127.0.0.1 is taken; .* another --port"
        ) as caught:
            open_cluster("local", data=open_folder / "d", port=free_port).__enter__()
        assert caught.value.port == free_port
    with pytest.raises(OptionError, match="leave out data="):
        open_cluster("local", data=open_folder / "d", ephemeral=True).__enter__()


def test_a_folder_with_other_things_in_it_is_not_touched(open_folder):
    (open_folder / "thesis.txt").write_text("x")
    with pytest.raises(FolderError, match=r"is no data folder of ours: it holds thesis\.txt"):
        open_cluster("local", data=open_folder).__enter__()
    assert [path.name for path in open_folder.iterdir()] == ["thesis.txt"]


def test_data_of_a_newer_server_is_not_opened(jdk, open_folder):
    (open_folder / "elasticsearch-version").write_text("99.0.0\n")
    with pytest.raises(FolderError, match=r"was written by Elasticsearch 99\.0\.0, which .* cannot read"):
        open_cluster("local", data=open_folder).__enter__()


def test_log_tail_leaves_out_stack_frames(tmp_path):
    layout = Layout(tmp_path)
    layout.logs.mkdir()
    layout.log.write_text("old\n" + "new\n\tat a.b.C(D.java:1)\n\t... 3 more\ncause\n")
    layout.console.write_text("WARNING: Unknown module: x\n1\n2\n3\n4\n5\nERROR: exit\n")
    assert log_tail(layout, start=4) == ["2", "3", "4", "5", "ERROR: exit", "new", "cause"]
    assert log_tail(layout, count=1) == ["cause"]
    layout.log.unlink()
    assert log_tail(layout, count=2) == ["5", "ERROR: exit"]
