"""SIGINT and SIGTERM: the first asks a run to finish what is under way, the second ends it at once."""

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

from es_ingest.terminal import is_plain
from medte_haystack.errors import BulkWriteError

logger = logging.getLogger(__name__)

GRACE = 10.0  # seconds for which a request may still pause after the end was asked for
_LOOK = 0.5  # seconds between looks whether it was
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a run shall end early; a context manager that listens to the process's signals.

    Outside the main thread, where Python takes no signals, nothing is listened to; :meth:`ask` does it.

    :ivar signal: The signal that asked, if one did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._asked = threading.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._hear) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    @property
    def asked(self) -> bool:
        """Whether the run shall end."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask the run to finish what is under way, and end."""
        self._asked.set()

    def patience(self, index: str, over: threading.Event | None = None) -> Callable[[float], None]:
        """Return what waits between the tries of a request: once the end was asked for, a little only.

        It raises BulkWriteError if it waits no longer.

        :param index: What is written to.
        :param over: Whether it is of no use any more.
        """
        left, over = GRACE, over or threading.Event()

        def pause(seconds: float) -> None:
            nonlocal left
            until = time.monotonic() + seconds
            while not over.wait(min(_LOOK, max(0.0, until - time.monotonic()))):
                if time.monotonic() >= until:
                    return
                left -= _LOOK if self.asked else 0.0
                if left <= 0:
                    break
            raise given_up(index)

        return pause

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.signal = number
        self.ask()
        for one in self._before:
            signal.signal(one, _end)
        logger.warning("%s: finishing what is under way; once more ends at once", signal.Signals(number).name)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def given_up(index: str) -> BulkWriteError:
    """Return the error that a server is not waited for any longer."""
    return BulkWriteError(f"writing to index {index!r} was given up", index=index)


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """End this process as the signal does where nobody listens: nothing is waited for."""
    if sys.stderr.isatty() and not is_plain():
        os.write(sys.stderr.fileno(), b"\x1b[?25h")  # the cursor, which a progress bar hides
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
