"""How many bulk requests go at a time: more while the server keeps its pace, fewer as soon as it is overwhelmed."""

import threading
from types import TracebackType
from typing import Self

_FIRST = 2
_SLOWER = 2.0  # times the best pace at which the server is taken to be at its limit
_FORGET = 0.02  # share by which the best pace fades with every request: it may have been luck, or an empty index


class Concurrency:
    """A gate for requests, a context manager for the time of one.

    Additive increase, multiplicative decrease, as TCP does it: requests that keep the pace let one more go at a time, a
    rejection halves them, and requests that became much slower take one away.

    :param most: Most at a time.
    :ivar limit: How many may go at a time now.
    :ivar highest: The most that it was.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = self.highest = min(_FIRST, most)
        self._going = 0
        self._since_change = 0
        self._burst = False  # whether requests that were under way when the limit was halved may still be rejected
        self._best: float | None = None  # seconds a byte
        self._free = threading.Condition()

    def __enter__(self) -> Self:
        with self._free:
            self._free.wait_for(lambda: self._going < self.limit)
            self._going += 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._free:
            self._going -= 1
            self._free.notify_all()

    def rejected(self) -> None:
        """Take note that the server was too busy."""
        with self._free:
            if not self._burst:  # requests that were under way together are one sign
                self._set(max(1, self.limit // 2))
                self._burst = True

    def done(self, seconds: float, size: int) -> None:
        """Take note of how long the server took for a request of so many bytes."""
        with self._free:
            self._since_change += 1
            self._burst = False
            pace = seconds / max(size, 1)
            self._best = pace if self._best is None else min(pace, self._best * (1 + _FORGET))
            if self._since_change < self.limit:
                return
            if pace > _SLOWER * self._best * self.limit:
                self._set(max(1, self.limit - 1))
            else:
                self._set(min(self.most, self.limit + 1))

    def _set(self, limit: int) -> None:
        self.limit, self._since_change = limit, 0
        self.highest = max(self.highest, limit)
        self._free.notify_all()
