"""What goes to a terminal, and how a command ends that is interrupted before it has begun."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("es-ingest")


def on_a_terminal(*arguments, folder, **env):
    """Run the command on a terminal of its own; returns what it has sent there."""
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *arguments],
        cwd=folder,
        env={**environment, "TERM": "xterm-256color", **env},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    ):
        os.close(follower)
        sent = b""
        try:
            while piece := os.read(leader, 4096):
                sent += piece
        except OSError:  # nobody writes there any more
            pass
        os.close(leader)
    return sent


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"id": "a", "text": "Gout of the left foot."}\n' * 3)
    return tmp_path


CALLS = [
    ["--help"],
    ["run", "--help"],
    ["formats"],
    ["run", "notes.jsonl", "--shards", "many"],
    ["plan", "notes.jsonl", "--model", "minilm", "--no-encode"],
]


@pytest.mark.parametrize("arguments", CALLS, ids=" ".join)
@pytest.mark.parametrize("env", [{"NO_COLOR": "1", "GITHUB_ACTIONS": "1"}, {"TERM": "dumb"}], ids=str)
def test_no_escape_sequences_where_none_are_wanted(corpus, arguments, env):
    sent = on_a_terminal(*arguments, folder=corpus, **env)
    assert sent
    assert b"\x1b" not in sent


def test_there_are_some_otherwise(corpus):
    assert b"\x1b[1m" in on_a_terminal(*CALLS[-1], folder=corpus)


def test_writing_and_searching_without_escape_sequences(corpus, index, connection):
    env = {"ES_URL": connection.url, "ES_INGEST_STATE": str(corpus / "state"), "NO_COLOR": "1"}
    run = ["run", "notes.jsonl", "--index", index, "--model", "minilm"]
    for arguments in (run, ["search", index, "gout"], ["verify", index], ["rollback", index]):
        sent = on_a_terminal(*arguments, folder=corpus, **env)
        assert sent
        assert b"\x1b" not in sent


@pytest.mark.parametrize("piped", [{}, {"GITHUB_ACTIONS": "1"}], ids=str)
def test_no_escape_sequences_where_there_is_no_terminal(es_ingest, corpus, piped):
    for arguments in CALLS:
        done = es_ingest(*arguments, NO_COLOR="", **piped)
        assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.parametrize("module", ["typer", "es_ingest.faults", "es_ingest.readers", "rich.console", "elasticsearch"])
def test_an_interrupt_while_the_command_is_imported_is_no_traceback(corpus, module):
    program = f"""
import sys
class Interrupting:
    def find_spec(self, name, *_):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
from es_ingest.cli import main
main()
"""
    command = [sys.executable, "-c", program, "run", "notes.jsonl", "--model", "minilm", "--index", "never-made"]
    done = subprocess.run(command, cwd=corpus, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert (done.returncode, done.stdout) == (130, ""), done.stderr


@pytest.mark.parametrize(("name", "status"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_waits_for_the_end_of_an_import(tmp_path, name, status):
    (tmp_path / "slow.py").write_text(
        f"import os, signal\nos.kill(os.getpid(), signal.{name})\nsum(range(1000))\nprint('imported')\n"
    )
    program = """
import time, typer
from es_ingest.faults import reported
from es_ingest.terminal import run_command
app = typer.Typer()
@app.command()
def wait() -> None:
    with reported(interrupted="all is well"):
        import slow
        time.sleep(30)
run_command(app)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (status, "imported\n"), done.stderr
    assert done.stderr == f"{'interrupted' if name == 'SIGINT' else 'terminated'}; all is well\n"
