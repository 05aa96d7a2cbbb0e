"""What the backends have in common that compute one batch after another."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from medte_haystack.encoder.backends import Batch
from medte_haystack.encoder.backends.memory import Halving, joined


class OneByOne:
    """Computes one batch after another, in halves if the device's memory does not suffice.

    :param compute: Computes a batch.
    :param token_budget: Tokens of a batch.
    :param device: Where.
    """

    parallel = 1

    def __init__(self, compute: Callable[[Batch], NDArray[np.float32]], token_budget: int, device: str) -> None:
        self.device = device
        self._compute = Halving(compute, token_budget, device)

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
        return joined(self._compute([ids])).reshape(-1)
