"""Data sets of the Hugging Face hub, or local copies of their files: Parquet or JSON Lines, a file or more a split."""

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medte_eval.sources.access import Access
from medte_eval.sources.cache import Kept
from medte_eval.sources.errors import SourceError
from medte_eval.sources.exports import PARQUET, files, rows

logger = logging.getLogger(__name__)

SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "dev": "validation", "test": "test"}
_SUFFIXES = (*PARQUET, ".jsonl")


def split_rows(access: Access, source: str, repository: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Stream a data set's rows with their places and splits: train, validation, test.

    :param source: Its name in messages.
    :param repository: The hub's owner/name; `Access.export`, where there is one, is read instead.
    :raises SourceError: If it cannot be had or read, or a file's name tells no split.
    """
    folder = access.export or _download(access, source, repository)
    found = [(_split(source, path), path) for path in files(source, folder, _SUFFIXES)]
    order = list(dict.fromkeys(SPLITS.values()))
    for split, path in sorted(found, key=lambda one: (order.index(one[0]), one[1])):
        for place, row in rows(source, path):
            yield place, split, row


def _split(source: str, path: Path) -> str:
    """Tell a file's split by its name, such as train-00000-of-00001.parquet or phrases_no_exclude_test.jsonl."""
    words = path.name.lower().replace("-", "_").replace(".", "_").split("_")
    found = {SPLITS[word] for word in words if word in SPLITS}
    if len(found) != 1:
        raise SourceError(source, str(path), "its name tells no split; put train, validation or test into it")
    return found.pop()


def _download(access: Access, source: str, repository: str) -> Path:
    """Return the folder of a data set's files in the hub's own cache, fetched where they are not there."""
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                repository,
                repo_type="dataset",
                allow_patterns=[f"*{suffix}" for suffix in _SUFFIXES],
                local_files_only=access.offline,
                endpoint=os.environ.get("HF_ENDPOINT") or None,
            )
        )
    except Exception as error:  # the hub client raises its own, httpx's and OS errors alike
        reason = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
        what = (
            f"is not to be had from the hub{' offline' * access.offline}: {reason}\n"
            f"  cached: fetch it once where the hub is reachable (`hf download --repo-type dataset {repository}`) and"
            " set HF_HOME to that cache\n"
            "  local:  give its .parquet or .jsonl files as a local export"
        )
        raise SourceError(source, repository, what) from error
    logger.info("%s: hub snapshot %s", source, folder.name)
    fetched = datetime.fromtimestamp(folder.stat().st_mtime, UTC).isoformat(timespec="seconds")
    access.replies[f"hub:{repository}"] = Kept(b"", folder.name, fetched)
    return folder
