"""The machine's ceiling: how fast it multiplies a model's own matrices, and what that would be in tokens.

All products of a layer count, each by as many operations as it has, and medians of bursts: the fastest burst of the
fastest product is a peak that no model could hold.

A token costs 2 operations a weight of the linear layers, and attention adds 4 x hidden x (tokens of its text) a layer:
the scores and their product with the values. Softmax, normalisation and the rest count nothing, so a share of 100 % is
out of reach.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_ROWS = {"cpu": (512, 1024), "cuda": (8192, 32768, 65536)}
_BURSTS = 3
_BURST_S = {"cpu": 0.1, "cuda": 0.05}


@dataclass(frozen=True, slots=True)
class Dimensions:
    """What of a BERT decides how much it computes."""

    layers: int
    hidden: int
    intermediate: int

    def linears(self) -> list[tuple[int, int]]:
        """Return inputs and outputs of a layer's products: fused query, key and value; output; the two between."""
        h, i = self.hidden, self.intermediate
        return [(h, 3 * h), (h, h), (h, i), (i, h)]

    def linear_flops(self) -> int:
        """Return the operations of the linear layers for one token."""
        return self.layers * sum(2 * k * n for k, n in self.linears())

    def attention_flops(self, length: int) -> int:
        """Return the operations of attention for one token of a text of so many tokens."""
        return self.layers * 4 * length * self.hidden

    def flops(self, lengths: Iterable[int]) -> int:
        """Return all operations for texts of these lengths in tokens."""
        return sum(length * (self.linear_flops() + self.attention_flops(length)) for length in lengths)


@dataclass(frozen=True, slots=True)
class Rate:
    """How fast the products of one layer were, one after another.

    :param precision: What they were computed in.
    :param kernel: By which operator.
    :param rows: Rows of the inputs.
    :param flops_per_second: All their operations over the sum of their times.
    """

    precision: str
    kernel: str
    rows: int
    flops_per_second: float


def best_rates(rates: Iterable[Rate]) -> dict[str, float]:
    """Return the best rate of each precision, in operations a second."""
    best: dict[str, float] = {}
    for rate in rates:
        best[rate.precision] = max(best.get(rate.precision, 0.0), rate.flops_per_second)
    return best


def tokens_per_second(flops_per_second: float, dimensions: Dimensions, lengths: Sequence[int]) -> float:
    """Return how many tokens of these texts a second would take at that rate."""
    return flops_per_second * sum(lengths) / dimensions.flops(lengths)


class CeilingWay:
    """Measures in a worker, so that the command itself need not load torch.

    :param device: ``cpu`` or ``cuda``.
    """

    def __init__(self, device: str) -> None:
        self._device = device

    def about(self) -> dict[str, Any]:
        """Return what the device is."""
        import torch

        name = torch.cuda.get_device_name() if torch.cuda.is_available() else None
        return {"torch": torch.__version__, "gpu": name, "threads": torch.get_num_threads()}

    def measure(self, linears: list[tuple[int, int]]) -> dict[str, Any]:
        """Measure all precisions that the device has, for layers of these inputs and outputs.

        :returns: ``rates``: fields of `Rate`; ``failed``: reasons by precision and operator.
        """
        import torch

        rates: list[Rate] = []
        failed: dict[str, str] = {}
        with torch.inference_mode():
            for precision, kernel, make in _kernels(self._device):
                try:
                    rates += self._measure(precision, kernel, make, linears)
                except (RuntimeError, AttributeError, NotImplementedError) as error:  # this processor lacks it
                    failed[f"{precision} {kernel}"] = str(error).splitlines()[0]
        return {"rates": [asdict(rate) for rate in rates], "failed": failed}

    def _measure(
        self, precision: str, kernel: str, make: "MakeProduct", linears: list[tuple[int, int]]
    ) -> Iterator[Rate]:
        for m in _ROWS[self._device]:
            products = [make(m, k, n) for k, n in linears]
            seconds = sum(median(self._seconds(product) for _ in range(_BURSTS)) for product in products)
            yield Rate(precision, kernel, m, sum(2 * m * k * n for k, n in linears) / seconds)

    def _seconds(self, product: Callable[[], Any]) -> float:
        """Return the mean seconds of one product in a short burst."""
        self._wait(product())
        calls, spent, started = 0, 0.0, time.perf_counter()
        while spent < _BURST_S[self._device]:
            for _ in range(1 if self._device == "cpu" else 10):
                result = product()
                calls += 1
            self._wait(result)
            spent = time.perf_counter() - started
        return spent / calls

    def _wait(self, result: Any) -> None:
        if self._device == "cuda":
            result.flatten()[0].item()


MakeProduct = Callable[[int, int, int], Callable[[], "torch.Tensor"]]
"""Takes rows, inputs and outputs; gives what computes the product."""


def _kernels(device: str) -> Iterator[tuple[str, str, MakeProduct]]:
    """Yield precision, operator and how to make its product."""
    import torch

    if device == "cuda":
        yield "fp32", "mm", partial(_mm, dtype=torch.float32, device=device)
        yield "bf16", "mm", partial(_mm, dtype=torch.bfloat16, device=device)
        yield "fp8", "scaled_mm", _scaled_mm
        return
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        yield precision, "mm", partial(_mm, dtype=dtype, device=device)
        yield precision, "onednn linear", partial(_onednn, dtype=dtype)
    yield "int8", "onednn qlinear", _qlinear


def _mm(m: int, k: int, n: int, dtype: "torch.dtype", device: str) -> Callable[[], "torch.Tensor"]:
    import torch

    left, right = torch.randn(m, k, device=device, dtype=dtype), torch.randn(k, n, device=device, dtype=dtype)
    return lambda: torch.mm(left, right)


def _onednn(m: int, k: int, n: int, dtype: "torch.dtype") -> Callable[[], "torch.Tensor"]:
    import torch

    weight = torch.ops.mkldnn._reorder_linear_weight(torch.randn(n, k, dtype=dtype), m)
    rows, bias = torch.randn(m, k, dtype=dtype), torch.randn(n, dtype=dtype)
    return lambda: torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")


def _qlinear(m: int, k: int, n: int) -> Callable[[], "torch.Tensor"]:
    """Signed weights and unsigned inputs: signed inputs would get a slow reference kernel."""
    import torch

    weight = torch.ops.onednn.qlinear_prepack(torch.randint(-127, 127, (n, k), dtype=torch.int8), None)
    scales, zeros = torch.rand(n) * 0.01, torch.zeros(n, dtype=torch.int32)
    rows, bias = torch.randint(0, 255, (m, k), dtype=torch.uint8), torch.randn(n)
    multiply = torch.ops.onednn.qlinear_pointwise
    return lambda: multiply(rows, 0.05, 128, weight, scales, zeros, bias, 1.0, 0, torch.bfloat16, "none", [], "")


def _scaled_mm(m: int, k: int, n: int) -> Callable[[], "torch.Tensor"]:
    import torch

    left = torch.randn(m, k, device="cuda").to(torch.float8_e4m3fn)
    right = torch.randn(n, k, device="cuda").to(torch.float8_e4m3fn).t()
    one = torch.ones((), device="cuda")
    return lambda: torch._scaled_mm(left, right, one, one, out_dtype=torch.bfloat16, use_fast_accum=True)
