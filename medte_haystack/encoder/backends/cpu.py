"""The CPU: one batch a core, each computed by a single thread, so that no core ever waits for another."""

import logging
import os
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from medte_haystack.encoder.backends import Batch
from medte_haystack.encoder.backends.cache import quantised
from medte_haystack.encoder.backends.int8 import int8_products
from medte_haystack.encoder.backends.memory import Halving, joined
from medte_haystack.encoder.backends.packed import LayerProducts, PackedBert
from medte_haystack.encoder.backends.products import onednn, plain
from medte_haystack.encoder.bert import Bert
from medte_haystack.encoder.files import ModelFiles

logger = logging.getLogger(__name__)

_TOKENS = 1024  # of a batch: so many share one reading of the weights, and their inner states stay in the cache
_LARGE = 31 << 20
_STARTING_S = 10  # that threads wait for one that cannot be started
# Every batch has shapes of its own, and a kernel takes a megabyte, in pieces that keep freed memory from being used.
_KERNELS = 32  # that oneDNN keeps for each core: with fewer, those of two batches at a time push each other out
_AT_HAND = 16  # of those that PyTorch keeps besides, for each thread
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


class Cpu:
    """A BERT encoder on the CPU.

    :param files: The model.
    :param precision: ``fp32``, ``bf16`` or ``int8``; `choose` asks :func:`lacks` first.
    :raises ModelError: If the weights are missing, damaged, or do not fill the model.
    """

    device = "cpu"

    def __init__(self, files: ModelFiles, precision: str) -> None:
        self.precision = precision
        self.parallel = settle()
        self._model = self._load(files)
        self._in_memory = Halving(self._model, _TOKENS, self.device)
        torch.empty(_LARGE, dtype=torch.uint8)  # once freed, glibc keeps blocks of up to that size for the next batch

    def _load(self, files: ModelFiles) -> PackedBert:
        bert = Bert.read(files)
        products: Iterable[LayerProducts]
        if self.precision == "int8":
            products = (int8_products(layer, bert.heads) for layer in quantised(files, bert))
        elif has_onednn():
            products = (onednn(layer, bert.heads, _DTYPES[self.precision]) for layer in bert.layers)
        else:
            products = (plain(layer, bert.heads) for layer in bert.layers)
        return PackedBert(bert, files.spec.pooling, products)

    @property
    def token_budget(self) -> int:
        """Tokens of a batch."""
        return self._in_memory.token_budget

    def embed_one(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the vector of one text, computed in this thread by all cores; shape (dim,)."""
        vector: NDArray[np.float32] = self._compute([ids])[0]
        return vector

    def embed(self, batches: Iterable[Batch]) -> Iterator[NDArray[np.float32]]:
        """Return the vectors of each batch, in order, reading a few batches ahead; a lone batch is given all cores."""
        upcoming = iter(batches)
        ready = deque(islice(upcoming, 2))
        if len(ready) < 2 or self.parallel == 1:
            while ready:
                yield self._compute(ready.popleft())
                ready.extend(islice(upcoming, 1))
            return
        yield from self._embed_in_threads(ready, upcoming)

    def _compute(self, batch: Batch) -> NDArray[np.float32]:
        return joined(self._in_memory(batch))

    def _embed_in_threads(self, ready: deque[Batch], upcoming: Iterator[Batch]) -> Iterator[NDArray[np.float32]]:
        # threads of one call only: a pool that is kept would be dead in a forked child
        pool = ThreadPoolExecutor(self.parallel, "medte-encoder", _compute_alone, (torch.get_num_threads(),))
        running: deque[Future[NDArray[np.float32]]] = deque()
        settled = threading.Barrier(self.parallel, timeout=_STARTING_S)
        try:
            # each waits for all, so that none still changes the process's setting when the first vectors are given
            wait([pool.submit(settled.wait) for _ in range(self.parallel)])
            running.extend(pool.submit(self._compute, batch) for batch in ready)
            for batch in upcoming:
                running.append(pool.submit(self._compute, batch))
                if len(running) > 2 * self.parallel:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:  # also when the reader stops early or a batch fails
            settled.abort()
            pool.shutdown(wait=True, cancel_futures=True)


def _compute_alone(threads_of_others: int) -> None:
    """Have this thread compute by itself. What PyTorch lets new threads start with stays as it was."""
    with _SETTING_UP:
        torch.get_num_threads()  # makes PyTorch set this thread up now, so that the next line is not undone later
        torch.set_num_threads(1)  # for this thread, and for those to come; the latter is put right in another thread
        other = threading.Thread(target=torch.set_num_threads, args=(threads_of_others,))
        other.start()
        other.join()


_SETTING_UP = threading.Lock()

# OpenMP waits for ever in a forked child for the threads that the parent had; one thread needs none of them.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def lacks(precision: str) -> str | None:
    """Return what this processor lacks for a precision, None if nothing: products without native support are slow."""
    if precision == "fp32":
        return None
    has = torch.cpu.get_capabilities() if has_onednn() else {}
    wanted = {"bf16": ("avx512_bf16", "amx_bf16"), "int8": ("avx512_vnni", "amx_int8")}[precision]
    return None if any(has.get(one) for one in wanted) else " and ".join(one.upper() for one in wanted)


def has_onednn() -> bool:
    """Tell whether this PyTorch was built with oneDNN."""
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def settle() -> int:
    """Have PyTorch keep few kernels and use no more threads than this process may; return how many those are."""
    cores = usable_cores()
    bounds = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": _KERNELS * cores, "LRU_CACHE_CAPACITY": _AT_HAND}
    for name, bound in bounds.items():
        os.environ.setdefault(name, str(bound))  # read when the first kernel is made
    if torch.get_num_threads() > cores:  # a lone text would wait for threads that the quota stops
        logger.info("PyTorch uses %d threads from now on, all that this process may", cores)
        torch.set_num_threads(cores)
    return cores


def usable_cores() -> int:
    """Return how many cores this process may use: PyTorch's threads, within affinity and the container's quota.

    ``OMP_NUM_THREADS`` and `torch.set_num_threads` lower it.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(torch.get_num_threads(), allowed, _quota() or allowed))


def _quota(path: Path = Path("/sys/fs/cgroup/cpu.max")) -> int | None:
    """Return the whole cores of a container's CPU quota (cgroup v2), if it has one."""
    try:
        limit, period = path.read_text().split()
        return max(1, round(int(limit) / int(period)))
    except (OSError, ValueError):  # no cgroup v2, or "max"
        return None
