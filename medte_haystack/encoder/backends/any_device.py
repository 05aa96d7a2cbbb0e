"""Devices without a way of their own: PyTorch's plain operations in float32."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from medte_haystack.encoder.backends import Batch
from medte_haystack.encoder.backends.memory import Halving, joined
from medte_haystack.encoder.backends.packed import PackedBert
from medte_haystack.encoder.backends.products import plain
from medte_haystack.encoder.bert import Bert
from medte_haystack.encoder.files import ModelFiles

_BUDGET = 8192  # tokens


class AnyDevice:
    """A BERT encoder in float32 on any device that PyTorch knows: ``mps``, or a GPU without bfloat16.

    :param files: The model.
    :param device: The device.
    :raises ModelError: If the weights are missing, damaged, or do not fill the model.
    """

    precision = "fp32"
    parallel = 1

    def __init__(self, files: ModelFiles, device: str) -> None:
        self.device = device
        bert = Bert.read(files)
        products = (plain(layer, bert.heads, device) for layer in bert.layers)
        self._compute = Halving(PackedBert(bert, files.spec.pooling, products, device), _BUDGET, device)

    @property
    def token_budget(self) -> int:
        """Tokens of a batch."""
        return self._compute.token_budget

    def embed(self, batches: Iterable[Batch]) -> Iterator[NDArray[np.float32]]:
        """Return the vectors of each batch, in order."""
        for batch in batches:
            yield joined(self._compute(batch))

    def embed_one(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the vector of one text, shape (dim,)."""
        vector: NDArray[np.float32] = joined(self._compute([ids]))[0]
        return vector
