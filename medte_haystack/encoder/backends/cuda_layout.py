"""How a batch reaches a GPU and its vectors come back, without either side waiting for the other."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medte_haystack.encoder.backends import Batch
from medte_haystack.encoder.pack import Pack

TILE = 256
"""Tokens are filled up to a multiple of this: the rows of the largest tile of a matrix product."""

_WARM_UPS = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """Packed texts as a GPU takes them, in one block of int32 so that one copy moves them.

    Behind the texts stands at least one token of filler, as a text of its own, which brings the number of tokens to one
    of few sizes: matrix kernels are chosen by size, and a recorded pass has only one.

    :param block: Token ids, then positions (`tokens` each), then where each text starts and the last ends.
    :param tokens: Number of tokens, filler included.
    :param texts: Number of texts, filler not included.
    :param longest: No text is longer; a multiple of 128, what one block of the attention kernel computes.
    """

    block: NDArray[np.int32]
    tokens: int
    texts: int
    longest: int

    @classmethod
    def of(cls, batch: Batch, least: int = TILE) -> Self:
        """Lay out a batch.

        :param least: Smallest size in tokens, a power of two up to 256.
        """
        pack = Pack.of(batch)
        texts = len(pack.lengths)
        tokens = size_above(len(pack.ids), least)
        block = np.zeros(2 * tokens + texts + 2, dtype=np.int32)
        block[: len(pack.ids)] = pack.ids
        block[tokens : tokens + len(pack.ids)] = pack.positions
        block[2 * tokens : -1] = pack.offsets
        block[-1] = tokens
        longest = max(int(pack.lengths.max()), tokens - len(pack.ids))
        return cls(block, tokens, texts, -(-longest // 128) * 128)

    def split(self, block: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return ids, positions and offsets out of the block on the device."""
        return block[: self.tokens], block[self.tokens : 2 * self.tokens], block[2 * self.tokens :]


def size_above(tokens: int, least: int = TILE) -> int:
    """Return the next size with room for filler: powers of two from `least` on, from 256 on multiples of 256."""
    size = least
    while size <= tokens and size < TILE:
        size *= 2
    return size if size > tokens else (tokens // TILE + 1) * TILE


class Link:
    """The way to a device and back. This one leads nowhere: all is computed on the CPU, for tests."""

    def here(self) -> AbstractContextManager[object]:
        """Make the device the current one of this thread."""
        return nullcontext()

    def upload(self, array: NDArray[np.int32]) -> Tensor:
        """Return a copy on the device, without waiting for it."""
        return torch.from_numpy(array)

    def download(self, tensor: Tensor, *, soon: bool = False) -> Callable[[], NDArray[np.float32]]:  # noqa: ARG002
        """Start the copy back; return what waits for it.

        :param soon: Whether it will be there in a moment, so that waiting may take a core.
        """
        return tensor.numpy

    def record(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Turn a pass over fixed tensors into one that is replayed as a whole, into the same result tensor."""
        return run


class CudaLink(Link):
    """Copies through pinned memory, in the order of the current stream.

    A stream of their own for the copies would win nothing: a batch of 65,536 tokens comes as 0.5 MB and goes as 1 MB,
    together 0.1 ms beside 25 ms of computing, and while one batch is computed the next is queued behind it already.
    PyTorch keeps pinned memory for reuse and does not give it out again before the copy is done.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)

    def here(self) -> AbstractContextManager[object]:
        """See :class:`Link`, as for all here."""
        return torch.cuda.device(self._device)

    def upload(self, array: NDArray[np.int32]) -> Tensor:
        """Copy through pinned memory."""
        return torch.from_numpy(array).pin_memory().to(self._device, non_blocking=True)

    def download(self, tensor: Tensor, *, soon: bool = False) -> Callable[[], NDArray[np.float32]]:
        """Copy into pinned memory; the vectors are then the reader's own."""
        pinned = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        pinned.copy_(tensor, non_blocking=True)
        done = torch.cuda.Event(blocking=not soon)  # type: ignore[no-untyped-call]
        done.record()

        def wait() -> NDArray[np.float32]:
            done.synchronize()
            return pinned.numpy().copy()  # pinned memory is scarce; the reader may keep the vectors

        return wait

    def record(self, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record a CUDA graph."""
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):  # libraries allocate and choose kernels on first use, which no graph can hold
                run()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            result = run()

        def replay() -> Tensor:
            graph.replay()
            return result

        return replay
