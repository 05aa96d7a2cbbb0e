"""One process at a time: locks on files that end with the process, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from es_ingest.stream.ledger import LedgerError


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Hold a lock for the time of a ``with`` block.

    :param path: The lock's file; made when it is missing, and left there.
    :param what: What it stands for, at the beginning of a message.
    :raises LedgerError: If another process holds it, or the file cannot be made.
    """
    lock = FileLock(path, mode=0o600)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise LedgerError(f"{what} is in use by another es-ingest; wait for it to end", str(path)) from None
    except OSError as error:
        raise LedgerError(f"{what} cannot be locked by the file {path} ({error})", str(path)) from error
    try:
        yield
    finally:
        lock.release()
