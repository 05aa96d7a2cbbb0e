"""The file of triplets, and the report beside it."""

import json
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from medte_eval.files import write_whole
from medte_eval.tasks.building.manifest import PRIVATE
from medte_haystack.errors import TrainingOutputError
from medte_train.pair_files import write_pairs
from medte_train.synthesis.notes import Note
from medte_train.synthesis.synthesize import FAILED, NOT_ASKED, Synthesis

logger = logging.getLogger(__name__)


def report_of(path: Path) -> Path:
    """Return where the report of a file of triplets is."""
    return path.with_name(f"{path.name.partition('.')[0]}.synthesis.json")


def write_triplets(path: Path, synthesis: Synthesis, notes: Iterable[Note]) -> dict[str, Any]:
    """Write the triplets of notes; another file of the name stays until all are made.

    Triplets, and replies that are kept on the way, are closed to other users: they quote clinical notes.

    :returns: The report, which is written beside them.
    :raises ReadError: If the notes cannot be read, or the generator fails again and again.
    :raises TrainingOutputError: If a file cannot be written.
    """
    private: list[bool] = []

    def watched() -> Iterator[Note]:
        for note in notes:
            if note.private and not private:
                private.append(True)
            yield note

    before = os.umask(0o077)
    try:
        write_pairs(path, synthesis.make(watched()))
    finally:
        os.umask(before)
    dropped = synthesis.dropped
    report = {
        **synthesis.report(),
        "not_asked": dropped[NOT_ASKED] + dropped[FAILED],
        "notice": PRIVATE if private else "",
    }
    beside = report_of(path)
    try:
        write_whole(beside, [json.dumps(report, indent=2, ensure_ascii=False), "\n"])
    except OSError as error:
        raise TrainingOutputError(f"{beside} cannot be written: {error.strerror or error}", path=str(beside)) from error
    if private:
        logger.warning("%s: %s", path, PRIVATE)
    return report
