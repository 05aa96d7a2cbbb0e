"""Memory while a long stream is encoded."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.encode.process import Worker
from bench.encode.shapes import Shape
from bench.encode.texts import Corpus
from bench.encode.ways import WAYS

_STREAM_CHECK = 10_000  # texts after which memory shall not grow


def stream_memory(shape: Shape, corpus: Corpus, device: str, number: int, every: int = 1000) -> dict[str, Any]:
    """Stream many texts through our encoder and tell how its memory went.

    :returns: ``memory``: pairs of texts done and resident MB; the size at 10,000 texts and at
            the end; ``mb_growth``: how much larger it ever was after 10,000.
    """
    texts = corpus.questions
    options = {"folder": str(shape.folder), "device": device, "precision": "auto"}
    with TemporaryDirectory() as scratch, Worker(WAYS["medte-auto"].loader, options, Path(scratch, "log")) as worker:
        about = worker.ask("about")
        found = worker.ask("stream", texts=texts, number=number, every=every)
    memory = found["memory"]
    at_check = next((size for done, size in memory if done >= _STREAM_CHECK), memory[-1][1])
    return {
        "shape": shape.name,
        "precision": about["precision"],
        "texts": number,
        "tokens": found["tokens"],
        "seconds": found["seconds"],
        "memory": memory,
        "checked_at": min(_STREAM_CHECK, number),
        "mb_at_check": at_check,
        "mb_at_end": memory[-1][1],
        "mb_growth": max(size for done, size in memory if done >= min(_STREAM_CHECK, number)) - at_check,
    }


def stream_line(found: dict[str, Any]) -> str:
    """Return it as a line."""
    return (
        f"{found['shape']}, a stream of {found['texts']:,} texts in {found['precision']}: {found['mb_at_check']:,.0f}"
        f" MB after {found['checked_at']:,}, {found['mb_at_end']:,.0f} at the end, at most {found['mb_growth']:,.1f}"
        f" more in between; {found['tokens'] / found['seconds']:,.0f} tokens/s"
    )
