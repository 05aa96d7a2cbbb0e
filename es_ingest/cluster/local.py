"""Local servers: the kept one of ``es-ingest server start``, and temporary ones that end with their process.

Who may use what:

- A kept server serves everyone who names its data folder, and stays until ``es-ingest server stop``.
- Otherwise a temporary server runs on the same folder for one process and ends with it; the indices stay. A second
  process that wants the folder meanwhile gets an error rather than a server that may vanish under it. If the first
  process is dead and its server is still ending, the second waits.
- An ephemeral server has a new folder of its own, removed afterwards.
"""

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from es_ingest.cluster.config import FIX, check_ours
from es_ingest.cluster.connection import Connection
from es_ingest.cluster.errors import AlreadyRunningError, ClusterError, OptionError, ServerDiedError
from es_ingest.cluster.folders import ServerUser, data_folder, make_folder, server_user
from es_ingest.cluster.server import STOP_SECONDS, Wish, end, end_state, health, start, wait_ready
from es_ingest.cluster.state import Layout, ServerState, clear_state, locked, read_state

logger = logging.getLogger("es_ingest.cluster")

LOCK_SECONDS = 180.0


@contextmanager
def local_cluster(data: Path | None, wish: Wish, *, ephemeral: bool, reason: str) -> Iterator[Connection]:
    """Give a local server for the time of a ``with`` block.

    :param data: the data folder; None for the default one. Not with `ephemeral`.
    :param wish: how a server should be that is started here.
    :param ephemeral: start on a new folder and remove it afterwards.
    :param reason: why local; the connection's reason tells more.
    :raises AlreadyRunningError: if another process uses a temporary server on the folder.
    :raises ClusterError: if no server can be started.
    """
    user = server_user()
    if ephemeral:
        if data is not None:
            raise OptionError(f"an ephemeral server makes its own data folder; leave out data={data}", value=str(data))
        with _ephemeral(wish, user, reason) as connection:
            yield connection
        return
    layout = Layout(data_folder(data, user))
    with _folder_lock(layout, user):
        running = running_server(layout, wish.wait)
        if running and not running.kept:
            raise AlreadyRunningError(_taken(running), pid=running.owner, data=layout.root)
        started = None if running else start(layout, wish, user, kept=False)
    if running:
        if wish.version not in (None, running.version):
            logger.warning("the server kept on %s is %s, not %s", layout.root, running.version, wish.version)
        yield _connection(running, f"{reason}: the server kept by `es-ingest server start` on {layout.root}")
    elif started:
        owner = os.getpid()
        try:
            yield _connection(started.state, f"{reason}: a temporary server on {layout.root}")
        finally:
            if os.getpid() == owner:  # not in a fork of this process
                end(0, started.process)


@contextmanager
def _ephemeral(wish: Wish, user: ServerUser | None, reason: str) -> Iterator[Connection]:
    layout = Layout(Path(tempfile.mkdtemp(prefix="medte-es-")))
    owner = os.getpid()
    try:
        layout.root.chmod(0o711 if user else 0o700)
        make_folder(layout.root, user, fix="set TMPDIR to a folder that others may enter")
        started = start(layout, wish, user, kept=False, discard=True)
        try:
            yield _connection(started.state, f"{reason}: an ephemeral server")
        finally:
            if os.getpid() == owner:
                end(0, started.process)
    finally:
        if os.getpid() == owner:
            shutil.rmtree(layout.root, ignore_errors=True)


def start_kept(data: Path | None, wish: Wish) -> tuple[ServerState, bool]:
    """Start a server that outlives this process, unless one runs.

    :param data: the data folder; None for the default one.
    :param wish: how the server should be.
    :returns: the server, and whether it was started here.
    :raises AlreadyRunningError: if a process uses a temporary server on the folder.
    :raises ClusterError: if it cannot be started.
    """
    user = server_user()
    layout = Layout(data_folder(data, user))
    with _folder_lock(layout, user):
        running = running_server(layout, wish.wait)
        if running is None:
            return start(layout, wish, user, kept=True).state, True
        if not running.kept:
            raise AlreadyRunningError(_taken(running), pid=running.owner, data=layout.root)
        return running, False


def stop_kept(data: Path | None) -> ServerState | None:
    """Stop the kept server of a data folder.

    :param data: the data folder; None for the default one.
    :returns: the server that was stopped; None if none ran.
    :raises AlreadyRunningError: if what runs is a temporary server of another process.
    :raises ClusterError: if it belongs to another user.
    """
    layout, state = find(data)
    if state is None:
        return None
    with locked(layout.lock, LOCK_SECONDS, f"another process starts or stops a server on {layout.root}"):
        state = live_state(layout)
        if state is None:
            return None
        if not state.kept:
            raise AlreadyRunningError(_taken(state), pid=state.owner, data=layout.root)
        try:
            end_state(state)
        except PermissionError as error:
            message = f"the server on {layout.root} (pid {state.pid}) belongs to another user; stop it as that user"
            raise ClusterError(message) from error
        clear_state(layout)
        return state


def find(data: Path | None) -> tuple[Layout, ServerState | None]:
    """Return a data folder and the server that runs on it, kept or temporary, ready or not.

    :param data: the data folder; None for the default one.
    """
    layout = Layout(data_folder(data, server_user()))
    return layout, live_state(layout)


def live_state(layout: Layout) -> ServerState | None:
    """Return the server whose process lives; a note left by a dead one counts for nothing."""
    state = read_state(layout)
    return state if state and state.alive else None


def running_server(layout: Layout, wait: float) -> ServerState | None:
    """Return the server of a data folder once it answers. The caller holds the folder's lock.

    :param layout: the data folder.
    :param wait: seconds to wait for a kept server that does not answer yet.
    :returns: None if none runs. A temporary server whose process is dead is awaited, until it has ended too.
    :raises ServerDiedError: if a process lives and does not answer.
    """
    state = live_state(layout)
    if state is None:
        if read_state(layout):
            logger.info("the server noted in %s is gone; the note is removed", layout.state)
            clear_state(layout)
        return None
    if not state.kept:
        return None if _orphan_ended(state) else state
    if state.url is None or not health(state.url):
        logger.info("the server kept on %s (pid %d) does not answer yet; waiting", layout.root, state.pid)
        url = wait_ready(layout, partial(_exit_status, state), Wish(wait=wait))
        state = replace(state, url=url)
    return state


def _exit_status(state: ServerState) -> int | None:
    return None if state.alive else 1  # another process's child: its status cannot be known


def _orphan_ended(state: ServerState) -> bool:
    if state.owned:
        return False
    logger.info("process %d is dead; waiting for its server (pid %d) to end", state.owner, state.pid)
    deadline = time.monotonic() + STOP_SECONDS
    while state.alive:
        if time.monotonic() > deadline:
            message = f"the server of dead process {state.owner} does not end; kill process {state.pid}"
            raise ServerDiedError(message)
        time.sleep(0.1)
    return True


@contextmanager
def _folder_lock(layout: Layout, user: ServerUser | None) -> Iterator[None]:
    check_ours(layout)
    make_folder(layout.root, user, fix=FIX)
    with locked(layout.lock, LOCK_SECONDS, f"another process starts or stops a server on {layout.root}"):
        yield


def _connection(state: ServerState, reason: str) -> Connection:
    return Connection(str(state.url), "local", reason, state.version)


def _taken(state: ServerState) -> str:
    return (
        f"process {state.owner} uses a temporary server on {state.data}; wait until it ends, or run "
        "`es-ingest server start` before both to share one server, or choose another data folder"
    )
