"""The one real model that comes from PyPI, loaded once, and tiny random models to break."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from medte_haystack.encoder import Encoder, ModelFiles, Tokeniser, locate
from medte_haystack.encoder.backends.packed import PackedBert
from medte_haystack.encoder.backends.products import plain
from medte_haystack.encoder.bert import Bert

torch.set_num_threads(1)  # threads that wait for one another are slow where tests share few cores

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder.load("minilm", device="cpu", precision="fp32")


@pytest.fixture(scope="session")
def minilm() -> ModelFiles:
    return locate("minilm")


@pytest.fixture(scope="session")
def minilm_folder(minilm) -> Path:
    return minilm.folder


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Medical sentences of many lengths, and what else arrives in practice."""
    return json.loads((GOLDEN / "texts.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def ids(minilm, texts) -> list[list[int]]:
    """The token ids of all the texts."""
    return Tokeniser.of(minilm)(texts).ids


@pytest.fixture(scope="session")
def reference(minilm, ids) -> np.ndarray:
    """Their vectors by PyTorch's plain operations in float32, which define what every backend must equal."""
    bert = Bert.read(minilm)
    return PackedBert(bert, "mean", [plain(layer, bert.heads) for layer in bert.layers])(ids)


@pytest.fixture(scope="session")
def vectors(encoder, texts) -> np.ndarray:
    """The vectors of all the texts."""
    return encoder.encode(texts)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory, minilm_folder) -> Path:
    """A random BERT of 32 dimensions and 64 positions, with the tokenizer of bert-base-uncased."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(7)
    shape = BertConfig(
        vocab_size=30522,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(shape, add_pooling_layer=False).save_pretrained(folder)
    shutil.copy(minilm_folder / "tokenizer.json", folder)
    return folder


@pytest.fixture
def tiny(tiny_model, tmp_path) -> Path:
    """A copy of the tiny model that a test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


@pytest.fixture
def edit_json():
    """Change keys of a JSON file, making it if need be."""

    def edit(path: Path, **changes: object) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        value = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps({**value, **changes}))

    return edit


class CountingBackend:
    """Stands for a device: the vector of a text is its number of tokens, everywhere."""

    precision, token_budget, parallel = "fp32", 16, 1

    def __init__(self, device="cpu"):
        self.device = device
        self.batches = []

    def embed(self, batches):
        for batch in batches:
            self.batches.append(batch)
            yield np.repeat(np.asarray([[len(one)] for one in batch], dtype=np.float32), 384, axis=1)

    def embed_one(self, ids):
        return np.full(384, len(ids), dtype=np.float32)


@pytest.fixture
def counting_backend() -> type[CountingBackend]:
    return CountingBackend


@pytest.fixture
def fake_encoder(encoder) -> Encoder:
    return Encoder(encoder.files, Tokeniser.of(encoder.files, 64), CountingBackend())


@pytest.fixture
def prefixed(encoder) -> Encoder:
    spec = type(encoder.spec)("prefixed", "", None, 384, "mean", query_prefix="query: ")
    files = ModelFiles(spec, encoder.files.folder)
    return Encoder(files, Tokeniser.of(files), CountingBackend())
