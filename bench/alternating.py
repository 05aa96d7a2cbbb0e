"""Times several ways of doing the same, taking turns, so that a slow minute of the machine hits all of them."""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


def in_turn(names: Iterable[str], number: int) -> list[str]:
    """Return the order of a round, the first of which has number 0: turned round every second time."""
    return list(names) if number % 2 == 0 else list(names)[::-1]


def take_turns(ways: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Run each way once a round, the order turned round every time, and return its seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        for name in in_turn(ways, number):
            started = time.perf_counter()
            ways[name]()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def report(title: str, unit: str, amount: float, seconds: Mapping[str, list[float]], path: Path | None) -> None:
    """Print rates and ratios to the first way, and write them as JSON if a path is given."""
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    first = next(iter(medians.values()))
    print(f"\n{title}")
    print(f"{'':44}{unit + '/s':>14}{'ratio':>8}")
    rows = []
    for name, median in medians.items():
        rows.append({"name": name, f"{unit}_per_second": amount / median, "ratio": first / median})
        print(f"{name:44}{amount / median:14,.0f}{first / median:8.2f}")
    if path is not None:
        path.write_text(json.dumps({"title": title, "seconds": dict(seconds), "rows": rows}, indent=2) + "\n")


def parser(description: str | None, *, rounds: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options that all measurements have; `rounds` for those that time something."""
    found = argparse.ArgumentParser(description=description)
    if rounds:
        found.add_argument("--rounds", type=positive, default=3, help="rounds; medians are reported")
    found.add_argument("--json", type=Path, help="file for the figures")
    return found


def positive(text: str) -> int:
    """Return a whole number of 1 or more, for argparse."""
    number = int(text) if text.strip().isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return number
