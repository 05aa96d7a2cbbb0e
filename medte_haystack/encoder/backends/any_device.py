"""Devices without a way of their own: PyTorch's plain operations in float32."""

from medte_haystack.encoder.backends.one_by_one import OneByOne
from medte_haystack.encoder.backends.packed import PackedBert
from medte_haystack.encoder.backends.products import plain
from medte_haystack.encoder.bert import Bert
from medte_haystack.encoder.files import ModelFiles

_BUDGET = 8192  # tokens


class AnyDevice(OneByOne):
    """A BERT encoder in float32 on any device that PyTorch knows: ``mps``, or a GPU without bfloat16.

    :param files: The model.
    :param device: The device.
    :raises ModelError: If the weights are missing, damaged, or do not fill the model.
    """

    precision = "fp32"

    def __init__(self, files: ModelFiles, device: str) -> None:
        bert = Bert.read(files)
        products = (plain(layer, bert.heads, device) for layer in bert.layers)
        super().__init__(PackedBert(bert, files.spec.pooling, products, device), _BUDGET, device)
