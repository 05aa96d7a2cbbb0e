"""Shows how far a run is: a bar on a terminal, a line now and then elsewhere, nothing when it shall be quiet."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

logger = logging.getLogger(__name__)

COUNTING_THREAD = "count"  # what it logs is logged by the run itself too
_TOLD_FROM = 20  # records done before the time left is more than a guess
_LINE_EVERY = 15.0  # seconds, where there is no terminal


class Shown(Protocol):
    """What a run reports to."""

    def update(self, *, records: int, chunks: int, tokens: int) -> None:
        """Take the totals so far."""
        ...


class _Quiet:
    def update(self, *, records: int, chunks: int, tokens: int) -> None:
        """Show nothing."""


class _Counted:
    """Totals, rates and, once the records have been counted, the time left."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.total: int | None = None

    def rates(self, records: int, tokens: int) -> str:
        seconds = max(time.monotonic() - self.started, 1e-9)
        return f"{records / seconds:,.0f} documents/s, {tokens / seconds:,.0f} tokens/s"

    def seconds_left(self, records: int) -> float | None:
        if self.total is None or records < _TOLD_FROM:
            return None
        return (time.monotonic() - self.started) * max(0, self.total - records) / records


class _Lines(_Counted):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console
        self._next = self.started + _LINE_EVERY

    def update(self, *, records: int, chunks: int, tokens: int) -> None:
        """Print a line if the last was long ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LINE_EVERY
        left = self.seconds_left(records)
        ending = "" if left is None else f", about {left:,.0f} s left"
        of = "" if self.total is None else f" of {self.total:,}"
        self._console.print(
            f"{records:,}{of} records, {chunks:,} chunks, {self.rates(records, tokens)}{ending}", highlight=False
        )


class _Bar(_Counted):
    def __init__(self, bar: Progress, task: TaskID) -> None:
        super().__init__()
        self._bar, self._task = bar, task

    def update(self, *, records: int, chunks: int, tokens: int) -> None:
        """Move the bar."""
        rates = f"{chunks:,} chunks, {self.rates(records, tokens)}"
        self._bar.update(self._task, completed=records, total=self.total, rates=rates)


@contextmanager
def shown(
    console: Console, count: Callable[[], Iterable[Any]] | None = None, *, quiet: bool = False
) -> Iterator[Shown]:
    """Show progress for the time of a ``with`` block.

    :param console: Where to show it: stderr.
    :param count: Reads the sources a second time, so that a thread can count the records and the time left be told;
        None where that cannot be done, as with stdin.
    :param quiet: Show nothing.
    """
    if quiet:
        yield _Quiet()
        return
    if not console.is_terminal:
        lines = _Lines(console)
        with _counting(lines, count):
            yield lines
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.completed:,.0f} records"),
        BarColumn(),
        TextColumn("{task.fields[rates]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        moved = _Bar(bar, bar.add_task("", total=None, rates=""))
        with _counting(moved, count):
            yield moved


@contextmanager
def _counting(target: _Counted, count: Callable[[], Iterable[Any]] | None) -> Iterator[None]:
    if count is None:
        yield
        return
    ended = threading.Event()

    def work() -> None:
        found = 0
        try:
            for _ in count():
                found += 1
                if ended.is_set():
                    return
        except Exception as error:  # noqa: BLE001  the run itself reports what is wrong with the source
            logger.debug("counting the records stopped: %s", type(error).__name__)
            return
        target.total = found

    threading.Thread(target=work, name=COUNTING_THREAD, daemon=True).start()
    try:
        yield
    finally:
        ended.set()
