"""Two rankings made one; no server."""

import pytest

from medte_haystack.retrieval.fusion import METHODS, Weights, distribution, fuse, min_max, reciprocal_ranks

DENSE = [("a", 0.9), ("b", 0.7), ("c", 0.5)]
LEXICAL = [("d", 20.0), ("b", 12.0), ("a", 4.0)]


def items(method, dense, lexical, *weights):
    return [one.item for one in fuse(method, dense, lexical, Weights(*(weights or (0.5, 0.5))))]


def test_rrf_by_hand():
    scores = {one.item: one.score for one in fuse("rrf", DENSE, LEXICAL, Weights(0.5, 0.5))}
    assert scores["a"] == pytest.approx(61 / 2 * (1 / 61 + 1 / 63))
    assert scores["b"] == pytest.approx(61 / 2 * (1 / 62 + 1 / 62))
    assert scores["d"] == pytest.approx(1 / 2)
    assert items("rrf", DENSE, LEXICAL) == ["a", "b", "d", "c"]


def test_min_max_by_hand():
    scores = {one.item: one.score for one in fuse("min_max", DENSE, LEXICAL, Weights(0.6, 0.4))}
    assert scores == pytest.approx({"a": 0.6, "b": 0.5, "c": 0.0, "d": 0.4})  # b: 0.6 / 2 + 0.4 / 2


def test_distribution_by_hand():
    # mean 0.7, sigma 0.2 * sqrt(2 / 3): the ends lie sqrt(3 / 2) sigmas away
    reach = 1.5**0.5 / 6
    assert distribution([0.9, 0.7, 0.5]) == pytest.approx([0.5 + reach, 0.5, 0.5 - reach])


def test_one_outlier_leaves_the_others_apart_under_distribution():
    scores = [100.0, *(2.0 - 0.1 * number for number in range(20))]
    assert distribution(scores)[0] == 1.0  # cut off
    assert distribution(scores)[1] - distribution(scores)[-1] > 0.5 * min_max(scores)[1]


@pytest.mark.parametrize("method", METHODS)
class TestEveryMethod:
    def test_places_and_order(self, method):
        found = fuse(method, DENSE, LEXICAL, Weights(0.5, 0.5))
        assert {one.item for one in found} == {"a", "b", "c", "d"}
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        (b,) = (one for one in found if one.item == "b")
        assert ((b.dense.rank, b.dense.score), (b.lexical.rank, b.lexical.score)) == ((2, 0.7), (2, 12.0))
        (d,) = (one for one in found if one.item == "d")
        assert (d.dense, d.lexical.rank) == (None, 1)

    def test_one_side_alone_keeps_its_order(self, method):
        assert items(method, DENSE, []) == ["a", "b", "c"]
        assert items(method, [], LEXICAL) == ["d", "b", "a"]
        assert items(method, [], []) == []

    def test_a_weight_of_nothing_leaves_the_other_side_in_charge(self, method):
        assert items(method, DENSE, LEXICAL, 0, 1)[:2] == ["d", "b"]
        assert items(method, DENSE, LEXICAL, 1, 0)[:2] == ["a", "b"]

    def test_scores_that_are_all_the_same(self, method):
        found = fuse(method, [("a", 1.0), ("b", 1.0)], [("c", 3.0)], Weights(0.5, 0.5))
        assert {one.item for one in found} == {"a", "b", "c"}
        assert all(0 < one.score <= 1 for one in found)

    def test_contributions_lie_in_0_to_1_and_never_rise_down_the_ranking(self, method):
        shares = METHODS[method]([9.0, 8.5, 8.5, 3.0, -2.0])
        assert shares == sorted(shares, reverse=True)
        assert all(0 <= one <= 1 for one in shares)


def test_of_equal_scores_the_vectors_ranking_decides():
    assert items("rrf", [("a", 2.0), ("b", 1.0)], [("b", 2.0), ("a", 1.0)]) == ["a", "b"]


def test_first_of_both_sides_counts_1_under_rrf():
    assert reciprocal_ranks([5.0, 4.0]) == [1.0, 61 / 62]
