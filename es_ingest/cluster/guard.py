"""The guard of a temporary server: a small process that ends the server when the process that asked for it is gone.

A Python process cannot clean up after its own SIGKILL, so another one watches it. The guard is the parent of the
server and the child of the asking process; as soon as its own parent changes, the asking process is dead, however it
died and from whichever thread it started the server. Linux also tells the server of the guard's death. It runs as a
script of its own (``python -I -S guard.py``), reads what to do as JSON from standard input and needs the standard
library alone.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PATIENCE = 8.0  # seconds for a quiet end when nobody waits for it any more
ASKED_SECONDS = 30.0


def spawn(spec: dict[str, Any], *, die_with_parent: bool) -> "subprocess.Popen[bytes]":
    """Start the server in a session of its own, its output appended to the console file.

    :param spec: ``command``, ``environment``, ``console`` and, to run as another user, ``uid`` and ``gid``.
    :param die_with_parent: ask Linux to end the server with the thread that calls this.
    """
    account: dict[str, Any] = {}
    if spec.get("uid") is not None:
        account = {"user": spec["uid"], "group": spec["gid"], "extra_groups": []}
    with Path(spec["console"]).open("ab") as console:
        return subprocess.Popen(
            spec["command"],
            env=spec["environment"],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            cwd="/",
            umask=0o077,
            start_new_session=True,
            # Python calls this after the change of user, which would undo it.
            preexec_fn=_death_signal() if die_with_parent else None,
            **account,
        )


def _death_signal() -> Callable[[], Any] | None:
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end_group(group: int) -> None:
    """Kill whatever is left of a session's process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def main() -> int:
    """Start the server, watch, end it, tidy up.

    :returns: the server's exit status, as `subprocess.Popen.returncode` counts it.
    """
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: asked.append(received))
    spec = json.load(sys.stdin)
    parent = int(spec["parent"])
    status = 0
    died = False
    if os.getppid() == parent:
        server = spawn(spec, die_with_parent=True)
        while server.poll() is None and not asked and os.getppid() == parent:
            time.sleep(0.1)
        died = server.poll() is not None
        if not died:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(ASKED_SECONDS if asked else float(spec.get("patience", PATIENCE)))
        end_group(server.pid)
        status = server.wait()
    Path(spec["state"]).unlink(missing_ok=True)
    if spec.get("discard") and not died:  # where it died by itself, the asking process first reads the log
        shutil.rmtree(spec["discard"], ignore_errors=True)
    return status


if __name__ == "__main__":
    code = main()
    sys.exit(code if code >= 0 else 128 - code)
