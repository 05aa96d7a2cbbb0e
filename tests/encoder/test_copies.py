"""Encoders that are copied, pickled and sent to other processes."""

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from medte_haystack.encoder import Encoder
from medte_haystack.encoder.backends.cpu import lacks

TEXTS = ["fever", "What causes acromegaly?"]


@pytest.fixture(params=["fp32", "int8"])
def loaded(request, tiny, tmp_path, monkeypatch) -> Encoder:
    if lacks(request.param):
        pytest.skip(f"this processor lacks {lacks(request.param)}")
    monkeypatch.setenv("MEDTE_CACHE", str(tmp_path / "cache"))
    return Encoder.load(tiny, device="cpu", precision=request.param, max_tokens=20, truncate_dim=16)


@pytest.mark.parametrize("make", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_gives_the_same_vectors_and_counts_for_itself(loaded, make):
    expected = loaded.encode(TEXTS)
    again = make(loaded)
    assert (again.precision, again.device, again.max_tokens, again.dim) == (loaded.precision, "cpu", 20, 16)
    before = loaded.stats
    np.testing.assert_allclose(again.encode(TEXTS), expected, atol=1e-6)
    assert loaded.stats == before


def test_a_deep_copy_shares_the_model(loaded):
    assert copy.deepcopy(loaded).backend is loaded.backend


def test_in_another_process(loaded):
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        found = list(pool.map(loaded.encode_one, TEXTS))
    np.testing.assert_allclose(found, [loaded.encode_one(text) for text in TEXTS], atol=1e-5)
