import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medte_eval.tasks.benchmark.task import HardNegatives
from medte_eval.tasks.building.negatives import choose_negatives, with_hard_negatives
from medte_eval.tasks.rows import Match


def on_a_circle(texts: Sequence[str]) -> NDArray[np.float32]:
    """A text is a number of degrees, perhaps with a letter behind it."""
    angles = np.radians([float(text.rstrip("ab")) for text in texts])
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_one_of_the_nearest_k_is_drawn_by_pythons_dice() -> None:
    texts = [str(degrees) for degrees in (0, 1, 3, 7, 15, 31, 63)]
    dice = random.Random(42)
    near = [[1, 2], [0, 2], [1, 0], [2, 1], [3, 2], [4, 3], [5, 4]]

    found = choose_negatives(texts, HardNegatives(2), seed=42, embed=on_a_circle)

    assert found == [dice.choice(one) for one in near]
    assert found != choose_negatives(texts, HardNegatives(2), seed=43, embed=on_a_circle)


def test_any_rank_up_to_k_is_drawn() -> None:
    texts = [str(degrees) for degrees in range(0, 180, 2)]

    found = choose_negatives(texts, HardNegatives(4), seed=42, embed=on_a_circle)

    assert {one - at for at, one in enumerate(found) if 2 <= at < 88} == {-2, -1, 1, 2}
    assert all(one != at for at, one in enumerate(found))


def test_equal_texts_may_be_chosen_unless_the_text_must_differ() -> None:
    texts = ["0", "0", "0", "90"]

    assert choose_negatives(texts, HardNegatives(2), seed=42, embed=on_a_circle)[0] in (1, 2)
    differing = choose_negatives(texts, HardNegatives(2, other_text=True), seed=42, embed=on_a_circle)
    assert differing[:3] == [3, 3, 3]  # none of the two nearest reads otherwise, so any that does
    assert differing[3] in (0, 1)


def test_without_any_other_text_a_near_one_is_taken() -> None:
    found = choose_negatives(["0", "0", "0"], HardNegatives(1, other_text=True), seed=42, embed=on_a_circle)

    assert found == [1, 0, 0]


def test_fewer_texts_than_k() -> None:
    assert choose_negatives(["0", "9"], HardNegatives(128), seed=42, embed=on_a_circle) == [1, 0]


def test_each_positive_gets_a_negative_with_its_first_text() -> None:
    matches = [Match("b", "first b", "0", "cc"), Match("c", "first c", "9", "cc")]

    pairs = with_hard_negatives(matches, HardNegatives(1), seed=42, embed=on_a_circle)

    assert [(one.id, one.first, one.second, one.label) for one in pairs] == [
        ("b+", "first b", "0", 1),
        ("c+", "first c", "9", 1),
        ("b-", "first b", "9", 0),
        ("c-", "first c", "0", 0),
    ]
