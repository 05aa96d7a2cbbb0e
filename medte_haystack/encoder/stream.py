"""How a stream of texts flows through a backend: read in windows, tokenised ahead, computed in batches, put in order.

Batches flow on from one window to the next, so a device never waits at the end of a window.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from medte_haystack.encoder.backends import Backend, Batch
from medte_haystack.encoder.pack import plan_batches
from medte_haystack.encoder.tokenise import Tokeniser, Tokens, check_string

_WINDOW_BATCHES = 16  # computed by each core; more gives longer runs of equal length, fewer gives results sooner
_DEVICE_WINDOW_BATCHES = 4  # a device waits while the first window is tokenised, and gains nothing by longer runs
_DEVICE_AHEAD = 4  # windows tokenised ahead of it
_CHARACTERS_A_TOKEN = 4
_WINDOW_TEXTS = 16_384
_WINDOW_BESIDE = 1 << 22  # characters, where a window of texts has fewer


T = TypeVar("T")


class Timed(Generic[T]):
    """An iterator that knows how long its items took to come.

    :param seconds: Time spent waiting for items so far.
    """

    def __init__(self, items: Iterable[T]) -> None:
        self.seconds = 0.0
        self._items = iter(items)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        started = time.perf_counter()
        try:
            return next(self._items)
        finally:
            self.seconds += time.perf_counter() - started


class Reading:
    """Texts as they come, each checked to be a string.

    An error ends them and is kept until :meth:`check`, so that what came before it flows on to its vectors first.

    :param ended: Whether the last text has been read.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.ended = False
        self._texts = Timed(texts)
        self._failure: Exception | None = None

    @property
    def seconds(self) -> float:
        """Time spent waiting for texts so far."""
        return self._texts.seconds

    def __iter__(self) -> Iterator[str]:
        try:
            for position, text in enumerate(self._texts):
                check_string(text, position)
                yield text
        except Exception as error:  # noqa: BLE001  see check
            self._failure = error
        self.ended = True

    def check(self) -> None:
        """Raise the error that ended the texts, if one did."""
        failure, self._failure = self._failure, None
        if failure is not None:
            try:
                raise failure
            finally:
                del failure  # no cycle of the error, its frames and itself


class Window:
    """Some tokenised texts and the place for their vectors.

    :param vectors: One row a text, float32, shape (n, dim); complete when nothing is missing.
    """

    def __init__(self, tokens: Tokens, vectors: NDArray[np.float32]) -> None:
        self.ids = tokens.ids
        self.truncated = len(tokens.truncated)
        self.tokens = sum(map(len, tokens.ids))
        self.vectors = vectors
        self.missing = len(vectors)

    def batch(self, positions: NDArray[np.intp]) -> Batch:
        """Return the token ids at these positions."""
        return [self.ids[position] for position in positions]

    def fill(self, positions: NDArray[np.intp], vectors: NDArray[np.float32]) -> None:
        """Put a batch's vectors in their places."""
        self.vectors[positions] = vectors
        self.missing -= len(positions)


class Flow:
    """Complete windows in order.

    :param tokenised: The tokens of each window.
    :param reading: The texts that they come from.
    :param backend: What computes.
    :param max_texts: Most texts of a batch, beside the token budget.
    :param dim: Dimensions of a vector.
    :param on_truncated: Called with the position of each text that loses its end, in order.
    """

    def __init__(
        self,
        tokenised: Iterable[Tokens],
        reading: Reading,
        backend: Backend,
        max_texts: int | None,
        dim: int,
        on_truncated: Callable[[int], object] | None = None,
    ) -> None:
        self.texts = 0
        self.truncated = 0
        self._tokenised = tokenised
        self._reading = reading
        self._backend = backend
        self._max_texts = max_texts
        self._dim = dim
        self._on_truncated = on_truncated
        self._open: deque[Window] = deque()
        self._places: deque[tuple[Window, NDArray[np.intp]]] = deque()

    def __iter__(self) -> Iterator[Window]:
        for vectors in self._backend.embed(self._batches()):
            window, positions = self._places.popleft()
            window.fill(positions, vectors)
            while self._open and not self._open[0].missing:
                yield self._open.popleft()

    def _batches(self) -> Iterator[Batch]:
        for tokens in self._tokenised:
            if self._on_truncated is not None:
                for position in tokens.truncated:
                    self._on_truncated(self.texts + position)
            yield from self._plan(Window(tokens, np.empty((len(tokens.ids), self._dim), dtype=np.float32)))

    def _plan(self, window: Window) -> Iterator[Batch]:
        self.texts += len(window.vectors)
        self.truncated += window.truncated
        self._open.append(window)
        lengths = [len(one) for one in window.ids]
        parallel = self._backend.parallel if self._reading.ended else 1  # else the next window's batches follow at once
        for positions in plan_batches(lengths, self._backend.token_budget, self._max_texts, parallel):
            self._places.append((window, positions))
            yield window.batch(positions)


def read_windows(
    texts: Iterable[str], backend: Backend, beside: Callable[[], int] | None = None
) -> Iterator[list[str]]:
    """Group texts into windows of some batches for each core or device.

    :param beside: Tells how many characters are kept beside the last text, which end a window too, if they are many.
    """
    batches = _WINDOW_BATCHES if backend.device == "cpu" else _DEVICE_WINDOW_BATCHES
    most = backend.token_budget * backend.parallel * batches * _CHARACTERS_A_TOKEN
    window: list[str] = []
    characters = kept = 0
    for text in texts:
        window.append(text)
        characters += len(text)
        kept += beside() if beside is not None else 0
        if len(window) == _WINDOW_TEXTS or characters >= most or kept >= max(most, _WINDOW_BESIDE):
            yield window
            window, characters, kept = [], 0, 0
    if window:
        yield window


def tokenise(windows: Iterable[Sequence[str]], tokeniser: Tokeniser, prefix: str, device: str) -> Iterator[Tokens]:
    """Tokenise windows, in order.

    :param device: One that is not the CPU must not wait: a thread tokenises some windows ahead of it (the tokenizer
        itself uses all cores). The texts are always read in this thread.
    """

    def of(window: Sequence[str]) -> Tokens:
        return tokeniser([prefix + text for text in window] if prefix else window)

    if device == "cpu":
        yield from map(of, windows)
        return
    running: deque[Future[Tokens]] = deque()
    with ThreadPoolExecutor(1, "medte-tokeniser") as pool:
        try:
            for window in windows:
                running.append(pool.submit(of, window))
                if len(running) > _DEVICE_AHEAD:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
