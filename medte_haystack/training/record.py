"""What a run leaves in its folder beside the model: what it was told, how it went, and checkpoints to go on from."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from medte_haystack.errors import TrainingConfigError
from medte_haystack.training.config_file import differences
from medte_haystack.training.model import unwritten

logger = logging.getLogger(__name__)

RECORD = "run.json"
DECONTAMINATION = "decontamination.json"
SCORES = "scores.json"
LOG = "log.jsonl"
MODEL = "model"
_CHECKPOINT = "checkpoint-"
_STATE = "trainer_state.json"  # the last file of a checkpoint


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run made.

    :param folder: Of the model.
    :param steps: Batches it was trained on, those before an interruption included.
    :param sources: Pairs used and left out, and share of the batches, by source.
    :param scores: By ``base`` and ``model``, as what evaluates gives them; empty where nothing is evaluated.
    :param seconds: Spent in this call.
    :param before: Whether all of it had been done before.
    """

    folder: Path
    steps: int
    sources: list[dict[str, Any]]
    scores: dict[str, dict[str, float]]
    seconds: float
    before: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {
            "model": str(self.folder),
            "steps": self.steps,
            "sources": self.sources,
            "scores": self.scores,
            "seconds": round(self.seconds, 1),
            "done_before": self.before,
        }


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest whole checkpoint; what a killed run left of later ones is removed."""
    found = sorted(folder.glob(f"{_CHECKPOINT}*"), key=_step, reverse=True)
    for path in found:
        if read_json_object(path / _STATE).get("global_step") == _step(path):
            return path
        logger.warning("%s is not whole and removed: the run was ended while it was written", path)
        shutil.rmtree(path)
    return None


def take_up(checkpoint: Path, **steps: float) -> int:
    """Make a checkpoint's state that of a run in this place with these settings, which may both have changed.

    :param steps: Steps between what the trainer's state calls so: ``save_steps``, ``logging_steps``.
    :returns: Evaluations in a row, up to the checkpoint, that brought no better score.
    :raises TrainingConfigError: If the checkpoint with the best weights is gone.
    :raises TrainingOutputError: If the state cannot be written.
    """
    state = read_json_object(checkpoint / _STATE)
    changed = state | steps
    if best := state.get("best_model_checkpoint"):
        place = checkpoint.absolute().with_name(Path(best).name)
        if not place.is_dir():
            raise TrainingConfigError(
                f"{place}, which has the best weights so far, is gone; put it back, or delete {checkpoint.parent} and"
                " start anew",
                path=str(place),
            )
        changed["best_model_checkpoint"] = str(place)
    if changed != state:
        write_json(checkpoint / _STATE, changed)
    callback = state.get("stateful_callbacks", {}).get("EarlyStoppingCallback", {})
    count: int = callback.get("attributes", {}).get("early_stopping_patience_counter", 0)
    return count


def check_same_run(folder: Path, record: Mapping[str, Any]) -> None:
    """Check that what a folder holds was made by the same run.

    :param record: What decides the run's weights.
    :raises TrainingConfigError: If it was another; names each difference with both values.
    """
    earlier = read_json_object(folder / RECORD)
    for name, ours, theirs in differences(record["versions"], earlier.get("versions", {})):
        logger.warning("%s is %s here and was %s when this run began; it goes on, with other bits", name, ours, theirs)
    found = differences(record, earlier | {"versions": record["versions"]})
    if found:
        told = "; ".join(f"{key} is {_short(ours)} here and {_short(theirs)} there" for key, ours, theirs in found[:5])
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise TrainingConfigError(
            f"{folder} holds another run: {told}{more}. Name another folder with --out, or delete this one",
            path=str(folder),
            differences=found,
        )


def write_json(path: Path, value: object) -> None:
    """Write a JSON file whole or not at all.

    :raises TrainingOutputError: If it cannot be written.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all.

    :raises TrainingOutputError: If it cannot be written.
    """
    half = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        half.write_text(text, encoding="utf-8")
        half.replace(path)
    except OSError as error:
        raise unwritten(path, error) from error
    finally:
        half.unlink(missing_ok=True)


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a JSON file holds; nothing where it is missing, damaged or no object."""
    try:
        value = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _step(path: Path) -> int:
    number = path.name.removeprefix(_CHECKPOINT)
    return int(number) if number.isdigit() else -1


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"
