"""SIGINT and SIGTERM: the first asks a run to finish what is under way, the second ends it at once."""

import logging
import signal
import threading
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

    def _hear(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.signal = number
        self.ask()
        self._restore()  # the next one is not for us
        logger.warning("%s: finishing what is under way; once more ends at once", signal.Signals(number).name)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
