"""Which texts are computed together, and how they lie in memory."""

from itertools import chain

import numpy as np
import pytest

from medte_haystack.encoder.pack import Pack, Run, plan_batches


class TestPlan:
    LENGTHS = np.random.default_rng(5).integers(0, 300, 500).tolist()

    @pytest.mark.parametrize("budget", [1, 100, 1000, 10**9])
    @pytest.mark.parametrize("max_texts", [None, 1, 7])
    def test_every_position_once_and_the_budget_kept(self, budget, max_texts):
        batches = [batch.tolist() for batch in plan_batches(self.LENGTHS, budget, max_texts)]
        assert sorted(chain(*batches)) == list(range(len(self.LENGTHS)))
        for batch in batches:
            assert len(batch) == 1 or sum(self.LENGTHS[position] for position in batch) <= budget
            assert max_texts is None or len(batch) <= max_texts

    def test_like_lengths_stand_together_the_longest_first(self):
        order = np.concatenate(list(plan_batches(self.LENGTHS, 1000)))
        assert [self.LENGTHS[position] for position in order] == sorted(self.LENGTHS, reverse=True)

    def test_a_text_above_the_budget_is_alone(self):
        assert [batch.tolist() for batch in plan_batches([5, 900, 5], 100)] == [[1], [0, 2]]

    def test_no_texts(self):
        assert list(plan_batches([], 100)) == []

    def test_the_last_batches_are_smaller_where_several_are_computed_at_once(self):
        batches = list(plan_batches([10] * 2000, 1000, parallel=4))
        sizes = [10 * len(batch) for batch in batches]
        assert sizes[:12] == [1000] * 12
        assert sizes[12:] == sorted(sizes[12:], reverse=True)
        assert max(sizes[-4:]) <= 250
        assert sum(sizes) == 20_000

    def test_batches_are_filled(self):
        batches = list(plan_batches(self.LENGTHS, 1000))
        tokens = [sum(self.LENGTHS[position] for position in batch) for batch in batches]
        assert min(tokens[:-1]) > 1000 - 300


class TestPack:
    def test_texts_lie_end_to_end(self):
        pack = Pack.of([[101, 5, 102], [101, 102], [101, 9, 8, 102]])
        assert pack.ids.tolist() == [101, 5, 102, 101, 102, 101, 9, 8, 102]
        assert pack.positions.tolist() == [0, 1, 2, 0, 1, 0, 1, 2, 3]
        assert pack.lengths.tolist() == [3, 2, 4]
        assert pack.offsets.tolist() == [0, 3, 5, 9]
        assert {pack.ids.dtype, pack.positions.dtype, pack.lengths.dtype, pack.offsets.dtype} == {np.dtype(np.int32)}

    def test_runs_are_neighbours_of_equal_length(self):
        pack = Pack.of([[1] * length for length in (4, 4, 3, 2, 2, 2, 4)])
        assert pack.runs() == [Run(0, 2, 4), Run(8, 1, 3), Run(11, 3, 2), Run(17, 1, 4)]
        assert [run.tokens for run in pack.runs()][-1] == slice(17, 21)
