"""One stage of the stream runs in a thread of its own, a bounded number of items ahead of the next one."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from es_ingest.stream.stopping import Stop

T = TypeVar("T")

_PATIENCE = 5.0  # seconds
_LOOK = 0.2  # seconds between looks whether the other side has gone


class _End:
    """The items are over, by an error perhaps."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Queue(queue.Queue[Any]):
    """A queue that is as full as its items are heavy; `weigh` takes what is put in."""

    def __init__(self, most: int, weigh: Callable[[Any], int]) -> None:
        self._weigh = weigh
        super().__init__(most)

    # What the standard library has queues of other kinds override; all of it is called under the queue's lock.
    def _init(self, maxsize: int) -> None:  # noqa: ARG002
        self._waiting: deque[tuple[int, Any]] = deque()
        self._weight = 0

    def _qsize(self) -> int:
        return self._weight

    def _put(self, item: Any) -> None:
        own = 1 if isinstance(item, _End) else max(1, self._weigh(item))
        self._waiting.append((own, item))
        self._weight += own

    def _get(self) -> Any:
        own, item = self._waiting.popleft()
        self._weight -= own
        return item


class Ahead(Generic[T]):
    """Items made in a thread.

    :param items: What makes them; it runs in the thread alone, and is closed there.
    :param most: How many may wait to be taken, or how heavy these may be: the thread pauses then.
    :param stop: Ends the items early; what is made and not taken is dropped.
    :param weigh: How heavy one is; None counts them.
    """

    def __init__(
        self, items: Iterable[T], most: int, name: str, stop: Stop, weigh: Callable[[T], int] | None = None
    ) -> None:
        self._items = items
        self._stop = stop
        self._queue = _Queue(most, weigh or _one)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._make, name=name, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        while not (self._stop.asked or self._closed.is_set()):
            try:
                item = self._queue.get(timeout=_LOOK)
            except queue.Empty:
                continue
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def close(self) -> None:
        """End the thread; what it has made is dropped."""
        self._closed.set()
        self._thread.join(_PATIENCE)  # it may be reading from a pipe that gives nothing

    def _make(self) -> None:
        end = _End()
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as error:  # noqa: BLE001  raised again where the items are taken
            end = _End(error)
        finally:
            if hasattr(self._items, "close"):
                self._items.close()
        self._put(end)

    def _put(self, item: object) -> bool:
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_LOOK)
            except queue.Full:
                continue
            return True
        return False


def _one(item: object) -> int:  # noqa: ARG001
    return 1


@contextmanager
def ahead(
    items: Iterable[T], most: int, name: str, stop: Stop, weigh: Callable[[T], int] | None = None
) -> Iterator[Iterable[T]]:
    """Have items made in a thread for the time of a ``with`` block; see :class:`Ahead`."""
    made = Ahead(items, most, name, stop, weigh)
    try:
        yield made
    finally:
        made.close()
