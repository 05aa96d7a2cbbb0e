import pytest

from medte_eval.tasks.building.cleaning import clean_pmc, clean_wikipedia


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  The Heart\n\n(muscle),  beats. ", "the heart (muscle), beats."),  # signs stay
        ("Types (two): a; b", "types (two a; b"),  # a sign before a colon goes, and the colon with it
        ("Note: see", "note: see"),  # a letter before a colon stays, and the colon
        ("Note : see", "note : see"),  # so does white space
        ("café: open", "caf open"),  # a letter beyond ASCII is a sign
        ("a::b", "ab"),
    ],
)
def test_wikipedia_is_cleaned_with_the_benchmarks_slip(text: str, cleaned: str) -> None:
    assert clean_wikipedia(text) == cleaned


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("title: MRI (3-T) abstract: It's 50%.\n", "title: mri 3t abstract: its 50"),
        ("β-blockers\tin  naïve", "blockers in nave"),
    ],
)
def test_pmc_keeps_ascii_letters_digits_and_colons(text: str, cleaned: str) -> None:
    assert clean_pmc(text) == cleaned
