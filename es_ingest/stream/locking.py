"""One process at a time: locks on files that end with the process, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout


class LedgerError(Exception):
    """A ledger that cannot be used: locked, damaged, of another job, or on a full disk.

    :param message: What is wrong and how to mend it.
    :param path: The ledger.
    """

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message, path)  # both in args, so that the error pickles
        self.path = path

    def __str__(self) -> str:
        return str(self.args[0])


def lock_of(path: Path) -> Path:
    """Return the lock's file of what is kept at a path."""
    return path.with_name(f"{path.name}.lock")


@contextmanager
def alone(path: Path, what: str, otherwise: str = "") -> Iterator[None]:
    """Keep other processes off what is kept at a path for the time of a ``with`` block.

    Its lock's file is made when it is missing, and left there.

    :param what: What it is, at the beginning of a message.
    :param otherwise: What may be done where its file cannot be made, at the end of a message.
    :raises LedgerError: If another process holds it, or the lock's file cannot be made.
    """
    lock = FileLock(lock_of(path), mode=0o600)
    hint = f"; {otherwise}" if otherwise else ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise LedgerError(f"{what} is in use by another es-ingest; wait for it to end", str(path)) from None
    except OSError as error:
        raise LedgerError(f"{what} cannot be opened ({error}){hint}", str(path)) from error
    try:
        yield
    finally:
        lock.release()
