"""What is kept of an evaluation: mteb's own result file, and beside it everything that led to it."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mteb.results import TaskResult

HEADLINE = ("ndcg_at_10", "recall_at_10", "recall_at_1", "mrr_at_10")
_PACKAGES = ("medte", "mteb", "torch", "transformers", "elasticsearch", "numpy")


@dataclass(frozen=True, slots=True)
class Outcome:
    """One task run on one system.

    :param result: mteb's own result.
    :param task: Name, description and data of the task.
    :param system: Name and parameters of the system; of the server, if there was one.
    :param model: What the model is.
    :param counts: Queries, documents, chunks, truncated texts, and source rows left out.
    :param seconds: Of indexing and searching.
    :param notes: What a reader of the scores must know.
    """

    result: "TaskResult"
    task: Mapping[str, Any]
    system: Mapping[str, Any]
    model: Mapping[str, Any]
    counts: Mapping[str, int]
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> dict[str, float]:
        """The scores that are printed, in [0, 1]."""
        (found,) = self.result.scores["test"]
        return {name: float(found[name]) for name in HEADLINE}

    @property
    def main_score(self) -> str:
        """Name of the task's main score."""
        return str(self.task["main_score"])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values: all but mteb's further scores."""
        return {
            "task": dict(self.task),
            "system": dict(self.system),
            "model": dict(self.model),
            "scores": self.scores,
            "counts": dict(self.counts),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "phases": [dict(phase) for phase in self.result.evaluation_phases or ()],
            "notes": list(self.notes),
            "versions": {name: version(name) for name in _PACKAGES},
        }

    def file_stem(self) -> str:
        """Return a file name that the same run has again, and a run with other parameters or data has not."""
        decides = json.dumps([dict(self.task), dict(self.system), dict(self.model)], sort_keys=True, default=str)
        words = (self.task["name"], self.model["name"], self.system["name"])
        readable = "__".join(re.sub(r"[^A-Za-z0-9.]+", "-", str(word)).strip("-") for word in words)
        return f"{readable}__{hashlib.sha256(decides.encode()).hexdigest()[:8]}"

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write mteb's result and the run beside it; the same run overwrites its earlier files.

        :param folder: Where; it is made when it is missing.
        :returns: Path of mteb's `TaskResult` (``*.json``), path of the rest (``*.run.json``).
        """
        folder.mkdir(parents=True, exist_ok=True)
        scores, run = folder / f"{self.file_stem()}.json", folder / f"{self.file_stem()}.run.json"
        _finite(self.result).to_disk(scores)
        run.write_text(json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
        return scores, run


def _finite(result: "TaskResult") -> "TaskResult":
    """Leave out what mteb could not compute: NaN is no JSON."""
    kept = {
        split: [{name: value for name, value in one.items() if not _is_nan(value)} for one in scores]
        for split, scores in result.scores.items()
    }
    return result.model_copy(update={"scores": kept})


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
