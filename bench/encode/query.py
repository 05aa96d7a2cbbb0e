"""One query at a time: ours, what is below it, and sentence-transformers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from bench.alternating import in_turn
from bench.encode.process import Worker, WorkerError
from bench.encode.shapes import Shape
from bench.encode.texts import Corpus, Counter

_LOADERS = {
    "medte": "bench.encode.ours:QueryWay",
    "sentence-transformers": "bench.encode.theirs:SentenceTransformersWay",
}
_QUERIES_A_TURN = 20
EMBEDDER, FORWARD = "MedTETextEmbedder.run", "bare forward pass"


def one_query(
    shape: Shape, corpus: Corpus, device: str, repeats: int, precision: str = "auto", tokens: int = 12
) -> dict[str, Any]:
    """Time one query of so many tokens at a time, in turns.

    The queries differ, so that no cache of repeated ones can help.

    :param precision: What ours computes in; sentence-transformers computes in fp32, its default.
    :raises ValueError: If there is no question of so many tokens.
    """
    queries = corpus.queries(Counter(shape.folder, shape.max_tokens), tokens, repeats)
    if not queries:
        raise ValueError(f"there is no question of {tokens} tokens in these texts")
    model = {"folder": str(shape.folder), "device": device}
    options = {"medte": {**model, "precision": precision}, "sentence-transformers": model}
    asked = [
        [queries[place % len(queries)] for place in range(at, min(repeats, at + _QUERIES_A_TURN))]
        for at in range(0, repeats, _QUERIES_A_TURN)
    ]
    seconds, about, failed = _in_turns(options, asked)
    return {
        "shape": shape.name,
        "tokens": tokens,
        "different_queries": min(len(queries), repeats),
        "workers": about,
        "not_run": failed,
        "rows": [
            {
                "name": way,
                "repeats": len(times),
                "p50_ms": 1000 * float(np.percentile(times, 50)),
                "p99_ms": 1000 * float(np.percentile(times, 99)),
            }
            for way, times in seconds.items()
        ],
        "embedder_over_forward": _ratio(seconds, EMBEDDER, FORWARD),
    }


def query_table(found: Mapping[str, Any]) -> str:
    """Return it as a plain table."""
    precision = found["workers"].get("medte", {}).get("precision", "?")
    lines = [f"{found['shape']}, one query of {found['tokens']} tokens; medte in {precision}"]
    lines.append(f"{'':48}{'p50 ms':>12}{'p99 ms':>12}{'repeats':>12}")
    lines += [f"{row['name']:48}{row['p50_ms']:12.2f}{row['p99_ms']:12.2f}{row['repeats']:12}" for row in found["rows"]]
    lines += [f"{name:48}  not run: {reason}" for name, reason in found["not_run"].items()]
    if found["embedder_over_forward"] is not None:
        lines.append(f"{EMBEDDER} / {FORWARD}: {found['embedder_over_forward']:.3f} (medians)")
    return "\n".join(lines)


def _in_turns(
    options: Mapping[str, Mapping[str, Any]], asked: Sequence[Sequence[str]]
) -> tuple[dict[str, list[float]], dict[str, Any], dict[str, str]]:
    """Return seconds by way, what the workers told of themselves, and reasons of those that failed."""
    seconds: dict[str, list[float]] = {}
    about: dict[str, Any] = {}
    failed: dict[str, str] = {}
    workers: dict[str, Worker] = {}
    with TemporaryDirectory() as scratch:
        try:
            for name, its in options.items():
                try:
                    workers[name] = Worker(_LOADERS[name], its, Path(scratch, f"{name}.log"))
                    about[name] = workers[name].ask("about")
                except WorkerError as error:
                    failed[name] = str(error)
            for number, queries in enumerate(asked):
                for name in in_turn([name for name in workers if name not in failed], number):
                    try:
                        for way, times in workers[name].ask("time_queries", queries=list(queries)).items():
                            seconds.setdefault(way, []).extend(times)
                    except WorkerError as error:
                        failed[name] = str(error)
        finally:
            for worker in workers.values():
                worker.close()
    return seconds, about, failed


def _ratio(seconds: Mapping[str, Sequence[float]], over: str, under: str) -> float | None:
    if over not in seconds or under not in seconds:
        return None
    return float(np.median(seconds[over]) / np.median(seconds[under]))
