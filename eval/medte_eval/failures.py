"""Files of what could not be run, beside those of results: a report must not keep quiet about it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medte_eval.files import write_whole
from medte_eval.results import readable

FAILED_SUFFIX = ".failed.json"


def failure_file(folder: Path, task: str, system: str | None = None, **asked: Any) -> Path:
    """Return where a failure is noted; asking for the same again gives the same.

    :param folder: That of the results.
    :param task: The task as it was asked for.
    :param system: The same of the system; None for what fails on all of them.
    :param asked: JSON-able, what else was asked for.
    """
    text = json.dumps([task, system, asked], sort_keys=True, default=str)
    words = (readable(task), readable(system or "all-systems"), hashlib.sha256(text.encode()).hexdigest()[:12])
    return folder / f"{'__'.join(words)}{FAILED_SUFFIX}"


def note_failure(path: Path, found: Mapping[str, Any]) -> None:
    """Write a failure down, until :func:`forget_failure`.

    :param found: See `Failure.to_dict`.
    :raises OSError: If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, [json.dumps(found, ensure_ascii=False, indent=2), "\n"])


def forget_failure(path: Path | None) -> None:
    """Remove the note of a failure, if there is one: the task has been run."""
    if path is not None:
        path.unlink(missing_ok=True)
