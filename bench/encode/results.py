"""What is made of seconds and vectors: rows, and the table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.encode.ceiling import Dimensions, tokens_per_second
from bench.encode.session import Turns
from bench.encode.texts import TextSet
from bench.encode.ways import REFERENCE, Way

_HEADS = ("tokens/s", "texts/s", "ratio", "ceiling", "cosine min", "mean", "peak MB")


@dataclass(frozen=True, slots=True)
class Row:
    """What one way did with one set of texts; figures are None where the way did not run.

    :param way: Its name.
    :param label: As it stands in the table.
    :param not_run: The reason why not; None if it ran.
    :param precision: What it computed in.
    :param batch: Texts of a batch, where that is chosen from outside.
    :param seconds: Of each round.
    :param tokens_per_second: By the median round, as are `texts_per_second` and `ratio`.
    :param ratio: Speed over the reference's.
    :param ceiling_share: Share of what the machine's matrix products would allow in that precision.
    :param cosine_min: Of each text's vector to the reference's, and `cosine_mean`.
    :param peak_mb: Largest resident size of its process while it encoded.
    :param gpu_peak_mb: Largest size of its tensors on the GPU.
    """

    way: str
    label: str
    not_run: str | None = None
    precision: str | None = None
    batch: int | None = None
    seconds: Sequence[float] = ()
    tokens_per_second: float | None = None
    texts_per_second: float | None = None
    ratio: float | None = None
    ceiling_share: float | None = None
    cosine_min: float | None = None
    cosine_mean: float | None = None
    peak_mb: float | None = None
    gpu_peak_mb: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return {**asdict(self), "seconds": list(self.seconds)}


def rows(
    ways: Sequence[Way],
    texts: TextSet,
    turns: Mapping[str, Turns],
    failed: Mapping[str, str],
    about: Mapping[str, Mapping[str, Any]],
    rates: Mapping[str, float],
    dimensions: Dimensions,
    *,
    real: bool = True,
) -> list[Row]:
    """Make a row of each way.

    :param turns: What the ways did.
    :param failed: Why others did not run.
    :param about: What the workers told of themselves.
    :param rates: Best matrix products of this machine, in operations a second, by precision.
    :param real: Whether the model's weights are trained ones; the vectors of random ones hardly differ, so their
        cosines are left out.
    """
    reference = turns.get(REFERENCE)
    found = []
    for way in ways:
        done = turns.get(way.name)
        if done is None:
            found.append(Row(way.name, way.label, not_run=failed.get(way.name, "unknown reason")))
            continue
        seconds = statistics.median(done.seconds)
        precision = about.get(way.name, {}).get("precision")
        rate = rates.get(precision or "")
        ceiling = None if rate is None else tokens_per_second(rate, dimensions, texts.lengths)
        least, mean = (None, None) if reference is None or not real else cosines(reference.vectors, done.vectors)
        found.append(
            Row(
                way.name,
                way.label,
                precision=precision,
                batch=done.batch,
                seconds=done.seconds,
                tokens_per_second=texts.tokens / seconds,
                texts_per_second=len(texts.texts) / seconds,
                ratio=None if reference is None else statistics.median(reference.seconds) / seconds,
                ceiling_share=None if ceiling is None else texts.tokens / seconds / ceiling,
                cosine_min=least,
                cosine_mean=mean,
                peak_mb=done.peaks.get("peak_mb"),
                gpu_peak_mb=done.peaks.get("gpu_peak_mb"),
            )
        )
    return found


def cosines(
    reference: NDArray[np.float32] | None, vectors: NDArray[np.float32] | None
) -> tuple[float | None, float | None]:
    """Return the least and the mean cosine of rows to the reference's; None where there are no vectors."""
    if reference is None or vectors is None:
        return None, None
    left, right = (np.asarray(one, dtype=np.float64) for one in (reference, vectors))
    found = np.sum(left * right, axis=1) / (np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1))
    return float(found.min()), float(found.mean())


def table(title: str, found: Sequence[Row]) -> str:
    """Return the rows as a plain table; those that did not run say why."""
    lines = [title, f"{'':48}" + "".join(f"{head:>12}" for head in _HEADS)]
    for row in found:
        label = row.label.replace("best batch", f"best batch ({row.batch})")
        if row.not_run is not None:
            lines.append(f"{label:48}  not run: {row.not_run}")
            continue
        cells = (
            _cell(row.tokens_per_second, ",.0f"),
            _cell(row.texts_per_second, ",.1f"),
            _cell(row.ratio, ".2f"),
            _cell(row.ceiling_share, ".0%"),
            _cell(row.cosine_min, ".6f"),
            _cell(row.cosine_mean, ".6f"),
            _cell(row.peak_mb, ",.0f"),
        )
        lines.append(f"{label:48}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
