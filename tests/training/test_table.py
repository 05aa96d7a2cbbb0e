"""What of the pairs is kept, and which rows share a text."""

import pytest

from medte_haystack.errors import TrainingDataError
from medte_haystack.training.pairs import Pair
from medte_haystack.training.table import PairTable, Row, text_id

from .small import pairs_of


def test_rows_are_the_pairs_in_their_order(tmp_path):
    pairs = [*pairs_of("a", 5000), *pairs_of("b", 3, negatives=2), *pairs_of("a", 5001)[5000:]]
    table = PairTable(iter(pairs), tmp_path, negatives=1)
    assert len(table) == 5004
    assert table[4999] == Row(pairs[4999].anchor, pairs[4999].positive, [])
    assert table[5000].negatives == [pairs[5000].negatives[0]]
    assert [source.name for source in table.sources] == ["a", "b"]
    assert table.sources[0].rows.tolist() == [*range(5000), 5003]
    assert table.sources[1].with_negatives == 3
    assert list(table.positives([5003, 0])) == [pairs[5003].positive, pairs[0].positive]
    assert not list(tmp_path.iterdir())  # the file has no name


def test_repeated_texts_are_left_out_and_counted(tmp_path):
    pairs = [
        Pair("1", "a", "What is gout?", "Uric acid."),
        Pair("2", "a", "what  is\nGOUT?", "Something else."),
        Pair("3", "a", "Fever", " fever "),
        Pair("4", "a", "Rash", "Red skin."),
        Pair("5", "b", "What is gout?", "Urate."),
        Pair("6", "b", "Sepsis", "An infection.", ("an  infection.", "SEPSIS", "Shock", "shock", "Chill")),
    ]
    table = PairTable(pairs, tmp_path, negatives=2)
    first, second = (source.to_dict() for source in table.sources)
    assert first == {
        "source": "a",
        "pairs": 2,
        "read": 4,
        "repeated": 1,
        "same": 1,
        "with_negatives": 0,
        "incomplete": 0,
    }
    assert second["pairs"] == 2  # a text 1 may come again in another source
    assert [one.lower() for one in table[3].negatives] == ["shock", "chill"]
    assert set(table.own_ids(3)) == {text_id("Sepsis"), text_id("An infection.")}
    assert list(table.negative_ids(3)) == [text_id("shock"), text_id("chill")]
    assert list(table.negative_ids(0)) == []


def test_pairs_without_all_hard_negatives_can_be_left_out(tmp_path):
    pairs = [*pairs_of("a", 4, negatives=2), *pairs_of("b", 3), *pairs_of("a", 6, negatives=1)[4:]]
    table = PairTable(pairs, tmp_path, negatives=2)
    table.keep_complete(together=False)
    assert [source.rows.tolist() for source in table.sources] == [[0, 1, 2, 3], [4, 5, 6]]
    assert [source.incomplete for source in table.sources] == [2, 0]
    with pytest.raises(TrainingDataError, match="3 have too few hard negatives for several"):
        table.keep_complete(together=True)


def test_the_fingerprint_is_of_what_is_used(tmp_path):
    def of(pairs, negatives=0):
        return PairTable(pairs, tmp_path, negatives=negatives).fingerprint

    pairs = pairs_of("a", 5, negatives=1)
    assert of(pairs) == of([*pairs, pairs[0]]) == of(pairs_of("a", 5))
    assert of(pairs) != of(pairs, negatives=1)
    assert of(pairs) != of(pairs[::-1])


def test_no_pairs_are_refused(tmp_path):
    with pytest.raises(TrainingDataError, match="no pair to train on"):
        PairTable([], tmp_path)


@pytest.mark.parametrize(
    "pairs",
    [
        [Pair(str(n), "odd", "The same question", f"answer {n}") for n in range(9)],
        [Pair(str(n), "odd", f"question {n}", "The same answer") for n in range(9)],
        [Pair(str(n), "odd", f"text {n}", f"TEXT {n}") for n in range(9)],
    ],
)
def test_a_source_of_duplicates_is_named(tmp_path, pairs):
    with pytest.raises(TrainingDataError, match=r"source 'odd' cannot be trained on: of 9 pairs.*Leave the source out"):
        PairTable([*pairs_of("good", 20), *pairs], tmp_path)
