"""How fast texts become vectors: what people use today and ours, on the same texts, in turns.

Without --lengths, --stream or --query the table is made; with them, only what they name, and with --table that too.
Ratios and cosines are to sentence-transformers in float32, which is always run beside what --ways names.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from bench.alternating import parser, positive
from bench.encode import plot
from bench.encode.compare import CEILING, Comparison, by_length, tables
from bench.encode.process import Worker, WorkerError
from bench.encode.query import one_query, query_table
from bench.encode.shapes import SHAPES, Shape, find_shapes
from bench.encode.stream import stream_line, stream_memory
from bench.encode.texts import SETS, Corpus, Counter, check_sets
from bench.encode.ways import REFERENCE, WAYS, Way, find_ways
from es_ingest.records import ReadError
from medte_haystack.errors import MedTEError

_LENGTHS = (16, 32, 64, 128, 256, 512)
_LENGTH_TOKENS = {"cpu": 8192, "cuda": 1 << 20}  # of each length
_STREAMED = 200_000
_QUERIES = 300


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a run needs, looked up before anything is measured.

    :param ways: For the table.
    :param drawn: For speed by length.
    """

    ways: Sequence[Way]
    drawn: Sequence[Way]
    shapes: Sequence[Shape]
    corpus: Corpus
    device: str
    machine: Mapping[str, Any]

    @classmethod
    def of(cls, chosen: argparse.Namespace) -> Self:
        """Look everything up.

        :raises ValueError: If a way, shape or set is unknown, or the device is missing.
        :raises ReadError: If MedQuAD cannot be read.
        :raises MedTEError: If a model's files are missing.
        """
        check_sets(chosen.sets)
        device, machine = _machine(chosen.device)
        plotted = [name for name in plot.WAYS if device in WAYS[name].devices]
        return cls(
            ways=find_ways(chosen.ways, device),
            drawn=find_ways(chosen.ways or plotted, device),
            shapes=find_shapes(chosen.shapes, chosen.tokenizer),
            corpus=Corpus(chosen.medquad),
            device=device,
            machine=machine,
        )


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and write what was asked for."""
    options = _parser()
    chosen = options.parse_args(arguments)
    try:
        inputs = Inputs.of(chosen)
    except (ValueError, ReadError, MedTEError, WorkerError) as error:
        options.error(str(error))
    report = {"machine": inputs.machine, "device": inputs.device, "options": _stated(chosen)}
    try:
        for text in measure(chosen, inputs, report):
            print(text, end="\n\n", flush=True)
            _write(chosen.json, report)  # so far: a long run that is stopped leaves its first parts
    except (ValueError, WorkerError) as error:
        options.error(str(error))


def measure(chosen: argparse.Namespace, inputs: Inputs, report: dict[str, Any]) -> Iterator[str]:
    """Measure part by part: yield what is to be printed, and put the figures into the report."""
    lengths = chosen.lengths or (_LENGTHS if chosen.plot else None)
    compare = partial(Comparison, device=inputs.device, rounds=chosen.rounds, ceiling=not chosen.no_ceiling)
    if chosen.table or not (lengths or chosen.stream or chosen.query):
        report["table"] = []
        for shape in inputs.shapes:
            texts = inputs.corpus.sets(chosen.sets, chosen.texts, Counter(shape.folder, shape.max_tokens))
            report["table"].append(compare(inputs.ways).run(shape, texts))
            yield "\n\n".join(tables(report["table"][-1]))
    if lengths:
        tokens = chosen.length_tokens or _LENGTH_TOKENS[inputs.device]
        shape = inputs.shapes[0]
        report["lengths"] = by_length(compare(inputs.drawn), shape, inputs.corpus, lengths, tokens)
        yield "\n\n".join(tables(report["lengths"]))
        if chosen.plot:
            plot.draw(report["lengths"], _title(shape, inputs), chosen.plot)
    if chosen.stream:
        report["stream"] = stream_memory(inputs.shapes[-1], inputs.corpus, inputs.device, chosen.stream)
        report["memory"] = report["stream"].pop("memory")
        yield stream_line(report["stream"])
    if chosen.query:
        report["query"] = []
        for shape in inputs.shapes:
            report["query"].append(one_query(shape, inputs.corpus, inputs.device, chosen.query))
            yield query_table(report["query"][-1])


def _parser() -> argparse.ArgumentParser:
    found = parser(__doc__)
    found.add_argument("--shapes", type=_names, default=list(SHAPES), help=f"models, of {','.join(SHAPES)}")
    found.add_argument("--sets", type=_names, default=list(SETS), help=f"texts, of {','.join(SETS)}")
    found.add_argument("--ways", type=_names, help=f"ways to encode, of {','.join(WAYS)}; {REFERENCE} is always run")
    found.add_argument(
        "--texts", type=positive, default=120, help="answers; of the other sets it is what costs no more"
    )
    found.add_argument("--device", choices=("cpu", "cuda"), help="a GPU where there is one")
    found.add_argument("--medquad", type=Path, help="a full MedQuAD archive or folder instead of the shipped sample")
    found.add_argument("--tokenizer", type=Path, help="folder with a tokenizer for shape base instead of minilm's")
    found.add_argument("--no-ceiling", action="store_true", help="leave out measuring matrix products")
    found.add_argument("--table", action="store_true", help="make the table beside what else is asked for")
    found.add_argument(
        "--lengths", type=_lengths, nargs="?", const=_LENGTHS, help="speed by length of text, first shape, e.g. 16,64"
    )
    found.add_argument("--length-tokens", type=positive, help="about so many tokens of each length")
    found.add_argument("--plot", type=Path, help="draw speed by length of text into this file")
    found.add_argument(
        "--stream",
        type=positive,
        nargs="?",
        const=_STREAMED,
        help="memory while so many texts are streamed, last shape",
    )
    found.add_argument("--query", type=positive, nargs="?", const=_QUERIES, help="time single queries, so many times")
    return found


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _lengths(text: str) -> tuple[int, ...]:
    return tuple(positive(part) for part in _names(text))


def _machine(device: str | None) -> tuple[str, dict[str, Any]]:
    """Return the device to use and what machine this is; a worker is asked, so that no GPU memory is held here."""
    with TemporaryDirectory() as scratch, Worker(CEILING, {"device": "cpu"}, Path(scratch, "log")) as worker:
        about = worker.ask("about")
    device = device or ("cuda" if about["gpu"] else "cpu")
    if device == "cuda" and not about["gpu"]:
        raise ValueError("--device cuda, but there is no GPU that torch can use")
    return device, {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        **about,
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")


def _title(shape: Shape, inputs: Inputs) -> str:
    where = inputs.machine["gpu"] if inputs.device == "cuda" else f"{inputs.machine['cores']} CPU cores"
    return f"Encoding with a BERT of {shape.dimensions.layers} layers, {shape.dimensions.hidden} dimensions; {where}"


def _stated(chosen: argparse.Namespace) -> dict[str, Any]:
    """Return the options; of files only their names."""
    return {name: value.name if isinstance(value, Path) else value for name, value in vars(chosen).items()}


def _write(path: Path | None, report: dict[str, Any]) -> None:
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
