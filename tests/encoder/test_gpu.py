"""What no CPU can show: the GPU's own kernels, compiled and recorded. Runs where there is an NVIDIA GPU."""

import logging

import numpy as np
import pytest
import torch

from medte_haystack.encoder.backends import cuda
from medte_haystack.encoder.backends.cuda import Cuda

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")


def cosines(left, right):
    return (left * right).sum(axis=-1)


@pytest.mark.parametrize(("precision", "least"), [("bf16", 0.9999), ("fp8", 0.985)])
def test_vectors_are_near_the_reference(minilm, ids, reference, precision, least, caplog):
    if reason := cuda.lacks(precision, "cuda"):
        pytest.skip(f"it lacks {reason}")
    with caplog.at_level(logging.WARNING):
        backend = Cuda(minilm, "cuda", precision)
        found = np.concatenate(list(backend.embed([ids[:10], ids[10:11], ids[11:]])))
        lone = np.stack([backend.embed_one(one) for one in ids])
    assert cosines(found, reference).min() >= least
    assert cosines(lone, found).min() >= (0.9998 if precision == "bf16" else least)
    assert not [one for one in caplog.records if one.name.startswith("medte_haystack")]  # compiled, and recorded


def test_a_full_batch(minilm, ids):
    backend = Cuda(minilm, "cuda", "bf16")
    many = (ids * 40)[: backend.token_budget // 80]
    (together,) = backend.embed([many])
    (alone,) = backend.embed([ids])
    assert cosines(together[: len(ids)], alone).min() >= 0.9998
    assert cosines(together[-1], alone[(len(many) - 1) % len(ids)]) >= 0.9998
