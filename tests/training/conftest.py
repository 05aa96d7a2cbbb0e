"""A tiny random BERT, and pairs about nothing."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertModel

from medte_haystack.encoder import locate
from medte_haystack.training.config import Config
from medte_haystack.training.pairs import Pair

torch.set_num_threads(1)  # threads that wait for one another are slow where tests share few cores

WORDS = [
    "acute",
    "chronic",
    "renal",
    "cardiac",
    "hepatic",
    "pain",
    "fever",
    "cough",
    "rash",
    "anaemia",
    "gout",
    "asthma",
    "stroke",
    "sepsis",
    "nausea",
    "oedema",
]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """A random BERT of 2 layers, 32 dimensions and 64 positions, with the tokenizer of bert-base-uncased."""
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
    shutil.copy(locate("minilm").folder / "tokenizer.json", folder)
    return folder


def pairs_of(source: str, count: int, negatives: int = 0) -> list[Pair]:
    """Make pairs whose texts are all different: a number of words from a small vocabulary."""

    def text(number: int, salt: int) -> str:
        words = [
            WORDS[(number * 7 + salt * 3 + place * (1 + number % 5)) % len(WORDS)] for place in range(4 + number % 9)
        ]
        return f"{source} {salt} {number} {' '.join(words)}"

    return [
        Pair(str(n), source, text(n, 1), text(n, 2), tuple(text(n, 3 + k) for k in range(negatives)))
        for n in range(count)
    ]


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
            "checkpoints": {"every": 2},
        }
        return Config.model_validate({name: values.get(name, {}) | tables.get(name, {}) for name in values | tables})

    return make
