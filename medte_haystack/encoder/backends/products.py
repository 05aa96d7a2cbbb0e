"""Matrix products in float32 and bfloat16, and attention over runs of equally long texts."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import gelu, linear, scaled_dot_product_attention

from medte_haystack.encoder.backends.packed import LayerProducts
from medte_haystack.encoder.bert import Affine, Layer
from medte_haystack.encoder.pack import Run

_SAFE_SUM = (1e-20, 1e20)  # between these, exponentials need no maximum subtracted first


def plain(layer: Layer, heads: int, device: str = "cpu") -> LayerProducts:
    """PyTorch's own operations in float32: they run on any device and define what the others must equal."""
    qkv, out, up, down = (
        partial(linear, weight=one.weight.to(device), bias=one.bias.to(device))
        for one in (layer.qkv, layer.out, layer.up, layer.down)
    )
    return LayerProducts(
        qkv=qkv,
        attend=partial(attend_fused, heads=heads),
        out=out,
        feed_forward=lambda states: down(gelu(up(states))),
    )


def onednn(layer: Layer, heads: int, dtype: torch.dtype) -> LayerProducts:
    """Kernels of oneDNN over weights laid out for them once, in float32 or bfloat16; sums are float32 in both.

    In float32, too, they are faster than `linear` where that goes to MKL on a processor that MKL does not favour.
    """
    qkv, out, up, down = (OneDNNLinear(one, dtype) for one in (layer.qkv, layer.out, layer.up, layer.down))
    return LayerProducts(
        qkv=lambda states: qkv(states.to(dtype)),
        attend=partial(attend_fused if dtype is torch.float32 else attend_by_products, heads=heads),
        out=out,
        feed_forward=lambda states: down(up(states.to(dtype), gelu=True)),
    )


class OneDNNLinear:
    """A linear layer with its weight in oneDNN's own layout."""

    def __init__(self, affine: Affine, dtype: torch.dtype) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(affine.weight.to(dtype), None)
        self._bias = affine.bias.to(dtype)

    def __call__(self, inputs: Tensor, *, gelu: bool = False) -> Tensor:
        """Return ``inputs @ weight.T + bias``, through GELU if asked; shape (tokens, outputs)."""
        kind, algorithm = ("gelu", "none") if gelu else ("none", "")
        result: Tensor = torch.ops.mkldnn._linear_pointwise(inputs, self._weight, self._bias, kind, [], algorithm)
        return result


def attend_fused(qkv: Tensor, runs: Sequence[Run], heads: int) -> Tensor:
    """Attention by PyTorch's fused kernel; the best there is for float32."""
    dim = qkv.shape[1] // 3
    context = qkv.new_empty(qkv.shape[0], dim)
    for run in runs:
        query, key, value = _by_head(qkv, run, heads)
        found = scaled_dot_product_attention(query, key, value, scale=1.0)
        context[run.tokens].view(run.count, run.length, heads, -1).copy_(found.transpose(1, 2))
    return context


def attend_by_products(qkv: Tensor, runs: Sequence[Run], heads: int) -> Tensor:
    """Attention by two batched matrix products, for bfloat16.

    On a CPU the fused kernel reaches a sixth of the processor's bfloat16 rate, oneDNN's products three quarters.
    """
    dim = qkv.shape[1] // 3
    context = qkv.new_empty(qkv.shape[0], dim)
    for run in runs:
        query, key, value = _by_head(qkv, run, heads).contiguous().flatten(1, 2)
        key = key.transpose(1, 2)
        weights = torch.bmm(query, key).exp_()
        sums = weights.sum(-1, keepdim=True)
        least, most = torch.aminmax(sums)
        if not (_SAFE_SUM[0] < float(least) and float(most) < _SAFE_SUM[1]):  # far-out scores, or NaN
            weights = torch.bmm(query, key).softmax(-1)
            sums.fill_(1.0)
        found = context[run.tokens].view(run.count, run.length, heads, -1).transpose(1, 2)
        found.copy_(torch.bmm(weights, value).div_(sums).view(found.shape))
    return context


def _by_head(qkv: Tensor, run: Run, heads: int) -> Tensor:
    """Return queries, keys and values of a run: a view of shape (3, texts, heads, length, head size)."""
    return qkv[run.tokens].view(run.count, run.length, 3, heads, -1).permute(2, 0, 3, 1, 4)
