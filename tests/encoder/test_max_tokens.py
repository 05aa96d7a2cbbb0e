"""Options of the tokenizer."""

import pytest

from medte_haystack.encoder import Encoder
from medte_haystack.errors import EncoderOptionError


@pytest.mark.parametrize("max_tokens", [0, 2, 65, -1])
def test_max_tokens_out_of_range(tiny, max_tokens):
    with pytest.raises(EncoderOptionError, match=f"max_tokens is {max_tokens}; model 'tiny' takes 3 to 64"):
        Encoder.load(str(tiny), device="cpu", max_tokens=max_tokens)


@pytest.mark.parametrize("max_tokens", [3, 64])
def test_max_tokens_at_its_limits(tiny, max_tokens):
    encoder = Encoder.load(str(tiny), device="cpu", max_tokens=max_tokens)
    assert encoder.encode(["word " * 100, ""]).shape == (2, 32)
    assert [len(ids) for ids in encoder.tokeniser(["word " * 100]).ids] == [max_tokens]
