"""The data folder of a local server: its layout, its lock, and the note that says which process runs on it."""

import fcntl
import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from es_ingest.cluster.errors import FolderError, StartLockError

logger = logging.getLogger("es_ingest.cluster")


@dataclass(frozen=True)
class Layout:
    """Paths inside a data folder.

    :param root: the data folder.
    """

    root: Path

    @property
    def marker(self) -> Path:
        """Names the version that last ran here; its presence says that the folder is ours."""
        return self.root / "elasticsearch-version"

    @property
    def state(self) -> Path:
        """Says which process runs here."""
        return self.root / "server.json"

    @property
    def lock(self) -> Path:
        """Held by whoever starts or stops a server."""
        return self.root / "lock"

    @property
    def console(self) -> Path:
        """What the server's process printed; written anew at each start."""
        return self.root / "console.log"

    @property
    def config(self) -> Path:
        """Settings, written anew at each start."""
        return self.root / "config"

    @property
    def indices(self) -> Path:
        """What Elasticsearch stores."""
        return self.root / "data"

    @property
    def logs(self) -> Path:
        """Folder of the server's log."""
        return self.root / "logs"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.logs / "server.log"

    @property
    def ports(self) -> Path:
        """Written by the server once it listens: its HTTP address."""
        return self.logs / "http.ports"

    @property
    def temporary(self) -> Path:
        """Scratch space, emptied at each start."""
        return self.root / "tmp"


@dataclass(frozen=True)
class ServerState:
    """What is known of a server started here.

    :param pid: the process to stop: the server's launcher, or the guard of a temporary server.
    :param identity: tells this process from a later one with the same number; see `process_identity`.
    :param version: of Elasticsearch.
    :param data: the data folder.
    :param heap: such as 1g.
    :param kept: True if it stays until it is stopped, False if it ends with the process that started it.
    :param owner: process that started it.
    :param owner_identity: identity of that process.
    :param started: seconds since 1970.
    :param url: its address; None until it listens.
    """

    pid: int
    identity: str
    version: str
    data: str
    heap: str
    kept: bool
    owner: int
    owner_identity: str
    started: float
    url: str | None = None

    @property
    def alive(self) -> bool:
        """Whether that very process still runs."""
        return process_identity(self.pid) == self.identity

    @property
    def owned(self) -> bool:
        """Whether the process that started it still runs."""
        return process_identity(self.owner) == self.owner_identity


def read_state(layout: Layout) -> ServerState | None:
    """Return the note, whether or not its process lives; None if there is none or it is unreadable."""
    try:
        values: Any = json.loads(layout.state.read_text(encoding="utf-8"))
        return ServerState(**values)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        raise FolderError(f"cannot read {layout.state}: it belongs to another user", path=layout.state) from error
    except (OSError, ValueError, TypeError):
        logger.warning("%s is damaged and not heeded", layout.state)
        return None


def write_state(layout: Layout, state: ServerState) -> None:
    """Write the note so that a reader never sees half of it."""
    draft = layout.state.with_suffix(".new")
    draft.write_text(json.dumps(asdict(state), indent=1) + "\n", encoding="utf-8")
    draft.chmod(0o644)
    draft.replace(layout.state)


def clear_state(layout: Layout) -> None:
    """Remove the note."""
    layout.state.unlink(missing_ok=True)


def process_identity(pid: int) -> str:
    """Return a text that no other process of this machine has had under this number; empty if it does not run.

    A process that has ended and waits to be collected by its parent counts as ended.
    """
    if pid <= 0:
        return ""
    if Path("/proc/self/stat").exists():
        try:
            # Fields after the command name, which is in brackets and may hold anything: state is 3rd, start 22nd.
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        except OSError:
            return ""
        return "" if fields[0] in "ZX" else f"{boot}:{fields[19]}"
    listed = subprocess.run(
        ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout.split(maxsplit=1)
    return listed[1].strip() if len(listed) == 2 and not listed[0].startswith("Z") else ""


@contextmanager
def locked(path: Path, seconds: float, waiting: str) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel frees it when its holder dies.

    :param path: the lock file, made if need be and never removed.
    :param seconds: how long to wait for another holder.
    :param waiting: what to say while waiting.
    :raises FolderError: if the file cannot be opened.
    :raises StartLockError: if the wait was in vain.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        message = f"cannot open {path}: {error.strerror}; use a folder of your own: --data or ES_INGEST_HOME"
        raise FolderError(message, path=path) from error
    try:
        began = time.monotonic()
        while not _try_lock(descriptor):
            if waiting:
                logger.info("%s; waiting", waiting)
                waiting = ""
            waited = time.monotonic() - began
            if waited > seconds:
                message = f"{path} has been locked by another process for {waited:.0f} s; end it, or use another folder"
                raise StartLockError(message, path=path, waited=waited)
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
