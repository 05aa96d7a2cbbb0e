"""A BERT encoder's weights, read from safetensors and brought into the one form that all fast backends start from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from medte_haystack.encoder.files import ModelFiles
from medte_haystack.encoder.models import read_json
from medte_haystack.errors import ModelError


def unlike_bert(config: Mapping[str, Any]) -> str | None:
    """Return what in a `config.json` is not as in the BERT that is computed here: post-norm, absolute positions, GELU.

    :returns: None if nothing.
    """
    wanted: dict[str, tuple[object, ...]] = {
        "model_type": ("bert",),
        "hidden_act": ("gelu",),
        "position_embedding_type": (None, "absolute"),
        "is_decoder": (None, False),
        "add_cross_attention": (None, False),
        "quantization_config": (None, {}),
    }
    stated = {"hidden_act": "gelu", **config}
    return next(
        (f"{key} is {stated.get(key)!r}" for key, values in wanted.items() if stated.get(key) not in values), None
    )


def check_finite(name: str, tensor: Tensor, folder: Path) -> None:
    """Check that weights are numbers.

    :raises ModelError: If one is NaN or infinite: every vector would be NaN.
    """
    if tensor.numel() and not all(torch.isfinite(end) for end in tensor.aminmax()):
        raise ModelError(
            f"the weights in {folder} are damaged: {name} holds NaN or infinite numbers; fetch the model again",
            path=str(folder),
            tensor=name,
        )


@dataclass(frozen=True, slots=True)
class Affine:
    """A linear layer or a normalisation's scale and shift, float32.

    :param weight: Shape (outputs, inputs) of a linear layer, (dim,) of a normalisation.
    :param bias: Shape (outputs,) or (dim,).
    """

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of the encoder, float32.

    :param qkv: Query, key and value as one linear layer, (3 dim, dim); 1/sqrt(head size) is in the query's part.
    :param out: Attention's output projection, (dim, dim).
    :param out_norm: Normalisation after attention.
    :param up: Feed-forward to the inner size, before GELU.
    :param down: Feed-forward back.
    :param down_norm: Normalisation after the feed-forward.
    """

    qkv: Affine
    out: Affine
    out_norm: Affine
    up: Affine
    down: Affine
    down_norm: Affine


@dataclass(frozen=True, slots=True)
class Bert:
    """A BERT encoder, float32 on the CPU.

    :param words: Word vectors, (vocabulary, dim).
    :param positions: Position vectors with the vector of token type 0 added, (positions, dim).
    :param norm: Normalisation of the sum of both.
    :param heads: Attention heads.
    :param epsilon: What the normalisations add to the variance.
    """

    words: Tensor
    positions: Tensor
    norm: Affine
    layers: tuple[Layer, ...]
    heads: int
    epsilon: float

    @property
    def dim(self) -> int:
        """Dimensions of a token's state."""
        return self.words.shape[1]

    @classmethod
    def read(cls, files: ModelFiles) -> Self:
        """Read a model's weights.

        :raises ModelError: If weights are missing, damaged, or of another shape than `config.json` says.
        """
        config = read_json(files.folder / "config.json")
        number = partial(_number, files.folder / "config.json", config)
        layers = number("num_hidden_layers")
        tensors = _Tensors(files)
        tensors.check_all_there(layers)
        dim, inner = number("hidden_size"), number("intermediate_size")
        heads, positions = number("num_attention_heads"), number("max_position_embeddings")
        if dim % heads:
            raise ModelError(f"{files.folder}: {heads} heads do not divide {dim} dimensions", path=str(files.folder))
        kinds = tensors.take("embeddings.token_type_embeddings.weight", number("type_vocab_size", 2), dim)
        read_layer = partial(_read_layer, tensors, dim=dim, inner=inner, head_dim=dim // heads)
        return cls(
            words=tensors.take("embeddings.word_embeddings.weight", number("vocab_size"), dim),
            positions=tensors.take("embeddings.position_embeddings.weight", positions, dim) + kinds[0],
            norm=tensors.affine("embeddings.LayerNorm", dim),
            layers=tuple(read_layer(f"encoder.layer.{n}.") for n in range(layers)),
            heads=heads,
            epsilon=number("layer_norm_eps", 1e-12, whole=False),
        )


def _number(
    path: Path, config: Mapping[str, Any], key: str, default: float | None = None, *, whole: bool = True
) -> Any:
    value = config.get(key, default)
    if isinstance(value, int if whole else int | float) and not isinstance(value, bool) and value > 0:
        return value
    raise ModelError(
        f"{path}: {key} is {value!r}, not a number above 0; fetch the model again", path=str(path), key=key, value=value
    )


def _read_layer(tensors: "_Tensors", name: str, *, dim: int, inner: int, head_dim: int) -> Layer:
    query, key, value = (tensors.affine(f"{name}attention.self.{part}", dim, dim) for part in ("query", "key", "value"))
    scale = 1 / math.sqrt(head_dim)
    return Layer(
        qkv=Affine(
            torch.cat([query.weight * scale, key.weight, value.weight]),
            torch.cat([query.bias * scale, key.bias, value.bias]),
        ),
        out=tensors.affine(f"{name}attention.output.dense", dim, dim),
        out_norm=tensors.affine(f"{name}attention.output.LayerNorm", dim),
        up=tensors.affine(f"{name}intermediate.dense", inner, dim),
        down=tensors.affine(f"{name}output.dense", dim, inner),
        down_norm=tensors.affine(f"{name}output.LayerNorm", dim),
    )


_EMBEDDINGS = ("word_embeddings.weight", "position_embeddings.weight", "token_type_embeddings.weight")
_LINEAR = (
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.output.dense",
    "intermediate.dense",
    "output.dense",
)
_NORMS = ("attention.output.LayerNorm", "output.LayerNorm")
_LEGACY = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


class _Tensors:
    """The tensors of a model by name, whatever prefix they were saved under, each checked for its shape."""

    def __init__(self, files: ModelFiles) -> None:
        self._folder = files.folder
        self._found: dict[str, Tensor] = {}
        for path in files.weights():
            try:
                with safe_open(path, framework="pt") as stored:
                    self._found.update({_modern(name): stored.get_tensor(name) for name in stored.keys()})  # noqa: SIM118
            except (SafetensorError, OSError, ValueError, RuntimeError) as error:
                raise ModelError(
                    f"the weights {path} cannot be loaded ({error}); fetch the model again", path=str(path)
                ) from error
        word = "embeddings.word_embeddings.weight"
        self._prefix = next((name.removesuffix(word) for name in self._found if name.endswith(word)), "")

    def check_all_there(self, layers: int) -> None:
        wanted = [f"embeddings.{name}" for name in _EMBEDDINGS]
        pairs = [
            "embeddings.LayerNorm",
            *(f"encoder.layer.{n}.{one}" for n in range(layers) for one in _LINEAR + _NORMS),
        ]
        wanted += [f"{name}.{part}" for name in pairs for part in ("weight", "bias")]
        missing = sorted(name for name in wanted if self._prefix + name not in self._found)
        if missing:
            raise ModelError(
                f"the weights in {self._folder} lack {len(missing)} tensors of the model, {missing[0]} first;"
                " fetch the model again",
                path=str(self._folder),
                missing=missing,
            )

    def affine(self, name: str, *shape: int) -> Affine:
        return Affine(self.take(f"{name}.weight", *shape), self.take(f"{name}.bias", shape[0]))

    def take(self, name: str, *shape: int) -> Tensor:
        tensor = self._found[self._prefix + name]
        if tuple(tensor.shape) != shape:
            raise ModelError(
                f"the weights in {self._folder} do not fit config.json: {name} has shape {tuple(tensor.shape)}, not"
                f" {shape}; fetch the model again",
                path=str(self._folder),
                tensor=name,
            )
        if not tensor.is_floating_point() or tensor.element_size() < 2:
            raise ModelError(
                f"the weights in {self._folder} are quantised ({name} is {tensor.dtype}), which is not read; take the"
                " model in float32, float16 or bfloat16",
                path=str(self._folder),
                tensor=name,
            )
        check_finite(name, tensor, self._folder)
        return tensor.float()


def _modern(name: str) -> str:
    legacy = next((one for one in _LEGACY if name.endswith(one)), None)
    return name.removesuffix(legacy) + _LEGACY[legacy] if legacy else name
