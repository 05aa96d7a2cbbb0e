"""Hard negatives: the first text of a pair with a second text that resembles its own."""

import functools
import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from medte_eval.tasks.benchmark.task import HardNegatives
from medte_eval.tasks.rows import Match, Pair

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from medte_haystack.encoder import Encoder

MODEL, MAX_TOKENS = "minilm", 256  # all-MiniLM-L6-v2, cut where sentence-transformers cuts it
_BLOCK = 256  # texts that are compared with all others at once
_DECIMALS = 5  # cosines that differ by less are equal, so that another machine draws the same

Embed = Callable[[Sequence[str]], "NDArray[np.float32]"]
"""Texts to unit vectors, shape (n, dim)."""


def with_hard_negatives(matches: Sequence[Match], how: HardNegatives, *, seed: int, embed: Embed) -> list[Pair]:
    """Add a negative to each positive.

    :param matches: The positives, in an order that is the same on every build. At least two.
    :returns: The positives with label 1, then the negatives with label 0.
    """
    chosen = choose_negatives([match.second for match in matches], how, seed=seed, embed=embed)
    positives = [Pair(f"{one.id}+", one.first, one.second, 1, one.licence) for one in matches]
    negatives = [
        Pair(f"{one.id}-", one.first, matches[other].second, 0, one.licence)
        for one, other in zip(matches, chosen, strict=True)
    ]
    return positives + negatives


def choose_negatives(texts: Sequence[str], how: HardNegatives, *, seed: int, embed: Embed) -> list[int]:
    """Choose another text for each, uniformly among those that are nearest to it by cosine.

    :param texts: At least two.
    :returns: For each text the position of another. If it must read otherwise and no near one does, it is any text
        that does; if there is none at all, any near one.
    """
    dice = random.Random(seed)  # noqa: S311  a repeatable draw
    chosen = []
    for at, near in enumerate(_neighbours(embed(texts), how.k)):
        others = near
        if how.other_text:
            others = [one for one in near if texts[one] != texts[at]]
            others = others or [one for one, text in enumerate(texts) if text != texts[at]] or near
        chosen.append(dice.choice(others))
    return chosen


def _neighbours(vectors: "NDArray[np.float32]", k: int) -> list[list[int]]:
    """Return the positions of the nearest k others of each vector, nearest first, ties in the order of positions."""
    import numpy as np

    found: list[list[int]] = []
    for start in range(0, len(vectors), _BLOCK):
        cosines = np.round(vectors[start : start + _BLOCK] @ vectors.T, _DECIMALS)
        own = np.arange(len(cosines))
        cosines[own, start + own] = -np.inf
        nearest = np.argsort(-cosines, axis=1, kind="stable")
        found += nearest[:, : min(k, len(vectors) - 1)].tolist()
    return found


def minilm(device: str | None = None) -> Embed:
    """Return what embeds texts as the benchmark does; the model is loaded when it is first used.

    :param device: As in `Encoder.load`.
    """

    @functools.cache
    def loaded() -> "Encoder":
        from medte_haystack.encoder import Encoder

        return Encoder.load(MODEL, device=device, precision="fp32", max_tokens=MAX_TOKENS)

    return lambda texts: loaded().encode(list(texts))
