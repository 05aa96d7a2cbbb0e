"""What lies between the matrix products of a pass on a GPU: few numbers are computed there, but all of them are moved.

Each step is written plainly and compiled into one kernel, which reads and writes every number once. By the bytes, for
12 layers of 768 dimensions at 4.2 TB/s and 790 TFLOP/s: the products take 0.215 us a token; a float32 residual stream
with its bfloat16 copy for the products 0.053 us, against 0.027 us in bfloat16 alone; a GELU of its own 0.035 us, which
is why the product before it does it (see `cuda_forward`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import gelu, layer_norm

E4M3 = torch.float8_e4m3fn
_LARGEST = 448.0  # of e4m3
_SMALLEST_SCALE = 1e-12

Operand = tuple[Tensor, ...]
"""States as the matrix products take them: ``(bfloat16,)``, or ``(e4m3, scale of each row)``."""


def quantise(rows: Tensor) -> Operand:
    """Return rows in e4m3, each scaled so that its largest value is the type's, and the scales, float32, (rows, 1).

    Being a floating-point type it keeps small values beside large ones, so that outliers in some dimensions, which
    int8 must have smoothed, do little harm.
    """
    rows = rows.float()
    scale = (rows.abs().amax(1, keepdim=True) / _LARGEST).clamp(min=_SMALLEST_SCALE)
    return (rows / scale).clamp(-_LARGEST, _LARGEST).to(E4M3), scale


def fixed(tensor: Tensor, device: str) -> Parameter:
    """Return a weight on the device, float32, as a parameter: what is compiled is made for its shape."""
    return Parameter(tensor.to(device), requires_grad=False)


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a pass.

    :param embed: Word vectors, position vectors, ids, positions, scale and shift of the norm -> states and operand.
    :param add: States, what a product adds to them, scale and shift of the norm -> states, float32, and operand.
    :param activate: Feed-forward's inner states, bias -> GELU of their sum in e4m3.
    """

    embed: Callable[..., tuple[Tensor, Operand]]
    add: Callable[..., tuple[Tensor, Operand]]
    activate: Callable[[Tensor, Tensor], Operand]

    @classmethod
    def of(cls, dtype: torch.dtype, epsilon: float, *, compiled: bool) -> Self:
        """Make the steps.

        :param dtype: Of the operands.
        :param epsilon: What the normalisations add to the variance.
        :param compiled: Whether to compile them. A step is compiled for the first number of tokens that it sees and, at
            the second, for any; of a later model in the process for any at once, tuned for the first number. Dimensions
            stay fixed, since scale, shift and bias come as parameters.
        """

        def prepare(states: Tensor) -> Operand:
            return quantise(states) if dtype is E4M3 else (states.to(dtype),)

        def embed(words: Tensor, places: Tensor, ids: Tensor, positions: Tensor, weight: Tensor, bias: Tensor) -> Any:
            states = torch.embedding(words, ids) + torch.embedding(places, positions)
            states = layer_norm(states, states.shape[1:], weight, bias, epsilon)
            return states, prepare(states)

        def add(states: Tensor, update: Tensor, weight: Tensor, bias: Tensor) -> Any:
            states = layer_norm(states + update, states.shape[1:], weight, bias, epsilon)
            return states, prepare(states)

        def activate(inner: Tensor, bias: Tensor) -> Operand:
            return quantise(gelu(inner + bias))

        def made(step: Any) -> Any:
            if not compiled:
                return step
            step.__code__ = step.__code__.replace()  # of its own: PyTorch compiles few kernels for each code object
            return torch.compile(step)

        return cls(made(embed), made(add), made(activate))
