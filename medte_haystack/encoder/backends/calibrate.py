"""Calibration: what values a model's linear layers are given, seen on medical texts that come with this package."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from medte_haystack.encoder.backends.int8 import Int8Layer, Ranges, quantise_layer
from medte_haystack.encoder.backends.packed import LayerProducts, PackedBert
from medte_haystack.encoder.backends.products import onednn
from medte_haystack.encoder.bert import Bert
from medte_haystack.encoder.files import ModelFiles
from medte_haystack.encoder.pack import plan_batches
from medte_haystack.encoder.tokenise import Tokeniser

TEXTS = Path(__file__).parent.parent / "data" / "calibration.json"

_BATCH_TOKENS = 1024


def calibrate(files: ModelFiles, bert: Bert) -> list[Int8Layer]:
    """Quantise a model's layers by what they see in the calibration texts."""
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))
    passages = [files.spec.passage_prefix + text for text in texts["passages"]]
    queries = [files.spec.query_prefix + text for text in texts["queries"]]
    return quantise(bert, Tokeniser.of(files)(passages + queries).ids)


def quantise(bert: Bert, ids: Sequence[Sequence[int]]) -> list[Int8Layer]:
    """Quantise a model's layers by what they see in some texts, given as token ids."""
    ranges: list[dict[str, Ranges]] = [{} for _ in bert.layers]
    watched = [_watch(onednn(layer, bert.heads, torch.float32), ranges[n]) for n, layer in enumerate(bert.layers)]
    model = PackedBert(bert, "cls", watched)
    for batch in plan_batches([len(one) for one in ids], _BATCH_TOKENS):
        model([ids[position] for position in batch])
    return [quantise_layer(layer, seen) for layer, seen in zip(bert.layers, ranges, strict=True)]


def _watch(products: LayerProducts, seen: dict[str, Ranges]) -> LayerProducts:
    """Note the range of what a layer's products are given."""

    def noting(name: str, inputs: Tensor) -> Tensor:
        least, most = inputs.aminmax(dim=0)
        before = seen.get(name, Ranges(least, most))
        seen[name] = Ranges(torch.minimum(before.least, least), torch.maximum(before.most, most))
        return inputs

    return replace(
        products,
        qkv=lambda states: products.qkv(noting("qkv", states)),
        out=lambda context: products.out(noting("out", context)),
        feed_forward=lambda states: products.feed_forward(noting("up", states)),
    )
