"""A tiny random BERT, and a small configuration."""

import string
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from medte_haystack.training.config import Config

from .small import WORDS

torch.set_num_threads(1)  # threads that wait for one another are slow where tests share few cores


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A random BERT of 2 layers, 32 dimensions and 64 positions, whose tokenizer knows a few words and all letters."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(7)
    signs = [*string.ascii_lowercase, *string.digits, *string.punctuation]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *signs, *(f"##{sign}" for sign in signs), *WORDS]
    shape = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(shape, add_pooling_layer=False).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordPiece({word: number for number, word in enumerate(vocabulary)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(vocabulary[:5])
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture
def config(tiny):
    """Make a small configuration: six steps on a CPU in float32, tables given by keyword."""

    def make(**tables) -> Config:
        values = {
            "model": {"base": str(tiny)},
            "batches": {"size": 8},
            "loss": {"mini_batch": 3},
            "optimiser": {"learning_rate": 1e-3, "warmup": 2},
            "run": {"steps": 6, "precision": "fp32", "device": "cpu", "log_every": 1},
            "checkpoints": {"every": 2, "keep": 9},
        }
        return Config.model_validate({name: values.get(name, {}) | tables.get(name, {}) for name in values | tables})

    return make
