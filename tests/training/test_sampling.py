"""Batches: of one source, without a text twice, in the proportions asked for, and the same again."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest

from medte_haystack.errors import TrainingDataError
from medte_haystack.training.pairs import Pair
from medte_haystack.training.sampling import StepBatches, as_one, cut
from medte_haystack.training.table import PairTable

from .small import pairs_of


@pytest.fixture
def table(tmp_path):
    return PairTable([*pairs_of("large", 400), *pairs_of("small", 50), *pairs_of("tiny", 5)], tmp_path)


def batches_of(table, size=16, smallest=8, **options):
    return StepBatches(table.sources, table, size, smallest, 1, **options)


def source_of(table, batch):
    found = {source.name for source in table.sources if np.isin(batch, source.rows).any()}
    assert len(found) == 1
    return found.pop()


def test_a_round_is_an_epoch_of_every_source(table):
    batches = list(batches_of(table))
    seen = Counter(source_of(table, batch) for batch in batches)
    assert seen == {"large": 25, "small": 3, "tiny": 1}
    rows = [row for batch in batches for row in batch]
    assert len(rows) == len(set(rows)) == 400 + 48 + 5  # of the 50, two do not suffice for a batch
    assert [source_of(table, batch) for batch in batches] != sorted(source_of(table, batch) for batch in batches)


def test_a_short_rest_is_a_batch_where_it_may_be(table):
    sizes = Counter(len(batch) for batch in batches_of(table, smallest=2))
    assert sizes == {16: 28, 5: 1, 2: 1}


def test_later_epochs_are_shuffled_anew(table):
    batches = [batch for batch in batches_of(table, steps=58) if source_of(table, batch) == "large"]
    first, second = batches[:25], batches[25:]
    assert sorted(chain(*first)) == sorted(chain(*second)) == table.sources[0].rows.tolist()
    assert first != second


def test_a_temperature_evens_sources_out(table):
    shares = [batches_of(table, temperature=one).round for one in (1.0, 2.0, 1e6)]
    assert shares[0] == {"large": 25, "small": 3, "tiny": 1}
    assert shares[1] == {"large": 19, "small": 6, "tiny": 4}  # 29 * sqrt(b) / (5 + sqrt(3) + 1)
    assert shares[2] == {"large": 10, "small": 10, "tiny": 10}
    assert batches_of(table, weights={"small": 4.0}).round == {"large": 19, "small": 9, "tiny": 1}


def test_the_same_seed_gives_the_same_batches(table):
    assert list(batches_of(table, steps=70)) == list(batches_of(table, steps=70))
    other = StepBatches(table.sources, table, 16, 8, 2, steps=70)
    assert list(other) != list(batches_of(table, steps=70))


def test_devices_share_every_batch(table):
    whole = list(batches_of(table, smallest=3))
    parts = [list(batches_of(table, smallest=3, part=(number, 3))) for number in range(3)]
    for batch, *its in zip(whole, *parts, strict=True):
        assert len({len(one) for one in its}) == 1  # what devices exchange is of one shape
        assert its[0]
        assert sorted(chain(*its)) == sorted(batch[: len(batch) // 3 * 3])


def test_all_sources_can_be_one(table):
    batches = list(StepBatches(as_one(table.sources), table, 16, 8, 1))
    assert {row for batch in batches for row in batch} <= set(range(455))
    assert any(len({row >= 400 for row in batch}) == 2 for batch in batches)


def test_no_text_comes_twice_in_a_batch(tmp_path):
    pairs = [
        Pair(str(n), "s", f"question {n}", f"answer {n // 3}", (f"Answer {(n // 3 + 1) % 40}",)) for n in range(120)
    ]
    pairs += [Pair(f"back {n}", "s", f"answer {n}", f"question {n * 3}") for n in range(40)]
    table = PairTable(pairs, tmp_path, negatives=1)
    batches = list(cut(np.arange(160), table, 16, 2))
    assert sorted(row for batch in batches for row in batch) == list(range(160))
    for batch in batches:
        texts = [text for row in batch for text in (table[row].anchor, table[row].positive)]
        assert len(texts) == len(set(texts))
        for row in batch:  # nor is one pair's text the other's hard negative
            others = {text for other in batch if other != row for text in table[other][:2]}
            assert others.isdisjoint(text.lower() for text in table[row].negatives)


def test_no_two_pairs_of_a_group_share_a_batch(tmp_path):
    pairs = [Pair(str(n), "s", f"text {n}", f"other {n}", group=f"disease {n // 4}") for n in range(120)]
    batches = list(cut(np.arange(120), PairTable(pairs, tmp_path), 16, 2))
    assert sorted(chain(*batches)) == list(range(120))
    assert all(len({pairs[row].group for row in batch}) == len(batch) for batch in batches)


def test_a_source_that_makes_no_batch_is_named(tmp_path):
    pairs = [Pair(str(n), "labels", f"text {n}", ("benign", "malignant")[n % 2]) for n in range(100)]
    table = PairTable(pairs, tmp_path)
    with pytest.raises(TrainingDataError, match="source 'labels' makes no batch of 8 pairs that share no text and no"):
        next(iter(batches_of(table)))
