"""BERT over packed texts: no padding is computed, and a text's vector does not depend on its neighbours.

What the matrix products are computed in is decided elsewhere (`products`, `int8`). The residual stream, the
normalisations and the pooling are float32 in any case: that keeps bf16 within cosine 0.9999 of float32.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding, layer_norm, normalize

from medte_haystack.encoder.bert import Affine, Bert
from medte_haystack.encoder.models import Pooling
from medte_haystack.encoder.pack import Pack, Run


@dataclass(frozen=True, slots=True)
class LayerProducts:
    """One layer's matrix products.

    :param qkv: States (tokens, dim), float32 -> queries, keys and values, (tokens, 3 dim).
    :param attend: Those and the runs of equally long texts -> context, (tokens, dim).
    :param out: Context -> what is added to the states, (tokens, dim).
    :param feed_forward: States, float32 -> what is added to them, (tokens, dim).
    """

    qkv: Callable[[Tensor], Tensor]
    attend: Callable[[Tensor, Sequence[Run]], Tensor]
    out: Callable[[Tensor], Tensor]
    feed_forward: Callable[[Tensor], Tensor]


class PackedBert:
    """A BERT encoder for packs.

    :param bert: The weights.
    :param pooling: ``mean`` over a text's tokens (special tokens included, as sentence-transformers does) or ``cls``.
    :param products: Each layer's matrix products.
    :param device: Where to compute.
    """

    def __init__(
        self,
        bert: Bert,
        pooling: Pooling,
        products: Iterable[LayerProducts],
        device: str = "cpu",
    ) -> None:
        self._device = device
        self._pooling = pooling
        self._dim = bert.dim
        self._epsilon = bert.epsilon
        self._words = bert.words.to(device)
        self._positions = bert.positions.to(device)
        self._embedding_norm = self._move(bert.norm)
        self._layers = list(products)
        self._norms = [(self._move(layer.out_norm), self._move(layer.down_norm)) for layer in bert.layers]

    @torch.inference_mode()
    def __call__(self, ids: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the vectors of token id lists: unit length, float32, shape (n, dim), in order."""
        pack = Pack.of(ids)
        runs = pack.runs()
        words = embedding(torch.from_numpy(pack.ids).to(self._device), self._words)
        places = embedding(torch.from_numpy(pack.positions).to(self._device), self._positions)
        states = self._normalise(words.add_(places), self._embedding_norm)
        for layer, (out_norm, down_norm) in zip(self._layers, self._norms, strict=True):
            context = layer.attend(layer.qkv(states), runs)
            states = self._normalise(states.add_(layer.out(context)), out_norm)
            states = self._normalise(states.add_(layer.feed_forward(states)), down_norm)
        vectors: NDArray[np.float32] = normalize(self._pool(states, runs), dim=1).cpu().numpy()
        return vectors

    def _normalise(self, states: Tensor, norm: Affine) -> Tensor:
        return layer_norm(states, (self._dim,), norm.weight, norm.bias, self._epsilon)

    def _pool(self, states: Tensor, runs: Sequence[Run]) -> Tensor:
        blocks = [states[run.tokens].view(run.count, run.length, self._dim) for run in runs]
        return torch.cat([block[:, 0] if self._pooling == "cls" else block.mean(1) for block in blocks])

    def _move(self, affine: Affine) -> Affine:
        return Affine(affine.weight.to(self._device), affine.bias.to(self._device))
