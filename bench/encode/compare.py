"""The comparison of all ways: on sets of texts, and by their length."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from bench.encode.ceiling import Rate, best_rates, tokens_per_second
from bench.encode.process import Worker
from bench.encode.results import Row, rows, table
from bench.encode.session import Session
from bench.encode.shapes import Shape
from bench.encode.texts import Corpus, Counter, TextSet
from bench.encode.ways import Way

CEILING = "bench.encode.ceiling:CeilingWay"
_LEAST_TEXTS = 32  # of a length, so that sentence-transformers' default batch is full


@dataclass(frozen=True, slots=True)
class Comparison:
    """How to compare.

    :param ways: The ways.
    :param device: ``cpu`` or ``cuda``.
    :param rounds: Rounds of each set of texts.
    :param ceiling: Whether to measure the machine's ceiling.
    :param quiet: Say nothing on the error output.
    """

    ways: Sequence[Way]
    device: str
    rounds: int
    ceiling: bool = True
    quiet: bool = False

    def run(self, shape: Shape, sets: Sequence[TextSet]) -> dict[str, Any]:
        """Have all ways encode all sets with one model.

        :returns: ``ceiling`` and, for each set, its ``rows``; JSON-able.
        """
        with Session(self.ways, shape.folder, self.device, quiet=self.quiet) as session, self._ceiling() as ceiling:
            measured = [self._run_set(session, ceiling, shape, texts) for texts in sets]
            about = dict(session.about)
        return {
            "shape": shape.name,
            "dimensions": asdict(shape.dimensions),
            "max_tokens": shape.max_tokens,
            "workers": about,
            "sets": measured,
        }

    def _run_set(self, session: Session, ceiling: Worker | None, shape: Shape, texts: TextSet) -> dict[str, Any]:
        each_round: list[dict[str, float]] = []

        def measure() -> None:
            if ceiling is not None:
                each_round.append(measure_ceiling(ceiling, shape))

        turns = session.rounds(texts, self.rounds, measure)
        rates = median_rates(each_round)
        about = dict(session.about)
        found = rows(self.ways, texts, turns, dict(session.failed), about, rates, shape.dimensions, real=shape.real)
        return {
            "name": texts.name,
            "texts": len(texts.texts),
            "tokens": texts.tokens,
            "ceiling_flops_per_second": {"median": rates, "rounds": each_round},
            "ceiling_tokens_per_second": {
                precision: tokens_per_second(rate, shape.dimensions, texts.lengths) for precision, rate in rates.items()
            },
            "rows": [row.to_dict() for row in found],
        }

    @contextmanager
    def _ceiling(self) -> Iterator[Worker | None]:
        if not self.ceiling:
            yield None
            return
        with TemporaryDirectory() as scratch, Worker(CEILING, {"device": self.device}, Path(scratch, "log")) as worker:
            yield worker


def measure_ceiling(worker: Worker, shape: Shape) -> dict[str, float]:
    """Measure the machine's matrix products in a worker of their own; return the best rate of each precision."""
    result = worker.ask("measure", linears=shape.dimensions.linears())
    for kernel, reason in result["failed"].items():
        print(f"no ceiling from {kernel}: {reason}", file=sys.stderr)
    return best_rates([Rate(**rate) for rate in result["rates"]])


def median_rates(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return each precision's median over the rounds, as the ways' own figures are."""
    return {precision: median(one[precision] for one in rounds) for precision in (rounds[0] if rounds else ())}


def tables(run: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of each set of a run."""
    for one in run["sets"]:
        mean = one["tokens"] / one["texts"]
        title = f"{run['shape']}, {one['name']}: {one['texts']:,} texts, {one['tokens']:,} tokens (mean {mean:.0f})"
        ceilings = ", ".join(f"{name} {rate:,.0f}" for name, rate in one["ceiling_tokens_per_second"].items())
        yield table(f"{title}; ceiling in tokens/s: {ceilings or 'not measured'}", [Row(**row) for row in one["rows"]])


def by_length(
    comparison: Comparison, shape: Shape, corpus: Corpus, lengths: Sequence[int], tokens: int
) -> dict[str, Any]:
    """Compare on texts of each length, about so many tokens each time."""
    count = Counter(shape.folder, shape.max_tokens)
    sets = [
        count.of(f"{length} tokens", corpus.of_length(count, length, max(_LEAST_TEXTS, tokens // length)))
        for length in sorted(set(lengths))
        if length <= shape.max_tokens
    ]
    return comparison.run(shape, sets)
