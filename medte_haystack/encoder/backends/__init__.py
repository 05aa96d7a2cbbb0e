"""The seam for faster ways to compute: everything above it is text and NumPy, everything below it is a device."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medte_haystack.encoder.files import ModelFiles


class Backend(Protocol):
    """Computes the vectors of one batch.

    :param device: Where it computes, e.g. ``cpu`` or ``cuda:0``.
    :param precision: What it computes in, e.g. ``fp32`` or ``bf16``.
    :param token_budget: Tokens of a batch that use the device well.
    """

    device: str
    precision: str
    token_budget: int

    def embed(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the pooled vectors of a batch of token id lists, unit length, shape (n, dim), in order."""
        ...


def load_backend(files: ModelFiles, device: str | None, precision: str) -> Backend:
    """Choose and load the backend for a model, device and precision.

    :param device: ``cpu``, ``cuda``, ``cuda:N``, ``mps``; None takes a GPU where there is one.
    :param precision: ``auto``, ``fp32`` or ``bf16``.
    :raises EncoderOptionError: If device or precision is unknown or not to be had on this machine.
    :raises ModelError: If the weights are missing, damaged, or do not fill the model.
    """
    from medte_haystack.encoder.backends.torch_padded import TorchPadded

    return TorchPadded(files, device, precision)
