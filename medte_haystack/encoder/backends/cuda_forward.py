"""BERT on packed texts for a GPU: few large kernels, and only those bytes that must move.

A layer is seven kernels in bfloat16: query, key and value as one product, attention over texts of any lengths, two
products with their bias, one with its bias and GELU, and two times residual, normalisation and rounding as one.
Nothing waits for the device. The residual stream is float32: in bfloat16 it would save a twelfth of the time, but a
cosine of 0.99992 to float32 (MiniLM) is too close to the promised 0.9999.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, linear, normalize

from medte_haystack.encoder.backends.cuda_layout import Layout
from medte_haystack.encoder.backends.cuda_steps import E4M3, Operand, Steps, fixed, quantise
from medte_haystack.encoder.bert import Affine, Bert, Layer
from medte_haystack.encoder.models import Pooling

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp8": E4M3}

Attend = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]
"""Query, key and value, each (tokens, heads, head size), where texts start, their longest -> context, the same shape.

The query is scaled already."""


def attend_flash(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int) -> Tensor:
    """Attention by FlashAttention's kernel for texts of any lengths.

    This is what `torch.nn.attention.varlen.varlen_attn` calls. That function itself would prefer cuDNN on a Hopper GPU,
    which plans anew, in a tenth of a second, for each number of texts.
    """
    context, *_ = torch.ops.aten._flash_attention_forward(
        query, key, value, offsets, offsets, longest, longest, 0.0, False, False, scale=1.0
    )
    return context  # type: ignore[no-any-return]


def attend_by_text(query: Tensor, key: Tensor, value: Tensor, offsets: Tensor, longest: int) -> Tensor:
    """Attention text by text, on any device: the reference that the other is tested against."""
    context = value.new_empty(value.shape)
    for start, end in pairwise(offsets.tolist()):
        if end - start > longest:
            raise ValueError(f"a text of {end - start} tokens, though the longest should have {longest}")
        weights = torch.einsum("qhd,khd->hqk", query[start:end], key[start:end]).float().softmax(-1)
        context[start:end] = torch.einsum("hqk,khd->qhd", weights.to(value.dtype), value[start:end])
    return context


@dataclass(frozen=True, slots=True)
class Products:
    """One layer's matrix products: what :class:`~.packed.LayerProducts` is on other devices.

    :param qkv: Operand -> queries, keys and values, (tokens, 3 dim).
    :param out: Context -> what is added to the states, (tokens, dim).
    :param feed_forward: Operand -> what is added to the states, (tokens, dim).
    """

    qkv: Callable[..., Tensor]
    out: Callable[[Tensor], Tensor]
    feed_forward: Callable[..., Tensor]


def half_products(layer: Layer, dtype: torch.dtype, device: str) -> Products:
    """Products in bfloat16 (or, for tests, float32).

    On a GPU, `_addmm_activation` is cuBLASLt's product with GELU by tanh, whose difference to the exact one drowns in
    bfloat16 (minimum cosine to float32 over the test texts: 0.999949, else 0.999950). On a CPU it is exact.
    """
    qkv, out, down = (_linear(one, dtype, device) for one in (layer.qkv, layer.out, layer.down))
    weight, bias = layer.up.weight.to(device, dtype).t(), layer.up.bias.to(device, dtype)
    return Products(qkv, out, lambda states: down(torch._addmm_activation(bias, states, weight, use_gelu=True)))


def eight_products(layer: Layer, activate: Callable[[Tensor, Tensor], Operand], device: str) -> Products:
    """Products in e4m3, with a scale for each output of a weight and for each token.

    Attention's output stays in bfloat16: it is a twelfth of the operations, and rounding the context to e4m3 in a step
    of its own would cost what the faster product wins.
    """
    qkv, down = EightLinear(layer.qkv, device), EightLinear(layer.down, device)
    up, up_bias = EightLinear(layer.up, device, biased=False), fixed(layer.up.bias, device)
    return Products(
        qkv,
        _linear(layer.out, torch.bfloat16, device),
        lambda rows, scale: down(*activate(up(rows, scale), up_bias)),
    )


def _linear(affine: Affine, dtype: torch.dtype, device: str) -> Callable[[Tensor], Tensor]:
    return partial(linear, weight=affine.weight.to(device, dtype), bias=affine.bias.to(device, dtype))


class EightLinear:
    """A linear layer in e4m3 with bfloat16 results."""

    def __init__(self, affine: Affine, device: str, *, biased: bool = True) -> None:
        weight, scale = quantise(affine.weight)
        self._weight = weight.to(device).t()  # column by column, as the kernel wants it
        self._scale = scale.to(device).t()
        self._bias = affine.bias.to(device, torch.bfloat16) if biased else None

    def __call__(self, rows: Tensor, scale: Tensor) -> Tensor:
        """Return the outputs of quantised rows, bfloat16, (tokens, outputs)."""
        return torch._scaled_mm(
            rows, self._weight, scale, self._scale, bias=self._bias, out_dtype=torch.bfloat16, use_fast_accum=True
        )


class Forward:
    """A BERT encoder for layouts.

    :param bert: The weights.
    :param pooling: ``mean`` or ``cls``.
    :param precision: ``bf16`` or ``fp8``; ``fp32`` for tests.
    :param device: Where to compute.
    :param attend: Attention.
    :param compiled: Whether to compile what lies between the products.
    """

    def __init__(
        self, bert: Bert, pooling: Pooling, precision: str, device: str, attend: Attend, *, compiled: bool
    ) -> None:
        self._pooling = pooling
        self._heads = bert.heads
        self._attend = attend
        self._tables = fixed(bert.words, device), fixed(bert.positions, device)
        self._norm = _fixed(bert.norm, device)
        self._norms = [(_fixed(layer.out_norm, device), _fixed(layer.down_norm, device)) for layer in bert.layers]
        dtype = _DTYPES[precision]
        self._steps = Steps.of(dtype, bert.epsilon, compiled=compiled)
        self._layers = [
            eight_products(layer, self._steps.activate, device)
            if dtype is E4M3
            else half_products(layer, dtype, device)
            for layer in bert.layers
        ]

    @torch.inference_mode()
    def __call__(self, block: Tensor, layout: Layout) -> Tensor:
        """Return the vectors of a layout's texts, unit length, float32, (texts, dim); the filler has none.

        :param block: The layout's block on the device.
        """
        ids, positions, offsets = layout.split(block)
        states, operand = self._steps.embed(*self._tables, ids, positions, *self._norm)
        for layer, (out_norm, down_norm) in zip(self._layers, self._norms, strict=True):
            query, key, value = layer.qkv(*operand).view(layout.tokens, 3, self._heads, -1).unbind(1)
            context = self._attend(query, key, value, offsets, layout.longest).reshape(layout.tokens, -1)
            states, operand = self._steps.add(states, layer.out(context), *out_norm)
            states, operand = self._steps.add(states, layer.feed_forward(*operand), *down_norm)
        return normalize(self._pool(states, offsets), dim=1)

    def _pool(self, states: Tensor, offsets: Tensor) -> Tensor:
        if self._pooling == "cls":
            return states.index_select(0, offsets[:-2])
        rows = torch.arange(len(states), dtype=offsets.dtype, device=states.device)
        return embedding_bag(rows, states, offsets, mode="mean", include_last_offset=True)[:-1]


def _fixed(affine: Affine, device: str) -> tuple[Tensor, Tensor]:
    return fixed(affine.weight, device), fixed(affine.bias, device)
