"""Our encoder, as a worker loads it."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from bench.encode.theirs import versions
from bench.encode.worker import status_mb
from medte_haystack import Encoder

_AGES = range(18, 96)
_ASKERS = ("a nurse", "a patient", "a physician", "a relative", "a student", "a pharmacist", "a midwife")


class EncoderWay:
    """`Encoder.encode` and `Encoder.encode_stream`.

    :param folder: Model folder.
    :param device: ``cpu`` or ``cuda``.
    :param precision: ``auto``, ``fp32``, ``bf16``, …
    """

    def __init__(self, folder: str, device: str, precision: str) -> None:
        self._encoder = Encoder.load(folder, device=device, precision=precision)

    def about(self) -> dict[str, Any]:
        """Return the precision it computes in and the versions."""
        return {"precision": self._encoder.precision, "versions": versions(("medte", "torch", "tokenizers"))}

    def encode(self, texts: list[str]) -> tuple[float, NDArray[Any]]:
        """Encode texts."""
        started = time.perf_counter()
        vectors = self._encoder.encode(texts)
        return time.perf_counter() - started, vectors

    def stream(self, texts: Sequence[str], number: int, every: int) -> dict[str, Any]:
        """Encode a long stream and keep nothing.

        :param texts: Texts that `variations` makes the stream of.
        :param number: Texts of the stream.
        :param every: Memory is read so often, in texts.
        :returns: ``memory``: pairs of texts done and resident MB; ``seconds``; ``tokens``.
        """
        memory = [(0, status_mb("VmRSS"))]
        started, before = time.perf_counter(), self._encoder.stats
        stream = itertools.islice(variations(texts), number)
        for done, _ in enumerate(self._encoder.encode_stream(stream), start=1):
            if done % every == 0 or done == number:
                memory.append((done, status_mb("VmRSS")))
        tokens = (self._encoder.stats - before).tokens
        return {"memory": memory, "seconds": time.perf_counter() - started, "tokens": tokens}


class QueryWay:
    """One query at a time: the text embedder, what is below it, and the bare forward pass.

    :param folder: Model folder.
    :param device: ``cpu`` or ``cuda``.
    :param precision: ``auto``, ``fp32``, ``bf16``, …
    """

    def __init__(self, folder: str, device: str, precision: str) -> None:
        from haystack.utils import ComponentDevice

        from medte_haystack import MedTETextEmbedder

        self._embedder = MedTETextEmbedder(
            model=folder, device=ComponentDevice.from_str(device), precision=precision, progress_bar=False
        )
        self._embedder.warm_up()
        assert self._embedder.encoder is not None
        self._encoder: Encoder = self._embedder.encoder

    def about(self) -> dict[str, Any]:
        """Return the precision it computes in and the versions."""
        return {"precision": self._encoder.precision, "versions": versions(("medte", "torch", "haystack-ai"))}

    def time_queries(self, queries: Sequence[str]) -> dict[str, list[float]]:
        """Return the seconds of each way for each query, the ways in turns; the first query also comes beforehand."""
        ids = {query: self._encoder.tokeniser([query]).ids[0] for query in queries}
        ways: dict[str, Callable[[str], Any]] = {
            "MedTETextEmbedder.run": lambda query: self._embedder.run(query),
            "Encoder.encode_one": lambda query: self._encoder.encode_one(query, "query"),
            "bare forward pass": lambda query: self._encoder.backend.embed_one(ids[query]),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for number, query in enumerate([queries[0], *queries]):
            for name in ways if number % 2 else reversed(ways):
                started = time.perf_counter()
                ways[name](query)
                spent = time.perf_counter() - started
                if number:
                    seconds[name].append(spent)
        return seconds


def variations(texts: Sequence[str]) -> Iterator[str]:
    """Yield the texts over and over, asked by others each time, so that no two are alike for long."""
    for asker, age in itertools.cycle(itertools.product(_ASKERS, _AGES)):
        for text in texts:
            yield f"{text} (asked by {asker}, aged {age})"
