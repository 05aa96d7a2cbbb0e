"""An NVIDIA GPU: packed texts in bfloat16 or e4m3, with the next batches queued while one is computed."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from medte_haystack.encoder.backends import Batch
from medte_haystack.encoder.backends.cuda_forward import Attend, Forward, attend_flash
from medte_haystack.encoder.backends.cuda_layout import TILE, CudaLink, Layout, Link
from medte_haystack.encoder.backends.memory import DeviceMemoryError, Halving, is_out_of_memory, joined
from medte_haystack.encoder.bert import Bert
from medte_haystack.encoder.files import ModelFiles
from medte_haystack.errors import EncoderOptionError

logger = logging.getLogger(__name__)

_BUDGET = 65_536  # tokens; needs 1.3 GB for 768 dimensions
_AHEAD = 2  # batches queued on the device behind the one whose vectors are waited for
_WARM_UP = 8192  # tokens; kernels are tuned for the size that they first see
_LONGEST_RECORDED = 1024  # tokens of a lone text
_USUAL_QUERIES = (15, 31)  # tokens; their passes are recorded before the first one comes
_LEAST = {"bf16": (8, 0), "fp8": (8, 9)}  # compute capability


def lacks(precision: str, device: str, *, flash: bool = True) -> str | None:
    """Return what a GPU, or this PyTorch, lacks for a precision; None if nothing.

    :param flash: Whether attention is computed by FlashAttention's kernel, as it is here.
    """
    if precision == "fp32":
        return None
    if flash and (torch.version.hip is not None or not torch.backends.cuda.is_flash_attention_available()):
        return "FlashAttention in this build of PyTorch"
    has, wants = torch.cuda.get_device_capability(device), _LEAST[precision]
    if has < wants:
        return f"compute capability {wants[0]}.{wants[1]} ({torch.cuda.get_device_name(device)} has {has[0]}.{has[1]})"
    return None


class Cuda:
    """A BERT encoder on an NVIDIA GPU.

    :param files: The model.
    :param device: ``cuda`` or ``cuda:N``.
    :param precision: ``bf16`` or ``fp8``.
    :param link: The way to the device; another one for tests.
    :param attend: Attention; another one for tests.
    :raises EncoderOptionError: If the GPU cannot compute in this precision.
    :raises DeviceMemoryError: If the model does not fit into its memory.
    :raises ModelError: If the weights are missing, damaged, or do not fill the model.
    """

    parallel = 1

    def __init__(
        self,
        files: ModelFiles,
        device: str,
        precision: str,
        *,
        link: Link | None = None,
        attend: Attend = attend_flash,
    ) -> None:
        self.device = device
        self.precision = precision
        self._link = link or CudaLink(device)
        self._attend = attend
        self._least = TILE if precision == "fp8" else 16  # e4m3 products of less would read past their scales
        self._forward = self._load(Bert.read(files), files)
        self._launch = Halving(self._start, _BUDGET, device)
        self._recorded = Recorded(self._forward, self._link, self._least)
        for tokens in _USUAL_QUERIES:
            self.embed_one([0] * tokens)

    @property
    def token_budget(self) -> int:
        """Tokens of a batch."""
        return self._launch.token_budget

    def embed(self, batches: Iterable[Batch]) -> Iterator[NDArray[np.float32]]:
        """Return the vectors of each batch, in order, with two more batches queued on the device."""
        flying: deque[list[Callable[[], NDArray[np.float32]]]] = deque()
        for batch in batches:
            flying.append(self._launch(batch))
            if len(flying) > _AHEAD:
                yield joined([land() for land in flying.popleft()])
        while flying:
            yield joined([land() for land in flying.popleft()])

    def embed_one(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the vector of one text, shape (dim,): a recorded pass, one launch instead of a hundred.

        :raises DeviceMemoryError: If the device's memory does not suffice.
        """
        vectors = self._replayed(ids) if len(ids) <= _LONGEST_RECORDED else None
        return (next(self.embed([[ids]])) if vectors is None else vectors).reshape(-1)

    def _replayed(self, ids: Sequence[int]) -> NDArray[np.float32] | None:
        try:
            with self._link.here():
                return self._recorded(ids)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            return None

    @torch.inference_mode()  # also when uploading: compiled steps tell tensors apart by it
    def _start(self, batch: Batch) -> Callable[[], NDArray[np.float32]]:
        layout = Layout.of(batch, self._least)
        with self._link.here():
            return self._link.download(self._forward(self._link.upload(layout.block), layout))

    def _load(self, bert: Bert, files: ModelFiles) -> Forward:
        reason = ""
        logger.info("compiling kernels for %s; kept on disk for the next time", self.device)
        for compiled in (True, False):
            try:
                with self._link.here():
                    forward = Forward(
                        bert, files.spec.pooling, self.precision, self.device, self._attend, compiled=compiled
                    )
                self._warm_up(forward, len(bert.positions))
            except Exception as error:
                if is_out_of_memory(error):
                    raise DeviceMemoryError(
                        f"the model does not fit into the memory of {self.device} ({_first_line(error)}); free memory"
                        " there (nvidia-smi tells who holds it) or take a smaller model or another device",
                        device=self.device,
                    ) from error
                reason = _first_line(error)
                if compiled:
                    logger.warning("%s computes without compiled kernels, which is slower: %s", self.device, reason)
            else:
                return forward
        raise EncoderOptionError(
            f"{self.device} cannot compute this model in {self.precision} ({reason}); take"
            f" {'bf16' if self.precision == 'fp8' else 'fp32'}",
            device=self.device,
            precision=self.precision,
        )

    @torch.inference_mode()
    def _warm_up(self, forward: Forward, longest: int) -> None:
        length = min(longest, 128)
        for texts in (_WARM_UP // 2 // length, _WARM_UP // length):  # sizes of real batches: see Steps
            layout = Layout.of([[0] * length] * texts, TILE)
            with self._link.here():
                vectors = self._link.download(forward(self._link.upload(layout.block), layout))()
            if not np.isfinite(vectors).all():
                raise RuntimeError("its vectors hold NaN or infinite numbers")


class Recorded:
    """Passes over a lone text, one recorded for each size as a whole (a CUDA graph) and replayed from then on.

    :param forward: The pass.
    :param link: The way to the device.
    :param least: Smallest size in tokens.
    """

    def __init__(self, forward: Forward, link: Link, least: int) -> None:
        self._forward = forward
        self._link = link
        self._least = least
        self._works = True
        self._passes: dict[int, tuple[Tensor, Callable[[], Tensor]]] = {}
        self._lock = threading.Lock()  # a recorded pass has one place for its input

    @torch.inference_mode()
    def __call__(self, ids: Sequence[int]) -> NDArray[np.float32] | None:
        """Return the vector of a text, shape (1, dim); None if its pass cannot be recorded.

        If none can be here, that is logged once; if memory does not suffice now, it is tried again with the next text.
        """
        layout = Layout.of([ids], self._least)
        layout = replace(layout, longest=-(-layout.tokens // 128) * 128)  # recorded with the pass: for all of its size
        with self._lock:
            if self._works and layout.tokens not in self._passes:
                self._record(layout)
            if layout.tokens not in self._passes:
                return None
            block, replay = self._passes[layout.tokens]
            block.copy_(self._link.upload(layout.block))
            return self._link.download(replay(), soon=True)()

    def _record(self, layout: Layout) -> None:
        try:
            block = self._link.upload(layout.block).clone()
            expected = self._link.download(self._forward(block, layout))()
            replay = self._link.record(lambda: self._forward(block, layout))
            found = self._link.download(replay())()
        except Exception as error:  # noqa: BLE001  whatever a driver does not like; there is another way
            if is_out_of_memory(error.__context__ or error):  # a recording that breaks off may fail to end, too
                return
            reason = _first_line(error)
        else:
            self._passes[layout.tokens] = block, replay
            if float((found * expected).sum()) > 0.999:
                return
            reason = "a recorded pass gives other vectors"
        self._works = False
        self._passes.clear()
        logger.warning("lone texts are computed without recorded passes, which is slower: %s", reason)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]
