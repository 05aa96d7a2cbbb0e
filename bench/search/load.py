"""Many searches at once in one event loop, beside one at a time."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from bench.alternating import in_turn
from bench.search.ways import DENSE, HYBRID, STOCK, Retrievers

AT_ONCE = 64
_TOP_K = 10
_ONE_BY_ONE = f"{STOCK}, one at a time"

Ask = Callable[[int], Awaitable[Any]]
"""Number of a question -> a search."""


async def ask_all(ask: Ask, number: int, questions: int, at_once: int = AT_ONCE) -> Counter[str]:
    """Ask so many questions, so many at once, and count how the searches ended: ``found`` or the error's name."""
    ended: Counter[str] = Counter()
    waiting: Iterator[int] = iter(range(number))

    async def worker() -> None:
        for one in waiting:
            try:
                found = (await ask(one % questions))["documents"]
            except Exception as error:  # noqa: BLE001  errors are what is counted
                ended[f"{type(error).__name__}: {error}"[:200]] += 1
            else:
                ended["found" if len(found) == _TOP_K else f"{len(found)} documents"] += 1

    await asyncio.gather(*(worker() for _ in range(at_once)))
    return ended


def throughput(found: Retrievers, number: int, rounds: int) -> list[dict[str, Any]]:
    """Return searches a second of each way, medians of rounds, and ratios to the stock retriever one at a time."""
    vectors, texts = found.corpus.asked.tolist(), found.corpus.questions
    many: dict[str, Ask] = {
        STOCK: lambda one: found.stock_async.run_async(vectors[one], top_k=_TOP_K),
        DENSE: lambda one: found.dense.run_async(vectors[one], top_k=_TOP_K),
        HYBRID: lambda one: found.hybrid.run_async(texts[one], vectors[one], top_k=_TOP_K),
    }
    ways: dict[str, Callable[[], float]] = {
        _ONE_BY_ONE: lambda: _one_by_one(found, vectors, number // 4),
        **{
            f"{name}, {AT_ONCE} at once": (lambda ask=ask: asyncio.run(_many(found, ask, number)))
            for name, ask in many.items()
        },
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds):
        for name in in_turn(ways, turn):
            rates[name].append(ways[name]())
    first = median(rates[_ONE_BY_ONE])
    return [
        {"name": name, "per_second": median(own), "to_stock": median(own) / first, "rounds": own}
        for name, own in rates.items()
    ]


def _one_by_one(found: Retrievers, vectors: list[list[float]], number: int) -> float:
    started = time.perf_counter()
    for one in range(number):
        found.stock.run(vectors[one % len(vectors)], top_k=_TOP_K)
    return number / (time.perf_counter() - started)


async def _many(found: Retrievers, ask: Ask, number: int) -> float:
    await ask(0)  # connects
    started = time.perf_counter()
    ended = await ask_all(ask, number, len(found.corpus.questions))
    seconds = time.perf_counter() - started
    await found.stock_async.close_async()
    await found.dense.close_async()
    if set(ended) != {"found"}:
        raise AssertionError(f"searches failed: {ended}")
    return number / seconds


def soak(found: Retrievers, number: int) -> dict[str, Any]:
    """Ask so many questions, `AT_ONCE` at once, by vectors and by both in turns; return how they ended."""
    vectors, texts = found.corpus.asked.tolist(), found.corpus.questions

    def ask(one: int) -> Awaitable[Any]:
        if one % 2:
            return found.hybrid.run_async(texts[one], vectors[one], top_k=_TOP_K)
        return found.dense.run_async(vectors[one], top_k=_TOP_K)

    async def work() -> Counter[str]:
        ended = await ask_all(ask, number, len(texts))
        await found.dense.close_async()
        return ended

    started = time.perf_counter()
    ended = asyncio.run(work())
    return {"searches": number, "seconds": time.perf_counter() - started, "ended": dict(ended)}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of throughput as a plain table."""
    lines = [f"{'':52}{'searches/s':>12}{'to stock':>10}"]
    lines += [f"{row['name']:52}{row['per_second']:12,.0f}{row['to_stock']:10.2f}" for row in rows]
    return "\n".join(lines)
