"""Pairs about nothing."""

from medte_haystack.training.pairs import Pair

WORDS = "acute chronic renal cardiac hepatic pain fever cough rash gout asthma stroke sepsis nausea oedema".split()  # noqa: SIM905


def pairs_of(source: str, count: int, negatives: int = 0) -> list[Pair]:
    """Make pairs whose texts are all different: a few words from a small vocabulary, and a number."""

    def text(number: int, salt: int) -> str:
        words = [
            WORDS[(number * 7 + salt * 3 + place * (1 + number % 5)) % len(WORDS)] for place in range(4 + number % 9)
        ]
        return f"{source} {salt} {number} {' '.join(words)}"

    return [
        Pair(str(n), source, text(n, 1), text(n, 2), tuple(text(n, 3 + k) for k in range(negatives)))
        for n in range(count)
    ]
