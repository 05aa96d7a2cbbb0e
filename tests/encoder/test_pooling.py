"""Pooling and prefixes of the registry's families, by a tiny random BERT against a hand computation."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertModel

from medte_haystack.encoder import MODELS, Encoder, ModelFiles, Tokeniser, locate
from medte_haystack.encoder.backends import load_backend
from medte_haystack.encoder.models import describe
from medte_haystack.errors import ModelError

TEXTS = ["What causes acromegaly?", "A disorder of growth that begins in adulthood, often late.", "fever", ""]


def by_hand(folder, texts, pooling) -> np.ndarray:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    rows = []
    for text in texts:
        with torch.no_grad():
            states = model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0].numpy()
        vector = states[0] if pooling == "cls" else states.mean(axis=0)
        rows.append(vector / np.linalg.norm(vector))
    return np.stack(rows)


def as_row(name: str, folder) -> Encoder:
    """Load the tiny model as if it were the one of this registry row."""
    files = ModelFiles(describe(folder, replace(MODELS[name], dim=32)), folder)
    return Encoder(files, Tokeniser.of(files), load_backend(files, "cpu", "fp32"))


@pytest.mark.parametrize(("name", "pooling"), [("bge-small", "cls"), ("medembed-base", "cls"), ("e5-base-v2", "mean")])
def test_a_row_pools_as_its_card_says(tiny, name, pooling):
    vectors = as_row(name, tiny).encode(TEXTS, None)
    np.testing.assert_allclose(vectors, by_hand(tiny, TEXTS, pooling), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "query", "passage"),
    [
        ("e5-base-v2", "query: ", "passage: "),
        ("bge-base", "Represent this sentence for searching relevant passages: ", ""),
        ("medte", "", ""),
    ],
)
def test_prefixes(tiny, name, query, passage):
    encoder = as_row(name, tiny)
    assert (encoder.prefix("query"), encoder.prefix("passage"), encoder.prefix(None)) == (query, passage, "")
    pooling = MODELS[name].pooling
    for kind, prefix in (("query", query), ("passage", passage), (None, "")):
        expected = by_hand(tiny, [prefix + text for text in TEXTS], pooling)
        np.testing.assert_allclose(encoder.encode(TEXTS, kind), expected, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
        {"pooling_mode": "cls", "embedding_dimension": 32, "include_prompt": True},
    ],
)
def test_the_models_own_pooling_wins_over_the_row(tiny, edit_json, config):
    edit_json(tiny / "1_Pooling" / "config.json", **config)
    encoder = as_row("medte", tiny)
    assert (MODELS["medte"].pooling, encoder.spec.pooling) == ("mean", "cls")
    np.testing.assert_allclose(encoder.encode(TEXTS), by_hand(tiny, TEXTS, "cls"), atol=1e-5)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"pooling_mode_max_tokens": True}, "max_tokens"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls_token, mean_tokens"),
        ({"pooling_mode": "lasttoken"}, "lasttoken"),
        ({"pooling_mode": "mean", "include_prompt": False}, "prompt"),
    ],
)
def test_other_pooling_is_refused(tiny, edit_json, config, named):
    edit_json(tiny / "1_Pooling" / "config.json", **config)
    with pytest.raises(ModelError, match=named):
        locate(str(tiny))


def test_prompts_of_the_models_own_config_are_used(tiny, edit_json):
    edit_json(tiny / "config_sentence_transformers.json", prompts={"query": "q: ", "document": "d: "})
    encoder = Encoder.load(str(tiny), device="cpu", precision="fp32")
    assert (encoder.prefix("query"), encoder.prefix("passage")) == ("q: ", "d: ")
    expected = by_hand(tiny, ["q: " + text for text in TEXTS], "mean")
    np.testing.assert_allclose(encoder.encode(TEXTS, "query"), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("file", "key", "value", "expected"),
    [
        ("sentence_bert_config.json", "max_seq_length", 20, 20),
        ("tokenizer_config.json", "model_max_length", 30, 30),
        ("tokenizer_config.json", "model_max_length", int(1e30), 64),
        ("sentence_bert_config.json", "max_seq_length", 512, 64),  # the model has only 64 positions
        ("sentence_bert_config.json", "max_seq_length", None, 64),
    ],
)
def test_the_longest_text_is_what_the_files_state(tiny, edit_json, file, key, value, expected):
    edit_json(tiny / file, **{key: value})
    encoder = Encoder.load(str(tiny), device="cpu")
    assert encoder.max_tokens == expected
    assert encoder.encode(["word " * 500]).shape == (1, 32)


def test_a_model_with_more_than_pooling_is_refused(tiny, edit_json):
    kinds = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Pooling"]
    (tiny / "modules.json").write_text(str([{"type": kind} for kind in kinds]).replace("'", '"'))
    assert locate(str(tiny)).spec.dim == 32
    kinds.append("sentence_transformers.models.Dense")
    (tiny / "modules.json").write_text(str([{"type": kind} for kind in kinds]).replace("'", '"'))
    with pytest.raises(ModelError, match=r"Dense.*modules.json") as caught:
        locate(str(tiny))
    assert caught.value.modules == ["Dense"]
