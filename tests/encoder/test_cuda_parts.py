"""Parts of the GPU's way that stand alone: the layout of a batch, and products in e4m3."""

import random
from functools import partial

import numpy as np
import pytest
import torch

from medte_haystack.encoder.backends.cuda_forward import EightLinear, attend_by_text, attend_flash
from medte_haystack.encoder.backends.cuda_layout import Layout, size_above
from medte_haystack.encoder.backends.cuda_steps import E4M3, Steps, fixed, quantise
from medte_haystack.encoder.bert import Affine


class TestLayout:
    def test_texts_lie_end_to_end_and_filler_behind_them(self):
        layout = Layout.of([[7, 8, 9], [5], [3, 4]], 8)
        assert (layout.tokens, layout.texts, layout.longest) == (8, 3, 128)
        ids, positions, offsets = (part.tolist() for part in layout.split(torch.from_numpy(layout.block)))
        assert ids == [7, 8, 9, 5, 3, 4, 0, 0]
        assert positions == [0, 1, 2, 0, 0, 1, 0, 0]
        assert offsets == [0, 3, 4, 6, 8]
        assert layout.block.dtype == np.int32  # what the attention kernel wants of offsets

    @pytest.mark.parametrize(
        ("tokens", "least", "size"),
        [
            *((2, 16, 16), (15, 16, 16), (16, 16, 32), (100, 16, 128), (128, 16, 256), (255, 16, 256), (256, 16, 512)),
            *((2, 256, 256), (256, 256, 512), (65_535, 256, 65_536), (65_536, 256, 65_792)),
        ],
    )
    def test_sizes_are_few_and_leave_room_for_filler(self, tokens, least, size):
        assert size_above(tokens, least) == size

    def test_no_text_is_longer_than_the_longest(self):
        lengths = random.Random(2).choices(range(1, 513), k=200)
        for first in range(0, 200, 7):
            layout = Layout.of([[1] * length for length in lengths[first : first + 7]])
            _, positions, offsets = layout.split(torch.from_numpy(layout.block))
            assert int(offsets.diff().max()) <= layout.longest
            assert layout.longest % 128 == 0
            assert int(positions.max()) == max(lengths[first : first + 7]) - 1
            assert (int(offsets[-1]), int(offsets.diff().min()) > 0) == (layout.tokens, True)


class TestE4M3:
    def test_rows_are_scaled_each_for_itself(self):
        rows = torch.tensor([[1.0, -2.0, 0.5], [1000.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
        eight, scale = quantise(rows)
        assert (eight.dtype, scale.dtype, scale.shape) == (E4M3, torch.float32, (3, 1))
        torch.testing.assert_close(eight.float() * scale, rows, rtol=1 / 16, atol=0)
        assert eight.float().abs().amax(1).tolist() == [448, 448, 0]

    @pytest.mark.parametrize("factor", [1e-30, 1e-6, 1.0, 1e6])
    def test_no_number_becomes_infinite(self, factor):
        eight, scale = quantise(torch.randn(50, 64, generator=torch.manual_seed(1)) * factor)
        assert torch.isfinite(eight.float() * scale).all()

    @pytest.mark.parametrize("biased", [True, False])
    def test_a_linear_layer_is_the_product_of_what_was_rounded(self, biased):
        torch.manual_seed(2)
        affine = Affine(torch.randn(48, 32) * torch.logspace(-2, 2, 48)[:, None], torch.randn(48))
        inputs = torch.randn(20, 32)
        eight, scale = quantise(inputs)
        weight, weight_scale = quantise(affine.weight)
        exact = (eight.float() * scale) @ (weight.float() * weight_scale).T + (affine.bias if biased else 0)
        found = EightLinear(affine, "cpu", biased=biased)(eight, scale)
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float(), exact, rtol=0.01, atol=0.01)
        assert torch.cosine_similarity(found.float(), inputs @ affine.weight.T, dim=1).min() > 0.99

    def test_gelu_is_in_the_step_between(self):
        torch.manual_seed(3)
        inner, bias = torch.randn(9, 64), torch.randn(64)
        eight, scale = Steps.of(E4M3, 1e-12, compiled=False).activate(inner.bfloat16(), bias)
        expected = torch.nn.functional.gelu(inner + bias)
        torch.testing.assert_close(eight.float() * scale, expected, rtol=1 / 8, atol=0.02)


class TestAttention:
    def test_the_reference_attention_holds_the_layout_to_its_longest(self):
        states = torch.zeros(5, 2, 4)
        with pytest.raises(ValueError, match="a text of 3 tokens, though the longest should have 2"):
            attend_by_text(states, states, states, torch.tensor([0, 3, 5]), 2)

    def test_the_flash_kernel_is_called_as_its_schema_says(self):
        operator = torch.ops.aten._flash_attention_forward.default
        names = [argument.name for argument in operator._schema.arguments]
        assert names[:11] == [
            *("query", "key", "value", "cum_seq_q", "cum_seq_k", "max_q", "max_k", "dropout_p", "is_causal"),
            *("return_debug_mask", "scale"),
        ]
        query, key, value = torch.empty(3, 16, 2, 8, device="meta", dtype=torch.bfloat16)
        offsets = torch.empty(3, device="meta", dtype=torch.int32)
        assert attend_flash(query, key, value, offsets, 128).shape == (16, 2, 8)


def test_models_do_not_use_up_each_others_kernels(monkeypatch):
    """PyTorch compiles a code object 8 times, then computes it uncompiled."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True), torch.inference_mode():
        for dim in range(8, 56, 8):
            steps = Steps.of(torch.bfloat16, 1e-12, compiled=True)
            weight, bias = fixed(torch.ones(dim), "cpu"), fixed(torch.zeros(dim), "cpu")
            for tokens in (3, 5, 7):
                states, _ = steps.add(torch.randn(tokens, dim), torch.zeros(tokens, dim), weight, bias)
                assert states.shape == (tokens, dim)
