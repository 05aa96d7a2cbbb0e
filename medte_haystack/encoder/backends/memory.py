"""When a device's memory does not suffice: half as many tokens at once, and the work goes on."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from medte_haystack.encoder.backends import Batch
from medte_haystack.errors import MedTEError

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

_SIGNS = (
    "out of memory",  # CUDA, cuDNN and MPS
    "not enough memory",  # PyTorch on a CPU, Windows
    "can't allocate memory",  # PyTorch on a CPU, Linux
    "cannot allocate memory",
    "_alloc_failed",  # cuBLAS and cuDNN
)


class DeviceMemoryError(MedTEError):
    """The memory of a device does not suffice, not even for half of the usual batch."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out; PyTorch has no common class for that."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


class Halving(Generic[Result]):
    """Computes batches, and in halves once the memory has not sufficed.

    The first time, the token budget is halved, which is logged, and the batch is computed in two halves; from then on
    batches above the new budget, planned before, are split. It is done once: if a batch within the new budget, or one
    of a single text, does not fit either, something else is wrong. Threads may share it.

    :param compute: Computes a batch.
    :param token_budget: Tokens of a batch.
    :param device: For messages.
    """

    def __init__(self, compute: Callable[[Batch], Result], token_budget: int, device: str) -> None:
        self.token_budget = token_budget
        """Tokens of a batch that are to be planned with now."""
        self._compute = compute
        self._device = device
        self._halved = False
        self._lock = threading.Lock()

    def __call__(self, batch: Batch) -> list[Result]:
        """Return the results of the parts that the batch was computed in, in order: nearly always a single one.

        :raises DeviceMemoryError: If halving does not help.
        """
        return [result for part in self._fitting(batch) for result in self._attempt(part)]

    def _fitting(self, batch: Batch) -> Iterator[Batch]:
        """Split what was planned before the budget was halved."""
        start = tokens = 0
        for end, ids in enumerate(batch if self._halved else ()):
            tokens += len(ids)
            if end > start and tokens > self.token_budget:
                yield batch[start:end]
                start, tokens = end, len(ids)
        yield batch[start:]

    def _attempt(self, batch: Batch) -> list[Result]:
        halved_before = self._halved
        try:
            return [self._compute(batch)]
        except (RuntimeError, MemoryError) as error:
            reason = self._reason(error)  # the error itself would keep the batch's tensors alive
        if halved_before or len(batch) == 1:
            raise self._error(batch, reason)
        self._halve(batch)
        return [self._last_attempt(part) for part in (batch[: len(batch) // 2], batch[len(batch) // 2 :])]

    def _last_attempt(self, batch: Batch) -> Result:
        try:
            return self._compute(batch)
        except (RuntimeError, MemoryError) as error:
            reason = self._reason(error)
        raise self._error(batch, reason)

    def _halve(self, batch: Batch) -> None:
        with self._lock:  # several threads may run out of memory at once
            if self._halved:
                return
            before, self.token_budget = self.token_budget, max(1, self.token_budget // 2)
            self._halved = True
        logger.warning(
            "the memory of %s does not suffice for a batch of %d tokens; its halves are computed one by one, and from"
            " now on a batch has at most %d tokens instead of %d",
            self._device,
            _tokens(batch),
            self.token_budget,
            before,
        )

    @staticmethod
    def _reason(error: RuntimeError | MemoryError) -> str:
        if not is_out_of_memory(error):
            raise error
        return (str(error).strip() or type(error).__name__).splitlines()[0]

    def _error(self, batch: Batch, reason: str) -> DeviceMemoryError:
        tokens, texts = _tokens(batch), len(batch)
        what = "a single text" if texts == 1 else f"{texts} texts, though the batches were halved"
        return DeviceMemoryError(
            f"the memory of {self._device} does not suffice for {tokens} tokens in {what} ({reason}). Free memory"
            " there, or take a smaller model, a lower max_tokens or another device",
            device=self._device,
            tokens=tokens,
            texts=texts,
        )


def joined(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the vectors of the parts as one array."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _tokens(batch: Batch) -> int:
    return sum(map(len, batch))
