"""Which texts are computed together, and how a batch lies in memory: end to end, without padding."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Self

import numpy as np
from numpy.typing import NDArray

_LEAST_SHARE = 4  # of the budget; a matrix product over fewer tokens loses its speed


def plan_batches(
    lengths: Sequence[int], token_budget: int, max_texts: int | None = None, parallel: int = 1
) -> Iterator[NDArray[np.intp]]:
    """Group texts of like length.

    :param lengths: Token counts.
    :param token_budget: Most tokens of a batch. A single text above the budget is a batch of its own.
    :param max_texts: Most texts of a batch; unbounded if None.
    :param parallel: How many batches are computed at once. If several, the last ones become smaller, so that all end at
        about the same time and few texts are spread over all.
    :returns: Index arrays, the longest texts first, which together hold every position once.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    left = sum(lengths)
    start = tokens = 0
    budget = _share(left, token_budget, parallel)
    for end, position in enumerate(order):
        if end > start and (tokens + lengths[position] > budget or end - start == max_texts):
            yield order[start:end]
            left -= tokens
            start, tokens, budget = end, 0, _share(left, token_budget, parallel)
        tokens += lengths[position]
    if start < len(order):
        yield order[start:]


def _share(left: int, token_budget: int, parallel: int) -> int:
    if parallel == 1:
        return token_budget
    return min(token_budget, max(token_budget // _LEAST_SHARE, left // (2 * parallel)))


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring texts of equal length in a pack: one block of shape (count, length).

    :param start: First token of the run in the pack.
    :param count: Number of texts.
    :param length: Tokens of each.
    """

    start: int
    count: int
    length: int

    @property
    def tokens(self) -> slice:
        """Where the run lies in the pack."""
        return slice(self.start, self.start + self.count * self.length)


@dataclass(frozen=True, slots=True)
class Pack:
    """Texts laid end to end.

    :param ids: Token ids, int32, shape (tokens,).
    :param positions: Position of each token in its text, int32, shape (tokens,).
    :param lengths: Tokens of each text, int32, shape (texts,).
    """

    ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    lengths: NDArray[np.int32]

    @classmethod
    def of(cls, ids: Sequence[Sequence[int]]) -> Self:
        """Lay token id lists end to end, in order."""
        lengths = np.fromiter(map(len, ids), dtype=np.int32, count=len(ids))
        total = int(lengths.sum())
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int32, count=total)
        starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
        return cls(flat, (np.arange(total) - starts).astype(np.int32), lengths)

    @property
    def offsets(self) -> NDArray[np.int32]:
        """Where each text starts, and the total: int32, shape (texts + 1,)."""
        return np.concatenate([[0], np.cumsum(self.lengths)]).astype(np.int32)

    def runs(self) -> list[Run]:
        """Return the runs of equal length, in order; sorted texts give few and long ones."""
        found, start = [], 0
        for length, texts in groupby(self.lengths.tolist()):
            run = Run(start, sum(1 for _ in texts), length)
            found.append(run)
            start = run.tokens.stop
        return found
