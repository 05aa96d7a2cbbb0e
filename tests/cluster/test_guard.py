"""The guard around a process that stands for the server, so that each way to die takes a moment only."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from es_ingest.cluster.state import process_identity

# Starts a guard as `server.py` does, prints its number, and then does what the argument says.
PARENT = """
import os, sys, threading, time, json
from es_ingest.cluster.server import _spawn_guarded
spec = json.loads(sys.argv[1]) | {"parent": os.getpid()}
def go():
    print(_spawn_guarded(spec).pid, flush=True)
if sys.argv[2] == "thread":
    thread = threading.Thread(target=go); thread.start(); thread.join()
else:
    go()
if sys.argv[2] == "raise":
    input()
    raise RuntimeError("boom")
time.sleep(60)
"""
# Prints its own number, starts a child as the launcher does, and prints that one's too.
SERVER = "echo $$; sleep 100 & echo $!; wait"


def wait_for(condition, seconds=10.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.05)
    raise AssertionError("not in time")


@pytest.fixture
def begin(tmp_path):
    parents, pids = [], []

    def run(how, command=SERVER):
        (tmp_path / "data").mkdir()
        (tmp_path / "state").touch()
        spec = {
            "command": ["bash", "-c", command],
            "environment": {"PATH": os.environ["PATH"]},
            "console": str(tmp_path / "console"),
            "state": str(tmp_path / "state"),
            "discard": str(tmp_path / "data"),
            "patience": 1.0,
        }
        arguments = [sys.executable, "-c", PARENT, json.dumps(spec), how]
        parent = subprocess.Popen(
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        parents.append(parent)
        guarding = int(parent.stdout.readline())
        console = tmp_path / "console"
        served = wait_for(lambda: (found := console.read_text().split()) and len(found) == 2 and found)
        pids.extend([guarding, *map(int, served)])
        return parent, guarding, [int(pid) for pid in served]

    yield run
    for parent in parents:
        parent.kill()
        parent.wait()
        parent.stdout.close()
        parent.stdin.close()
    for pid in pids:
        if "sleep" in (Path(f"/proc/{pid}/cmdline").read_text() if process_identity(pid) else ""):
            os.kill(pid, signal.SIGKILL)


def all_gone(*pids):
    return not any(process_identity(pid) for pid in pids)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_parent_ends_everything_and_removes_the_folder(begin, tmp_path, number):
    parent, guarding, served = begin("sleep")
    parent.send_signal(number)
    wait_for(lambda: all_gone(guarding, *served))
    assert not (tmp_path / "data").exists()
    assert not (tmp_path / "state").exists()


def test_an_exception_in_the_parent_ends_everything(begin):
    parent, guarding, served = begin("raise")
    parent.communicate("now\n")
    wait_for(lambda: all_gone(guarding, *served))


def test_the_end_of_the_thread_that_started_it_ends_nothing(begin):
    parent, guarding, served = begin("thread")
    time.sleep(1)
    assert all(process_identity(pid) for pid in (guarding, *served))
    parent.kill()
    wait_for(lambda: all_gone(guarding, *served))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells a child of its parent's death")
def test_killing_the_guard_ends_the_launcher(begin):
    _, guarding, served = begin("sleep")
    os.kill(guarding, signal.SIGKILL)
    wait_for(lambda: all_gone(served[0]))
    os.kill(served[1], signal.SIGKILL)  # a real launcher takes its server with it


def test_a_server_deaf_to_sigterm_is_killed(begin):
    parent, guarding, served = begin("sleep", f"trap '' TERM; {SERVER}; sleep 100")
    parent.kill()
    wait_for(lambda: all_gone(guarding, *served))


def test_a_server_that_dies_by_itself_keeps_its_log_for_the_parent(begin, tmp_path):
    _, guarding, _ = begin("sleep", "echo 1; echo 2; sleep 0.5; exit 7")
    wait_for(lambda: all_gone(guarding))
    assert (tmp_path / "data").exists()
