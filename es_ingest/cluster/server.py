"""The server's process: start it, wait until it answers, end it."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from es_ingest.cluster import guard
from es_ingest.cluster.config import (
    Setting,
    check_heap,
    note_version,
    prepare,
    server_environment,
    settings_for,
    write_config,
)
from es_ingest.cluster.distribution import choose_release, install
from es_ingest.cluster.errors import OptionError, PortInUseError, ServerDiedError
from es_ingest.cluster.folders import ServerUser, cache_folder
from es_ingest.cluster.state import Layout, ServerState, clear_state, process_identity, write_state

logger = logging.getLogger("es_ingest.cluster")

READY_SECONDS = 90.0
STOP_SECONDS = 30.0
USUAL_PORTS = "9200-9300"  # the server takes the first free one
TAIL = 20
NOISE = re.compile(r"\s*|\s*at .*|\s*\.\.\. \d+ more|WARNING: Unknown module: .*")


@dataclass(frozen=True)
class Wish:
    """How a local server should be.

    :param heap: size of its heap, such as 1g.
    :param version: of Elasticsearch; None for the best one that a JDK here can run.
    :param port: HTTP port; 0 for any free one, None for the first free one from 9200.
    :param wait: seconds it may take to become ready.
    :param settings: further settings of elasticsearch.yml.
    """

    heap: str = "1g"
    version: str | None = None
    port: int | None = None
    wait: float = READY_SECONDS
    settings: Mapping[str, Setting] = field(default_factory=dict)


@dataclass(frozen=True)
class Started:
    """A server that this process started.

    :param state: the note about it.
    :param process: the server's launcher, or its guard.
    """

    state: ServerState
    process: "subprocess.Popen[bytes]"


def start(layout: Layout, wish: Wish, user: ServerUser | None, *, kept: bool, discard: bool = False) -> Started:
    """Start a server and wait until it answers. The caller holds the data folder's lock.

    :param layout: the data folder.
    :param wish: how the server should be.
    :param user: who it runs as.
    :param kept: True to let it live after this process; False to have a guard end it with this process.
    :param discard: remove the data folder when the server ends.
    :raises ClusterError: if it cannot be started; nothing of it is left running then.
    """
    heap = check_heap(wish.heap)
    check_port(wish.port)
    cache = cache_folder(user)
    release, jdk = choose_release(wish.version, cache, user)
    home = install(release, cache)
    prepare(layout, release.version, user)
    port = USUAL_PORTS if wish.port is None else str(wish.port)
    write_config(layout, home, heap, {**settings_for(layout, port), **wish.settings}, user)
    logger.info(
        "starting Elasticsearch %s on Java %s (%s), data in %s", release.version, jdk.version, jdk.home, layout.root
    )
    spec: dict[str, Any] = {
        "command": [str(home / "bin" / "elasticsearch")],
        "environment": server_environment(layout, jdk.home),
        "console": str(layout.console),
        "uid": user.uid if user else None,
        "gid": user.gid if user else None,
        "parent": os.getpid(),
        "state": str(layout.state),
        "discard": str(layout.root) if discard else None,
    }
    log_start = layout.log.stat().st_size if layout.log.exists() else 0
    process = guard.spawn(spec, die_with_parent=False) if kept else _spawn_guarded(spec)
    try:
        state = ServerState(
            pid=process.pid,
            identity=process_identity(process.pid),
            version=release.version,
            data=str(layout.root),
            heap=heap,
            kept=kept,
            owner=os.getpid(),
            owner_identity=process_identity(os.getpid()),
            started=time.time(),
        )
        write_state(layout, state)
        url = wait_ready(layout, process.poll, wish, log_start)
        state = replace(state, url=url)
        write_state(layout, state)
        note_version(layout, release.version)
    except BaseException:
        end(state.pid if kept else 0, process)
        clear_state(layout)
        raise
    return Started(state, process)


def _spawn_guarded(spec: dict[str, Any]) -> "subprocess.Popen[bytes]":
    with Path(spec["console"]).open("ab") as console:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(guard.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=console,
            cwd="/",
            start_new_session=True,
        )
    if process.stdin:
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(json.dumps(spec).encode())
    return process


def wait_ready(layout: Layout, poll: Callable[[], int | None], wish: Wish, log_start: int = 0) -> str:
    """Wait until the server answers and its indices can be read.

    :param layout: the data folder.
    :param poll: gives the process's exit status, None while it runs.
    :param wish: says how long to wait, and which port was asked for.
    :param log_start: size of the log before this start.
    :returns: the server's URL.
    :raises PortInUseError: if the port was taken at the last moment.
    :raises ServerDiedError: if the server ends, or is not ready in time.
    """
    deadline = time.monotonic() + wish.wait
    answered = ""
    while time.monotonic() < deadline:
        status = poll()
        if status is not None:
            raise _died(layout, status, wish, log_start)
        with suppress(OSError):
            answered = f"http://{layout.ports.read_text(encoding='ascii').split()[0]}"
        if answered and health(answered) in ("green", "yellow"):
            return answered
        time.sleep(0.1)
    if answered and (colour := health(answered)):
        logger.warning("%s answers, but after %.0f s some indices are still %s", answered, wish.wait, colour)
        return answered
    tail = log_tail(layout, log_start)
    message = f"Elasticsearch was not ready within {wish.wait:.0f} s; its last log lines:\n" + "\n".join(tail)
    raise ServerDiedError(message, log_tail=tail)


def health(url: str, timeout: float = 3.0) -> str:
    """Return the colour of a server without security: green, yellow or red; empty if it does not answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # loopback is not behind the proxy
    try:
        with opener.open(f"{url}/_cluster/health?timeout=1s&wait_for_status=yellow", timeout=timeout) as response:
            product, body = response.headers.get("X-elastic-product"), response.read()
    except urllib.error.HTTPError as error:  # 408 with a body: still red
        product, body = error.headers.get("X-elastic-product"), error.read()
    except OSError:
        return ""
    with suppress(ValueError, AttributeError):
        return str(json.loads(body).get("status", "")) if product == "Elasticsearch" else ""
    return ""


def check_port(port: int | None) -> None:
    """Refuse a port that is taken.

    :raises OptionError: if it is no port, or not ours to open.
    :raises PortInUseError: if something listens there.
    """
    if not port:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OverflowError as error:
            raise OptionError(f"port {port} is not between 0 and 65535", value=str(port)) from error
        except PermissionError as error:
            raise OptionError(f"this user may not open port {port}; choose one above 1023", value=str(port)) from error
        except OSError as error:
            raise _port_in_use(port) from error


def _port_in_use(port: int) -> PortInUseError:
    return PortInUseError(
        f"port {port} of 127.0.0.1 is taken; stop what listens there, or choose another --port (0: any free one)",
        port=port,
    )


def _died(layout: Layout, status: int, wish: Wish, log_start: int) -> PortInUseError | ServerDiedError:
    tail = log_tail(layout, log_start)
    if wish.port and any("BindException" in line or "BindHttpException" in line for line in tail):
        return _port_in_use(wish.port)
    killed = " (killed: most often the machine is out of memory; try a smaller --heap)" if status in (-9, 137) else ""
    message = f"Elasticsearch ended while starting, with status {status}{killed}; its last log lines:\n"
    return ServerDiedError(message + "\n".join(tail), returncode=status, log_tail=tail)


def log_tail(layout: Layout, start: int = 0, count: int = TAIL) -> list[str]:
    """Return the last lines of the log, after the last ones that the process itself printed; without stack frames.

    What it printed fills a quarter of the lines, or all where there is no log: a JVM that cannot start writes none.

    :param layout: the data folder.
    :param start: where in the log to begin, in bytes.
    :param count: how many lines at most.
    """
    logged = printed = ""
    with suppress(OSError), layout.log.open("rb") as log:
        log.seek(start if start <= layout.log.stat().st_size else 0)  # smaller: the log was rolled over
        logged = log.read().decode(errors="replace")
    with suppress(OSError):
        printed = layout.console.read_text(encoding="utf-8", errors="replace")
    lines = [line for line in logged.splitlines() if not NOISE.fullmatch(line)]
    said = [line for line in printed.splitlines() if not NOISE.fullmatch(line)]
    share = count // 4 if lines else count
    said = said[-share:] if share else []
    return said + lines[-(count - len(said)) :] if len(said) < count else said


def end(group: int, process: "subprocess.Popen[bytes]") -> None:
    """End a process this one started: ask, wait, then kill.

    :param group: process group to clear afterwards; 0 for none, as a guard clears its server's itself.
    :param process: the server's launcher, or its guard.
    """
    process.terminate()
    try:
        process.wait(STOP_SECONDS + (0 if group else 5))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if group:
        guard.end_group(group)


def end_state(state: ServerState) -> None:
    """End a kept server that another process started: ask, wait, then kill.

    :raises PermissionError: if it belongs to another user.
    """
    with suppress(ProcessLookupError):
        os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while state.alive and time.monotonic() < deadline:
        time.sleep(0.1)
    guard.end_group(state.pid)
