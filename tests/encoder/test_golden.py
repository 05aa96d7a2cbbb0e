"""The encoder against sentence-transformers, which defines what a model's vectors are."""

from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from medte_haystack.encoder import Encoder
from medte_haystack.encoder.backends.cpu import lacks

# Made by sentence-transformers 6.2.0 with transformers 5.23.0 and torch 2.15.0: shows a drift of both libraries.
STORED = Path(__file__).parent / "golden" / "minilm.npy"


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return (left * right).sum(axis=1)


@pytest.fixture(scope="module")
def reference(minilm_folder, texts) -> np.ndarray:
    model = SentenceTransformer(str(minilm_folder), device="cpu")
    return model.encode(texts, convert_to_numpy=True, normalize_embeddings=True)


def test_fp32_equals_sentence_transformers(vectors, reference):
    assert cosines(vectors, reference).min() >= 0.99999
    np.testing.assert_allclose(vectors, reference, atol=1e-5)


def test_fp32_equals_the_stored_vectors(vectors):
    assert cosines(vectors, np.load(STORED)).min() >= 0.99999


@pytest.mark.skipif(bool(lacks("bf16")), reason=f"this processor lacks {lacks('bf16')}")
def test_bf16_is_near_sentence_transformers(texts, reference):
    vectors = Encoder.load("minilm", device="cpu", precision="bf16").encode(texts)
    similar = cosines(vectors, reference)
    assert similar.min() >= 0.9999  # what precision="auto" promises
    assert similar.max() < 1.0 - 1e-7  # it did compute in another precision


def test_a_model_that_sentence_transformers_saved_again(minilm_folder, texts, tmp_path):
    """Since 6.0 it writes other files: the length to tokenizer_config.json, the pooling as one value."""
    model = SentenceTransformer(str(minilm_folder), device="cpu")
    model.max_seq_length = 100
    model.save(str(tmp_path))
    saved = Encoder.load(str(tmp_path), device="cpu", precision="fp32")
    assert (saved.max_tokens, saved.spec.pooling, saved.dim) == (100, "mean", 384)
    texts = texts[::4]  # with the longest
    expected = model.encode(texts, convert_to_numpy=True, normalize_embeddings=True)
    assert cosines(saved.encode(texts), expected).min() >= 0.99999
