import hashlib
import re

import pytest

from bench.encode import peers
from bench.encode.peers import REQUIREMENTS, PeersError, peers_python


@pytest.fixture
def commands(monkeypatch):
    """The commands that would run."""
    found: list[tuple[str, ...]] = []
    monkeypatch.setattr(peers, "_run", lambda *command: found.append(command))
    return found


def test_the_environment_is_made_and_then_kept_until_its_pins_change(tmp_path, commands):
    requirements, folder = tmp_path / "pins.txt", tmp_path / "venv"
    requirements.write_text("one==1\n")
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").touch()
    assert peers_python(folder, requirements) == str(folder / "bin" / "python")
    assert [command[1] for command in commands] == ["venv", "pip"]
    peers_python(folder, requirements)
    assert len(commands) == 2
    requirements.write_text("one==2\n")
    peers_python(folder, requirements)
    assert len(commands) == 4
    assert (folder / "medte-bench-requirements").read_text() == hashlib.sha256(b"one==2\n").hexdigest()


def test_without_uv_it_cannot_be_made(tmp_path, commands, monkeypatch):
    monkeypatch.setattr(peers.sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(peers.shutil, "which", lambda name: None)
    with pytest.raises(PeersError, match="no uv"):
        peers_python(tmp_path / "venv")
    assert commands == []


def test_a_failing_command_is_told_by_its_last_line():
    with pytest.raises(PeersError, match="cannot be made: the network is gone"):
        peers._run("sh", "-c", "echo first >&2; echo the network is gone >&2; exit 1")


def test_the_pins_name_versions_and_no_host():
    text = REQUIREMENTS.read_text()
    assert not re.search(r"https?://|--(extra-)?index-url", text)
    pinned = {line.split("==")[0] for line in text.splitlines() if "==" in line}
    assert {"sentence-transformers", "optimum-onnx", "optimum-intel", "onnxruntime", "openvino", "torch"} <= pinned
