"""A histogram of text lengths, as bins and as a picture of characters; pure functions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from es_ingest.planning.lengths import Lengths

_MOST_BINS = 8  # up to the limit
_EIGHTHS = " ▏▎▍▌▋▊▉█"


@dataclass(frozen=True, slots=True)
class Bin:
    """How many texts are of some lengths.

    :param low: Shortest length in it, in tokens.
    :param high: Longest length in it.
    :param count: Number of texts.
    :param over: Whether these lengths exceed what the model takes.
    """

    low: int
    high: int
    count: int
    over: bool


def bins(lengths: Lengths, limit: int) -> list[Bin]:
    """Sort lengths into bins: equally wide ones up to the limit, beyond it each twice as long as the one before.

    :param limit: Longest text that the model takes, in tokens; always the end of a bin.
    """
    found = []
    low = 1
    for high in _ends(lengths.longest, limit):
        count = sum(number for length, number in lengths.counts.items() if low <= length <= high)
        found.append(Bin(low, high, count, over=low > limit))
        low = high + 1
    return found


def _ends(longest: int, limit: int) -> Iterator[int]:
    top = min(longest, limit)
    step = 1
    while step * _MOST_BINS < top:
        step *= 2
    end = 0
    while end < top:
        end = min(end + step, limit)
        yield end
    while end < longest:
        end *= 2
        yield end


def bars(found: Sequence[Bin], width: int, *, blocks: bool = True) -> list[str]:
    """Draw bins as one line each: lengths, bar, number, share.

    What exceeds the limit has bars of another kind, so that it shows without colour.

    :param width: Longest bar, in characters.
    :param blocks: Use block characters; otherwise ASCII.
    """
    most = max((one.count for one in found), default=0)
    total = sum(one.count for one in found)
    labels = [f"{one.low:,}-{one.high:,}" if one.low < one.high else f"{one.low:,}" for one in found]
    wide = max(map(len, labels), default=0)
    numbers = len(f"{most:,}")
    return [
        f"{label:>{wide}}  {_bar(one, most, width, blocks=blocks):<{width}}  {one.count:>{numbers},}"
        f"  {one.count / max(total, 1):6.1%}"
        for label, one in zip(labels, found, strict=True)
    ]


def _bar(one: Bin, most: int, width: int, *, blocks: bool) -> str:
    """Draw one bar; what is there at all shows."""
    eighths = -(-one.count * width * 8 // max(most, 1))
    if blocks and not one.over:
        return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
    return ("▒" if blocks else "+" if one.over else "#") * -(-eighths // 8)
