"""Options of the device, and the plan of batches."""

from itertools import chain

import numpy as np
import pytest
import torch

from medte_haystack.encoder import Encoder
from medte_haystack.encoder.pack import plan_batches
from medte_haystack.errors import EncoderOptionError


@pytest.mark.parametrize("precision", ["int8", "fp16", "", "FP32"])
def test_an_unknown_precision(tiny, precision):
    with pytest.raises(EncoderOptionError, match=f"precision '{precision}' is unknown; there are auto, fp32, bf16"):
        Encoder.load(str(tiny), device="cpu", precision=precision)


@pytest.mark.parametrize(
    ("asked", "got"), [("auto", "fp32"), ("fp32", "fp32"), ("float32", "fp32"), ("bf16", "bf16"), ("bfloat16", "bf16")]
)
def test_precisions_on_a_cpu(tiny, asked, got):
    assert Encoder.load(str(tiny), device="cpu", precision=asked).precision == got


@pytest.mark.parametrize("device", ["gpu", "meta", "", "cpu:x", "tpu"])
def test_an_unknown_device(tiny, device):
    with pytest.raises(EncoderOptionError, match=f"device '{device}' is unknown; there are cpu, cuda, cuda:N and mps"):
        Encoder.load(str(tiny), device=device)


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps"])
def test_a_device_that_is_not_here(tiny, device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(EncoderOptionError, match=f"device '{device}' is not on this machine; leave it out or say cpu"):
        Encoder.load(str(tiny), device=device)


def test_a_gpu_beyond_those_that_are_here(tiny, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(EncoderOptionError, match="'cuda:2' is not on this machine"):
        Encoder.load(str(tiny), device="cuda:2")


@pytest.mark.parametrize("max_tokens", [0, 2, 65, -1])
def test_max_tokens_out_of_range(tiny, max_tokens):
    with pytest.raises(EncoderOptionError, match=f"max_tokens is {max_tokens}; model 'tiny' takes 3 to 64"):
        Encoder.load(str(tiny), device="cpu", max_tokens=max_tokens)


@pytest.mark.parametrize("max_tokens", [3, 64])
def test_max_tokens_at_its_limits(tiny, max_tokens):
    encoder = Encoder.load(str(tiny), device="cpu", max_tokens=max_tokens)
    assert encoder.encode(["word " * 100, ""]).shape == (2, 32)
    assert [len(ids) for ids in encoder.tokeniser(["word " * 100]).ids] == [max_tokens]


class TestPlan:
    LENGTHS = np.random.default_rng(5).integers(0, 300, 500).tolist()

    @pytest.mark.parametrize("budget", [1, 100, 1000, 10**9])
    @pytest.mark.parametrize("max_texts", [None, 1, 7])
    def test_every_position_once_and_the_budget_kept(self, budget, max_texts):
        batches = [batch.tolist() for batch in plan_batches(self.LENGTHS, budget, max_texts)]
        assert sorted(chain(*batches)) == list(range(len(self.LENGTHS)))
        for batch in batches:
            longest = max(self.LENGTHS[position] for position in batch)
            assert len(batch) == 1 or longest * len(batch) <= budget
            assert max_texts is None or len(batch) <= max_texts

    def test_like_lengths_stand_together_the_longest_first(self):
        order = np.concatenate(list(plan_batches(self.LENGTHS, 1000)))
        assert [self.LENGTHS[position] for position in order] == sorted(self.LENGTHS, reverse=True)

    def test_a_text_above_the_budget_is_alone(self):
        assert [batch.tolist() for batch in plan_batches([5, 900, 5], 100)] == [[1], [0, 2]]

    def test_no_texts(self):
        assert list(plan_batches([], 100)) == []
