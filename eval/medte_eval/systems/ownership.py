"""Whose the indices made for evaluations are, so that those of a killed process are found and removed.

A process holds a lock on a file of its own as long as it lives, however it ends, and each index that it makes says in
its mapping's `_meta` which file that is. Who gets the lock knows that the process is dead.
"""

import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from elasticsearch import ApiError, Elasticsearch, TransportError
from filelock import FileLock, Timeout

from es_ingest.stream.target import ledger_folder

logger = logging.getLogger(__name__)

PREFIX = "medte-eval-"
META_KEY = "medte_eval"
"""Under the mapping's `_meta`."""


class Owner:
    """This process, as the owner of the indices that it makes.

    :param folder: Where its lock is; None takes the folder of `es-ingest`'s ledgers.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = ledger_folder() if folder is None else folder
        self._lock: FileLock | None = None

    def new_name(self) -> str:
        """Return the name of an index that nobody else has."""
        return f"{PREFIX}{uuid4().hex[:12]}"

    def mark(self) -> dict[str, Any]:
        """Return what an index keeps in its `_meta` to say that it is this process's; from now on it counts as alive.

        :raises OSError: If the lock's file cannot be made.
        """
        if self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._folder.resolve() / f"{PREFIX}{uuid4().hex[:12]}.lock", mode=0o600)
            lock.acquire(timeout=0)
            self._lock = lock
        return {META_KEY: {"host": socket.gethostname(), "lock": self._lock.lock_file}}

    def close(self, *, left: bool = False) -> None:
        """Give the lock up.

        :param left: Whether an index is or may be left, which the next evaluation removes; then the lock's file stays.
        """
        if self._lock is not None:
            lock, self._lock = self._lock, None
            if not left:
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()


def remove_orphans(client: Elasticsearch) -> list[str]:
    """Remove the indices of evaluations whose processes are dead, and return their names.

    Those of living processes stay, and those of other machines, of which it cannot be told from here.
    """
    try:
        answer = client.indices.get_mapping(index=f"{PREFIX}*", filter_path=f"*.mappings._meta.{META_KEY}")
    except ApiError as error:
        logger.info("what killed evaluations may have left cannot be looked for: %s", error)
        return []
    found: dict[str, Mapping[str, Any]] = {
        name: body["mappings"]["_meta"][META_KEY] for name, body in sorted(answer.items())
    }
    removed: list[str] = []
    for path in sorted({str(mark["lock"]) for mark in found.values() if mark["host"] == socket.gethostname()}):
        names = [name for name, mark in found.items() if mark["lock"] == path]
        if not Path(path).exists():
            told = "%s: stays, since its lock %s is gone; delete it by hand if no evaluation is under way"
            logger.info(told, ", ".join(names), path)
            continue
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # its owner lives, or is another user
            continue
        try:
            removed += [name for name in names if _remove(client, name)]
            if set(names) <= set(removed):
                Path(path).unlink(missing_ok=True)
        finally:
            lock.release()
    if removed:
        logger.info("removed %s, which a killed evaluation had left", ", ".join(removed))
    return removed


def _remove(client: Elasticsearch, name: str) -> bool:
    with suppress(ApiError, TransportError):  # a leftover must not keep the evaluation from going on
        client.options(ignore_status=404).indices.delete(index=name)
        return True
    logger.warning("index %s of a killed evaluation could not be removed; delete it by hand", name)
    return False
