"""8-bit integer products on a CPU (VNNI, AMX), calibrated so that retrieval keeps its quality.

Weights are quantised by output channel. Inputs of the attention and of the feed-forward's first product are shifted
and smoothed by channel, with ranges from calibration: outlier channels are scaled down and their weights up
(SmoothQuant, arXiv:2211.10438; shifts as in Outlier Suppression+, arXiv:2304.09145). The feed-forward's second product,
whose inputs have outlying tokens that no fixed range fits, is quantised token by token. So no range depends on what
other texts a batch holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from medte_haystack.encoder.backends.packed import LayerProducts
from medte_haystack.encoder.backends.products import attend_by_products
from medte_haystack.encoder.bert import Affine, Layer

_SMOOTHING = 0.6  # share of a channel's spread that moves into the weights
_LEVELS = 127  # of 8 bits with a sign
_TINY = 1e-4  # spread of a channel that never moved
_UNSIGNED = 255  # of 8 bits without
_GELU_LEAST = -0.17  # GELU is never below


@dataclass(frozen=True, slots=True)
class Ranges:
    """Least and greatest value of each input channel that calibration saw; float32, shape (inputs,) each."""

    least: Tensor
    most: Tensor


@dataclass(frozen=True, slots=True)
class Int8Weights:
    """A linear layer in 8 bits: ``bias + scale * ((factor * inputs + shift) - 128) @ weight.T``.

    :param weight: Signed 8-bit integers, shape (outputs, inputs).
    :param scale: What a product of integers is worth, by output, float32, shape (outputs,).
    :param bias: float32, shape (outputs,).
    :param factor: What inputs are multiplied by to become integers, float32, shape (inputs,).
    :param shift: What is added then, so that they lie in 0 to 255: 128, the channel's shift, and a half for rounding.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor
    factor: Tensor
    shift: Tensor


@dataclass(frozen=True, slots=True)
class Int8Layer:
    """The linear layers of one layer of the encoder."""

    qkv: Int8Weights
    out: Int8Weights
    up: Int8Weights
    down: Int8Weights


def quantise_calibrated(affine: Affine, ranges: Ranges) -> Int8Weights:
    """Quantise a linear layer whose inputs keep to ranges."""
    middle = (ranges.most + ranges.least) / 2
    spread = ((ranges.most - ranges.least) / 2).clamp(min=_TINY)
    reach = affine.weight.abs().amax(0).clamp(min=_TINY)
    smooth = spread**_SMOOTHING / reach ** (1 - _SMOOTHING)
    step = (spread / smooth).max() / _LEVELS
    weight, scale = quantise_rows(affine.weight * smooth)
    factor = 1 / (smooth * step)
    return Int8Weights(
        weight=weight,
        scale=scale * step,
        bias=affine.bias + affine.weight @ middle,
        factor=factor,
        shift=128.5 - middle * factor,
    )


def quantise_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return signed 8-bit integers by row, and what one of them is worth in each row."""
    scale = (values.abs().amax(1) / _LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.round(values / scale[:, None]).to(torch.int8), scale


def quantise_by_token(affine: Affine) -> Int8Weights:
    """Quantise a linear layer behind a GELU, whose inputs are given their range token by token.

    There is no factor and no shift; the bias holds what the least input, level 0, is worth.
    """
    weight, scale = quantise_rows(affine.weight)
    return Int8Weights(
        weight=weight,
        scale=scale,
        bias=affine.bias + _GELU_LEAST * scale * weight.sum(1),
        factor=torch.empty(0),
        shift=torch.empty(0),
    )


class Int8Linear:
    """A linear layer with its weight in oneDNN's own layout.

    :param weights: The layer in 8 bits.
    """

    def __init__(self, weights: Int8Weights) -> None:
        self._packed = torch.ops.onednn.qlinear_prepack(weights.weight, None)
        self._no_shift = torch.zeros(len(weights.scale), dtype=torch.int32)
        self._weights = weights

    def __call__(self, inputs: Tensor, dtype: torch.dtype, *, gelu: bool = False) -> Tensor:
        """Quantise inputs by the calibrated ranges and multiply; shape (tokens, outputs)."""
        levels = torch.addcmul(self._weights.shift, inputs, self._weights.factor).clamp_(0, 255)
        return self._multiply(levels, 128, self._weights.bias, dtype, gelu=gelu)

    def by_token(self, inputs: Tensor) -> Tensor:
        """Quantise what a GELU gave token by token and multiply; `inputs` are overwritten. Float32."""
        step = inputs.amax(1, keepdim=True).clamp_(min=0).sub_(_GELU_LEAST).div_(_UNSIGNED)
        levels = inputs.div_(step).add_(0.5 - _GELU_LEAST / step)
        found = self._multiply(levels, 0, None, torch.float32)
        return found.mul_(step).add_(self._weights.bias)

    def _multiply(
        self, levels: Tensor, zero: int, bias: Tensor | None, dtype: torch.dtype, *, gelu: bool = False
    ) -> Tensor:
        integers = levels.to(torch.int16).to(torch.uint8)  # by way of int16: PyTorch's direct conversion is slow
        kind, algorithm = ("gelu", "none") if gelu else ("none", "")
        result: Tensor = torch.ops.onednn.qlinear_pointwise(
            integers,
            1.0,
            zero,
            self._packed,
            self._weights.scale,
            self._no_shift,
            bias,
            1.0,
            0,
            dtype,
            kind,
            [],
            algorithm,
        )
        return result


def int8_products(layer: Int8Layer, heads: int) -> LayerProducts:
    """Return a layer's products; attention itself is bfloat16."""
    qkv, out, up, down = (Int8Linear(one) for one in (layer.qkv, layer.out, layer.up, layer.down))
    return LayerProducts(
        qkv=partial(qkv, dtype=torch.bfloat16),
        attend=partial(attend_by_products, heads=heads),
        out=partial(out, dtype=torch.float32),
        feed_forward=lambda states: down.by_token(up(states, torch.float32, gelu=True)),
    )


def quantise_layer(layer: Layer, ranges: Mapping[str, Ranges]) -> Int8Layer:
    """Quantise the linear layers of one layer, given the ranges of what enters qkv, out and up."""
    return Int8Layer(
        qkv=quantise_calibrated(layer.qkv, ranges["qkv"]),
        out=quantise_calibrated(layer.out, ranges["out"]),
        up=quantise_calibrated(layer.up, ranges["up"]),
        down=quantise_by_token(layer.down),
    )
