"""Which texts are computed together: sorted by token count, under a token budget."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray


def plan_batches(lengths: Sequence[int], token_budget: int, max_texts: int | None = None) -> Iterator[NDArray[np.intp]]:
    """Group texts of like length so that little padding is computed.

    :param lengths: Token counts.
    :param token_budget: Most tokens of a batch, padding included (longest text times number of texts). A single text
        above the budget is a batch of its own.
    :param max_texts: Most texts of a batch; unbounded if None.
    :returns: Index arrays, the longest texts first, which together hold every position once.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.int64), kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        size = max(1, token_budget // longest)
        if max_texts is not None:
            size = min(size, max_texts)
        yield order[start : start + size]
        start += size
