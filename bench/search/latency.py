"""Single searches, one after the other, in turns."""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

from bench.search.ways import Search
from medte_haystack.errors import MedTEError

_WARM_UP = 20  # searches of each way
_SEED = 0


@dataclass(frozen=True)
class Latency:
    """How long a way takes.

    :param rounds: Seconds of each search, by round.
    :param not_run: The reason why it did not run; None if it did.
    """

    rounds: Sequence[Sequence[float]] = ()
    not_run: str | None = None

    @property
    def p50(self) -> float:
        """Median over the rounds of each round's median, in milliseconds."""
        return 1000 * median(median(one) for one in self.rounds)

    @property
    def p99(self) -> float:
        """99th percentile of all searches, in milliseconds."""
        return 1000 * float(np.percentile(np.concatenate(self.rounds), 99))

    def ratio(self, to: "Latency") -> tuple[float, float, float]:
        """Return its p50 over another's, and the least and the greatest such ratio of a round."""
        by_round = [median(own) / median(its) for own, its in zip(self.rounds, to.rounds, strict=True)]
        return self.p50 / to.p50, min(by_round), max(by_round)


def latencies(ways: Mapping[str, Search], questions: int, rounds: int) -> dict[str, Latency]:
    """Have every way answer every question once a round.

    One search of each way follows the other, in random order and each with another question, so that none finds the
    server warmer or busier than the others.
    """
    failed = {name: reason for name, search in ways.items() if (reason := _warm_up(search, questions)) is not None}
    names = [name for name in ways if name not in failed]
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in range(rounds)] for name in names}
    chance = random.Random(_SEED)
    for number in range(rounds * questions):
        order = list(enumerate(names))
        chance.shuffle(order)
        for place, name in order:
            asked = (number + place * questions // len(names)) % questions
            started = time.perf_counter()
            ways[name](asked)
            seconds[name][number // questions].append(time.perf_counter() - started)
    return {name: Latency(seconds[name]) if name in seconds else Latency(not_run=failed[name]) for name in ways}


def _warm_up(search: Search, questions: int) -> str | None:
    try:
        for number in range(_WARM_UP):
            search(number % questions)
    except MedTEError as error:  # a fusion that this server lacks
        return str(error)
    return None


def rows(found: Mapping[str, Latency], beside: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the figures as JSON-able rows.

    :param beside: What the ratios are to: a name for them -> the way.
    """
    made = []
    for name, one in found.items():
        if one.not_run is not None:
            made.append({"name": name, "not_run": one.not_run})
            continue
        made.append(
            {
                "name": name,
                "p50_ms": one.p50,
                "p99_ms": one.p99,
                "ratios": {to: one.ratio(found[way]) for to, way in beside.items()},
                "searches": sum(map(len, one.rounds)),
            }
        )
    return made


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as a plain table."""
    beside = next((row["ratios"] for row in rows if "ratios" in row), {})
    lines = [f"{'':44}{'p50 ms':>9}{'p99 ms':>9}" + "".join(f"{f'to {to} (rounds)':>30}" for to in beside)]
    for row in rows:
        if "not_run" in row:
            lines.append(f"{row['name']:44}  not run: {row['not_run']:.100}")
            continue
        ratios = "".join(f"{_spread(*one):>30}" for one in row["ratios"].values())
        lines.append(f"{row['name']:44}{row['p50_ms']:9.2f}{row['p99_ms']:9.2f}{ratios}")
    return "\n".join(lines)


def _spread(ratio: float, least: float, greatest: float) -> str:
    return f"{ratio:.2f} ({least:.2f}-{greatest:.2f})"
