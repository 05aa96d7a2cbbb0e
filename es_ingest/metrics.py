"""Figures of a run for Prometheus' textfile collector: a file that is replaced as a whole, now and then."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

from es_ingest.stream.summary import Summary

logger = logging.getLogger(__name__)

_EVERY = 15.0  # seconds
_FIGURES = {
    "read": "Source rows seen",
    "unchanged": "Records the ledger has with the same content",
    "records": "Records of which the server has acknowledged all chunks",
    "written": "Chunks the server has acknowledged",
    "removed": "Chunks removed",
    "deleted": "Records removed because the sources say that they are no more",
    "malformed": "Source rows that are no records",
    "refused": "Records that were refused",
    "retried": "Rejected chunks that were sent again",
    "tokens": "Tokens encoded",
    "seconds": "Time of the run in seconds",
    "encode_seconds": "Time spent encoding in seconds",
    "encoder_waited": "Time the encoder waited for reading or writing in seconds",
}


class MetricsError(Exception):
    """The file for metrics cannot be written."""


@contextmanager
def metrics(path: Path | None, index: str) -> Iterator[Callable[[Summary], None]]:
    """Keep a run's figures in a file for the time of a ``with`` block, and leave it there with the last ones.

    :param path: The file; None keeps none.
    :param index: The index, a label of every figure.
    :returns: What takes the run's summary now and then.
    :raises MetricsError: If the file cannot be written.
    """
    if path is None:
        yield lambda _: None
        return
    file = _MetricsFile(path, index)
    try:
        yield file.update
    finally:
        file.end()


class _MetricsFile:
    def __init__(self, path: Path, index: str) -> None:
        self._path = path
        self._registry = CollectorRegistry()
        self._figures = {name: self._gauge(name, text, index) for name, text in _FIGURES.items()}
        self._running = self._gauge("running", "1 while the run goes on", index)
        self._time = self._gauge("updated_seconds", "When this was written, in seconds since 1970", index)
        self._next = 0.0

    def _gauge(self, name: str, text: str, index: str) -> Gauge:
        return Gauge(f"es_ingest_{name}", text, ["index"], registry=self._registry).labels(index)

    def update(self, summary: Summary) -> None:
        for name, figure in self._figures.items():
            figure.set(getattr(summary, name))
        if time.monotonic() >= self._next:
            first, self._next = not self._next, time.monotonic() + _EVERY
            self._write(1, first=first)

    def end(self) -> None:
        self._write(0)

    def _write(self, running: int, *, first: bool = False) -> None:
        self._running.set(running)
        self._time.set_to_current_time()
        try:
            write_to_textfile(str(self._path), self._registry)
        except OSError as error:
            what = f"metrics cannot be written to {self._path} ({error}); name another --metrics-file"
            if first:
                raise MetricsError(what) from error
            logger.warning("%s", what)  # no reason to end a run that has begun
