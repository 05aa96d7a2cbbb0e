"""Files that are there whole or not at all, however the process ends."""

import os
from collections.abc import Iterable
from glob import escape
from pathlib import Path
from uuid import uuid4


def write_whole(path: Path, parts: Iterable[str]) -> None:
    """Write a text file so that another of its name stays until this one is complete and on disk.

    :param parts: The text, in pieces.
    :raises OSError: If it cannot be written; then nothing is left of it.
    """
    for old in path.parent.glob(f".{escape(path.name)}.*.*.part"):
        pid = old.name.split(".")[-3]
        if pid.isdigit() and not _is_alive(int(pid)):  # it was killed while it wrote this
            old.unlink(missing_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex[:8]}.part")
    try:
        with half.open("w", encoding="utf-8") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is another user's
        return True
    return True
