"""Learned settings of a hybrid search as a file: what `medte-eval tune` writes and `run --weights` takes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medte_eval.files import write_whole


class WeightsError(ValueError):
    """Neither two numbers nor a file that holds them."""


@dataclass(frozen=True, slots=True)
class Learned:
    """Settings of a hybrid search; `MedTEHybridRetriever` takes those of the same names.

    :param fusion: Way of fusion; None leaves it to the reader.
    :param weights: Of the dense and the lexical side.
    :param task: Name of the task that they were learned from; None if they were not learned.
    :param queries: From how many of its queries.
    """

    fusion: str | None
    weights: tuple[float, float]
    task: str | None = None
    queries: int = 0


def parse_weights(text: str) -> Learned:
    """Read ``0.7,0.3``, or a file that :func:`write_weights` wrote.

    :raises WeightsError: If it is neither.
    """
    parts = text.split(",")
    try:
        return Learned(None, (float(parts[0]), float(parts[1]))) if len(parts) == 2 else _read(Path(text))
    except ValueError as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(f"weights {text!r} are not two numbers, such as 0.7,0.3") from None


def write_weights(path: Path, learned: Learned, about: Mapping[str, Any]) -> None:
    """Write a file that :func:`parse_weights` reads, and whose ``hybrid`` are parameters of `MedTEHybridRetriever`.

    :param about: How they were learned.
    :raises OSError: If it cannot be written.
    """
    found = {"hybrid": {"fusion": learned.fusion, "weights": list(learned.weights)}, "learned": dict(about)}
    write_whole(path, [json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False), "\n"])


def _read(path: Path) -> Learned:
    try:
        whole = json.loads(path.read_text("utf-8"))
        found, about = whole["hybrid"], whole.get("learned") or {}
        dense, lexical = (float(one) for one in found["weights"])
        return Learned(found["fusion"], (dense, lexical), about.get("task"), int(about.get("train_queries", 0)))
    except OSError as error:
        raise WeightsError(
            f"weights {str(path)!r} are neither two numbers, such as 0.7,0.3, nor a readable file: {error.strerror}"
        ) from None
    except (ValueError, KeyError, TypeError):
        raise WeightsError(f"{path} holds no weights; name a file that `medte-eval tune` wrote") from None
