"""The seam for ways to compute: everything above it is text and NumPy, everything below it is a device."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medte_haystack.encoder.files import ModelFiles
from medte_haystack.errors import EncoderOptionError

PRECISIONS = ("auto", "fp32", "bf16", "int8", "fp8")
DEVICES = "cpu, cuda, cuda:N and mps, cuda:all for every GPU, or a list such as cuda:0,cuda:1"

_ALIASES = {"float32": "fp32", "bfloat16": "bf16"}

Batch = Sequence[Sequence[int]]
"""Token ids of some texts, special tokens included."""


class Backend(Protocol):
    """Computes vectors."""

    @property
    def device(self) -> str:
        """Where it computes, e.g. ``cpu`` or ``cuda:0``."""
        ...

    @property
    def precision(self) -> str:
        """What it computes in, e.g. ``fp32`` or ``bf16``."""
        ...

    @property
    def token_budget(self) -> int:
        """Tokens of a batch that use the device well; halved if its memory does not suffice."""
        ...

    @property
    def parallel(self) -> int:
        """Batches computed at once."""
        ...

    def embed(self, batches: Iterable[Batch]) -> Iterator[NDArray[np.float32]]:
        """Return each batch's vectors, unit length, float32, shape (n, dim); in order, reading a little ahead."""
        ...

    def embed_one(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return one text's vector, shape (dim,), by the way with the least delay."""
        ...


def check_precision(precision: str) -> str:
    """Return a precision by the name it has here.

    :raises EncoderOptionError: If there is none of that name.
    """
    found = _ALIASES.get(precision, precision) if isinstance(precision, str) else None
    if found not in PRECISIONS:
        raise EncoderOptionError(
            f"precision {precision!r} is unknown; there are {', '.join(PRECISIONS)}. To quantise the stored vectors,"
            " choose the index's quantisation instead",
            precision=precision,
        )
    return found


def load_backend(files: ModelFiles, device: str | None, precision: str) -> Backend:
    """Choose and load the backend for a model, device and precision.

    :param device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``; ``cuda:all`` or a list such as ``cuda:0,cuda:1`` for
        several; None takes a GPU where there is one.
    :param precision: ``auto`` or a precision.
    :raises EncoderOptionError: If device or precision is unknown or not to be had on this machine.
    :raises ModelError: If the weights are missing, damaged, or do not fill the model.
    """
    from medte_haystack.encoder.backends.choose import choose

    return choose(files, device, precision)
