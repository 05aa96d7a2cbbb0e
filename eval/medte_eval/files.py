"""Files that are there whole or not at all, however the process ends."""

import os
from collections.abc import Iterable
from glob import escape
from pathlib import Path
from uuid import uuid4

from es_ingest.cluster.state import process_identity


def write_whole(path: Path, parts: Iterable[str]) -> None:
    """Write a text file so that another of its name stays until this one is complete and on disk.

    :param parts: The text, in pieces.
    :raises OSError: If it cannot be written; then nothing is left of it.
    """
    half = unfinished(path)
    try:
        with half.open("w", encoding="utf-8") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)


def unfinished(path: Path) -> Path:
    """Return a hidden name for what shall replace a file; what killed processes left under such is removed."""
    for old in path.parent.glob(f".{escape(path.name)}.*.*.part"):
        pid = old.name.split(".")[-3]
        if pid.isdigit() and not process_identity(int(pid)):
            old.unlink(missing_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.{uuid4().hex[:8]}.part")
