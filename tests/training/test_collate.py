"""What the model is given of a batch's rows."""

import pytest

from medte_haystack.encoder import Tokeniser, locate
from medte_haystack.training.collate import Collator
from medte_haystack.training.table import Row

ROWS = [
    Row("gout", "uric acid", ["urate crystals in the joints", "pain"]),
    Row("fever", "a body temperature that is higher than it should be", []),
    Row("cough " * 40, "air " * 80, ["one"]),
]


@pytest.fixture
def files(tiny):
    return locate(tiny)


def texts(tokeniser, ids):
    """Return texts as they were, but for white space."""
    return [tokeniser.hf_tokenizer.decode(row.tolist()).replace(" ##", "") for row in ids]


def test_rows_stay_together_the_longest_first(files):
    tokeniser = Tokeniser.of(files)
    batch = Collator(tokeniser, tokeniser)(ROWS)
    assert [one.split()[0] for one in texts(tokeniser, batch["anchor_input_ids"])] == ["cough", "fever", "gout"]
    assert [one.split()[0] for one in texts(tokeniser, batch["positive_input_ids"])] == ["air", "a", "uric"]
    assert [one.split()[0] for one in texts(tokeniser, batch["negative_input_ids"])] == ["urate", "one", "pain"]
    assert batch["positive_attention_mask"].sum(1).tolist() == [64, 44, 10]
    assert batch["positive_input_ids"].shape == (3, 64)
    assert not batch["positive_input_ids"][1, 44:].any()


def test_lengths_and_prefixes_are_each_side_s_own(files):
    short, long = Tokeniser.of(files, 5), Tokeniser.of(files)
    batch = Collator(short, long, "query: ", "passage: ")(ROWS)
    assert batch["anchor_attention_mask"].sum(1).tolist() == [5, 5, 5]
    assert {one.split()[0] for one in texts(long, batch["anchor_input_ids"])} == {"que"}
    passages = [*texts(long, batch["positive_input_ids"]), *texts(long, batch["negative_input_ids"])]
    assert {one.split()[0] for one in passages} == {"passage"}


def test_pairs_without_negatives_have_none(files):
    tokeniser = Tokeniser.of(files)
    assert not any(name.startswith("negative") for name in Collator(tokeniser, tokeniser)([ROWS[1]]))
