"""SIGINT and SIGTERM: the first asks a run to finish what is under way, the second ends it at once."""

import logging
import os
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any, Self

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether a run shall end early; a context manager that listens to the process's signals.

    Outside the main thread, where Python takes no signals, nothing is listened to; :meth:`ask` does it.

    :ivar signal: The signal that asked, if one did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._asked: float | None = None  # when, by time.monotonic
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
        return self._asked is not None

    @property
    def seconds(self) -> float:
        """How long ago it was asked to, 0 if it was not."""
        return 0.0 if self._asked is None else time.monotonic() - self._asked

    def ask(self) -> None:
        """Ask the run to finish what is under way, and end."""
        self._asked = self._asked or time.monotonic()

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


def _end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    """End this process as the signal does where nobody listens: nothing is waited for."""
    if sys.stderr.isatty():
        os.write(sys.stderr.fileno(), b"\x1b[?25h")  # the cursor, which a progress bar hides
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
