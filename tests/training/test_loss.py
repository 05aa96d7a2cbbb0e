"""The loss against its formula, and cached gradients against plain ones."""

import pytest
import torch

from medte_haystack.encoder import Tokeniser, locate
from medte_haystack.errors import TrainingConfigError
from medte_haystack.training.collate import Collator
from medte_haystack.training.config import Loss
from medte_haystack.training.loss import make_loss
from medte_haystack.training.model import load_model
from medte_haystack.training.table import PairTable

from .small import pairs_of


def test_hard_negatives_count_for_what_is_computed_at_a_time(model):
    def cached(negatives):
        return hasattr(make_loss(model, Loss(mini_batch=16), 8, negatives=negatives), "mini_batch_size")

    assert [cached(count) for count in (0, 1, 2)] == [False, False, True]


@pytest.fixture
def model(tiny):
    return load_model(locate(tiny)).eval()  # without dropout, so that both paths compute the same


@pytest.fixture
def features(tiny, tmp_path):
    """Inputs of 11 pairs, the first 4 with two hard negatives."""
    table = PairTable([*pairs_of("a", 4, negatives=2), *pairs_of("b", 7)], tmp_path, negatives=2)
    tokeniser = Tokeniser.of(locate(tiny))
    batch = Collator(tokeniser, tokeniser)([table[row] for row in range(11)])
    return [
        {"input_ids": batch[f"{name}_input_ids"], "attention_mask": batch[f"{name}_attention_mask"]}
        for name in ("anchor", "positive", "negative")
    ]


def gradients(model, options, features):
    model.zero_grad()
    loss = make_loss(model, options, 11)
    value = loss([dict(one) for one in features], None)
    value.backward()
    return value.item(), {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}


@pytest.mark.parametrize("limit", [{"mini_batch": 3}, {"mini_batch_tokens": 40}])
@pytest.mark.parametrize(
    "shape", [{}, {"symmetric": True}, {"matryoshka": (32, 16, 8), "matryoshka_weights": (1, 2, 0.5)}]
)
@pytest.mark.parametrize("columns", [2, 3])
def test_cached_gradients_are_the_plain_ones(model, features, limit, shape, columns):
    plain, expected = gradients(model, Loss(mini_batch=11, **shape), features[:columns])
    cached, found = gradients(model, Loss(**limit, **shape), features[:columns])
    assert cached == pytest.approx(plain, rel=1e-5)
    assert found.keys() == expected.keys()
    largest = max(one.abs().max() for one in expected.values())
    for name, one in expected.items():
        torch.testing.assert_close(found[name], one, rtol=1e-4, atol=float(largest) * 1e-6)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_loss_is_its_formula(model, features, symmetric):
    anchors, positives, negatives = (model(dict(one))["sentence_embedding"] for one in features)
    logits = anchors @ torch.cat([positives, negatives]).T / 0.07
    targets = torch.arange(11)
    expected = torch.nn.functional.cross_entropy(logits, targets)
    if symmetric:
        back = torch.nn.functional.cross_entropy(positives @ anchors.T / 0.07, targets)
        expected = (expected + back) / 2
    found = make_loss(model, Loss(temperature=0.07, symmetric=symmetric), 11)([dict(one) for one in features], None)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("dims", [(16, 8), (64, 32)])
def test_dimensions_that_the_model_has_not_are_refused(model, dims):
    with pytest.raises(TrainingConfigError, match=r"loss\.matryoshka is .* the model has 32 dimensions"):
        make_loss(model, Loss(matryoshka=dims), 11)
