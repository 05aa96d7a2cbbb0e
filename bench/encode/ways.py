"""The ways to encode that are compared: one row each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Python = Literal["ours", "peers"]

DEFAULT_BATCH = 32
"""What sentence-transformers takes when nothing is said."""
REFERENCE = "st-fp32"
"""The way that ratios and cosines refer to; it always runs."""

_THEIRS = "bench.encode.theirs:SentenceTransformersWay"
_HAYSTACK = "bench.encode.theirs:HaystackWay"
_OURS = "bench.encode.ours:EncoderWay"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to encode.

    :param name: As given to ``--ways``.
    :param label: As it stands in the table.
    :param loader: ``module:class`` that the worker makes with `options`, the model's folder and the device.
    :param options: Its own options.
    :param batch: Texts of a batch; None where the way decides itself.
    :param sweep: Whether the best batch size is looked for first.
    :param python: Which environment it runs in: the project's, or that of the peers that do not fit into it.
    :param devices: Where it can run.
    :param default: Whether it runs when no ways are named.
    """

    name: str
    label: str
    loader: str
    options: Mapping[str, Any] = field(default_factory=dict)
    batch: int | None = DEFAULT_BATCH
    sweep: bool = False
    python: Python = "ours"
    devices: tuple[str, ...] = ("cpu", "cuda")
    default: bool = True


def _registry(rows: Iterable[Way]) -> dict[str, Way]:
    found: dict[str, Way] = {}
    for row in rows:
        if row.name in found:
            raise ValueError(f"two ways are called {row.name!r}")
        found[row.name] = row
    return found


def _with_best(name: str, label: str, **options: Any) -> list[Way]:
    """Return a way at the default batch size, and the same at its best one."""
    return [
        Way(name, f"{label}, batch {DEFAULT_BATCH}", _THEIRS, **options),
        Way(f"{name}-best", f"{label}, best batch", _THEIRS, sweep=True, **options),
    ]


WAYS = _registry(
    [
        *_with_best(REFERENCE, "sentence-transformers fp32", options={"precision": "fp32"}),
        *_with_best("st-bf16", "sentence-transformers bf16", options={"precision": "bf16"}),
        *_with_best(
            "st-onnx",
            "sentence-transformers ONNX",
            options={"backend": "onnx"},
            python="peers",
            devices=("cpu",),
        ),
        *_with_best(
            "st-openvino",
            "sentence-transformers OpenVINO",
            options={"backend": "openvino"},
            python="peers",
            devices=("cpu",),
        ),
        Way("haystack", "Haystack SentenceTransformersDocumentEmbedder", _HAYSTACK),
        Way("medte-fp32", "medte fp32", _OURS, {"precision": "fp32"}, batch=None),
        Way("medte-bf16", "medte bf16", _OURS, {"precision": "bf16"}, batch=None),
        Way("medte-int8", "medte int8", _OURS, {"precision": "int8"}, batch=None, devices=("cpu",)),
        Way("medte-fp8", "medte fp8", _OURS, {"precision": "fp8"}, batch=None, devices=("cuda",)),
        Way("medte-auto", "medte auto", _OURS, {"precision": "auto"}, batch=None, default=False),
    ]
)


def find_ways(names: Sequence[str] | None, device: str) -> list[Way]:
    """Look ways up; the reference is always the first.

    :param names: Names; None takes the defaults that run on the device.
    :param device: ``cpu`` or ``cuda``.
    :raises ValueError: If one is not known.
    """
    if names is None:
        names = [row.name for row in WAYS.values() if row.default and device in row.devices]
    unknown = next((name for name in names if name not in WAYS), None)
    if unknown is not None:
        raise ValueError(f"unknown way {unknown!r}; the ways are {', '.join(WAYS)}")
    return [WAYS[name] for name in dict.fromkeys([REFERENCE, *names])]
