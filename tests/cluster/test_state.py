import os
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest

from es_ingest.cluster import StartLockError
from es_ingest.cluster.local import live_state, running_server
from es_ingest.cluster.state import Layout, ServerState, locked, process_identity, read_state, write_state


@pytest.fixture
def state(tmp_path):
    pid = os.getpid()
    me = process_identity(pid)
    return ServerState(pid, me, "9.5.3", str(tmp_path), "1g", True, pid, me, time.time(), "http://127.0.0.1:1")


def test_identity_of_living_dead_and_uncollected_processes():
    assert process_identity(os.getpid()) == process_identity(os.getpid()) != ""
    assert process_identity(0) == process_identity(-5) == ""
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process_identity(child.pid) == ""  # ended, not collected yet
    child.wait()
    assert process_identity(child.pid) == ""


def test_note_round_trip_and_damage(tmp_path, state, caplog):
    layout = Layout(tmp_path)
    assert read_state(layout) is None
    write_state(layout, state)
    assert read_state(layout) == state
    assert state.alive
    assert state.owned
    for text in ("", "{", "[]", '{"pid": 1}'):
        layout.state.write_text(text)
        assert read_state(layout) is None
    assert "is damaged" in caplog.text


def test_a_note_left_by_a_dead_server_counts_for_nothing(tmp_path, state):
    """Also when its number now belongs to another process, here this one: a stranger is neither used nor killed."""
    layout = Layout(tmp_path)
    write_state(layout, replace(state, identity="boot:1"))
    assert live_state(layout) is None
    assert running_server(layout, wait=1) is None
    assert not layout.state.exists()


def test_lock_keeps_others_out_and_gives_up(tmp_path, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "lock"
    with locked(path, 1, ""):
        with (
            pytest.raises(StartLockError, match="has been locked by another process") as caught,
            locked(path, 0.2, "busy"),
        ):
            pass
        assert caught.value.waited > 0.2
        assert caplog.text.count("busy; waiting") == 1
    order = []
    with locked(path, 1, ""):
        thread = threading.Thread(target=lambda: order.append(locked(path, 5, "").__enter__()))
        thread.start()
        time.sleep(0.3)
        assert order == []
    thread.join(5)
    assert order == [None]
