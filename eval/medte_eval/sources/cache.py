"""Replies on disk, and taking turns at a host: what processes that share a cache folder have in common.

A reply is one gzip file: a line of JSON (URL, date, sha256 of the body), then the body as it came. It is written beside
its place and renamed, so that a file of that name is whole; its hash is checked whenever it is read.
"""

import gzip
import hashlib
import json
import logging
import os
import re
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

logger = logging.getLogger(__name__)

_PATIENCE = 10.0  # seconds to wait for another process before saying so
_LEVEL = 5  # of compression; higher ones cost more time than they save space


@dataclass(frozen=True, slots=True)
class Kept:
    """A reply.

    :param body: As the host gave it.
    :param sha256: The body's, in hex.
    :param fetched: When it came, UTC, ISO 8601.
    """

    body: bytes = field(repr=False)
    sha256: str
    fetched: str

    def without_body(self) -> "Kept":
        """Return what tells this reply from others, for a manifest."""
        return replace(self, body=b"")


def place_of(cache: Path, url: str) -> Path:
    """Return the file of a URL's reply."""
    key = hashlib.sha256(url.encode()).hexdigest()
    return cache / "replies" / key[:2] / f"{key[2:34]}.gz"


def load(path: Path) -> Kept | None:
    """Read a reply; None where there is none. A damaged one is told of and counts as none."""
    try:
        head, _, body = gzip.decompress(path.read_bytes()).partition(b"\n")
        said = json.loads(head)
        kept = Kept(body, hashlib.sha256(body).hexdigest(), str(said["fetched"]))
        if kept.sha256 == said["sha256"]:
            return kept
    except FileNotFoundError:
        return None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError):
        pass
    logger.warning("the kept reply %s is damaged and not used", path)
    return None


def keep(path: Path, url: str, body: bytes) -> Kept:
    """Write a reply. Only one process at a time may write at a path: its host's `turn` sees to that.

    :raises OSError: If the folder cannot be written.
    """
    kept = Kept(body, hashlib.sha256(body).hexdigest(), datetime.now(UTC).isoformat(timespec="seconds"))
    head = json.dumps({"url": url, "fetched": kept.fetched, "sha256": kept.sha256}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")  # what a killed process left there is overwritten
    with part.open("wb") as file:
        file.write(gzip.compress(head + b"\n" + body, _LEVEL, mtime=0))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return kept


@contextmanager
def turn(cache: Path, host: str, interval: float) -> Iterator[Callable[[], None]]:
    """Be the only process that asks a host, for the time of a ``with`` block.

    :param cache: The folder that the processes share.
    :param host: Name and port.
    :param interval: Least seconds between two requests.
    :returns: To be called before each request; waits until the interval since the last one, whoever's, is over.
    :raises OSError: If the folder cannot be written.
    """
    folder = cache / "hosts"
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]", "_", host)
    asked = folder / f"{name}.asked"  # its time of change is that of the last request

    def pause() -> None:
        since = time.time() - asked.stat().st_mtime if asked.exists() else interval
        if 0 <= since < interval:  # a clock that was set back is no reason to wait
            time.sleep(interval - since)
        asked.touch()

    lock = FileLock(folder / f"{name}.lock")
    try:
        lock.acquire(timeout=_PATIENCE)
    except Timeout:
        logger.info("waiting for another process that asks %s", host)
        lock.acquire()
    try:
        yield pause
    finally:
        lock.release()
