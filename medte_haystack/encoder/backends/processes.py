"""Several devices: a process each, one list of batches."""

import json
import logging
import os
import pickle
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medte_haystack.encoder.backends import Batch
from medte_haystack.encoder.backends.child import Failure, Log, ProcessError, Ready, Vectors
from medte_haystack.encoder.backends.cpu import usable_cores
from medte_haystack.encoder.files import ModelFiles

_LEAVE = 5.0  # seconds that a process gets for ending by itself

# A program of its own, not multiprocessing's spawn: that runs the user's script again in each process, which goes wrong
# in every script without `if __name__ == "__main__":`, and there is no script to run again in a notebook.
_PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from {module} import main; main()"


class Processes:
    """The same model on several devices, batches handed to whichever is free.

    The processes end when this object is closed or collected, when this process ends, and when it is killed. What is
    needed and has ended, or never began, is started by the next call.

    :param files: The model.
    :param devices: One process each; several times ``cpu`` shares out the cores.
    :param precision: The same for all.
    """

    def __init__(self, files: ModelFiles, devices: Sequence[str], precision: str) -> None:
        self.device = ",".join(devices)
        self.precision = precision
        self._threads = max(1, usable_cores() // len(devices))
        self.parallel = len(devices) * (self._threads if devices[0] == "cpu" else 1)
        self._files = files
        self._devices = tuple(devices)
        self._lock = threading.Lock()
        self._children: list[Child] = []
        self._owner = 0
        self._finalizer: weakref.finalize[[list[Child]], Processes] | None = None

    @property
    def token_budget(self) -> int:
        """Tokens of a batch; starts the processes."""
        return min(child.token_budget for child in self._started())

    def embed(self, batches: Iterable[Batch]) -> Iterator[NDArray[np.float32]]:
        """Return the vectors of each batch, in order; threads may do so at once.

        :raises MedTEError: What a process raised, with its type; :class:`ProcessError` if one has ended.
        """
        children = self._started()
        ahead = sum(2 * child.parallel + 2 for child in children)  # so many that none ever waits for the next
        flying: deque[Future[NDArray[np.float32]]] = deque()
        for batch in batches:
            flying.append(min(children, key=Child.load).submit(batch))
            if len(flying) > ahead:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()

    def embed_one(self, ids: Sequence[int]) -> NDArray[np.float32]:
        """Return the vector of one text, shape (dim,)."""
        return min(self._started(), key=Child.load).submit([ids]).result().reshape(-1)

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._children = []

    def start(self) -> None:
        """Start the processes that do not run, and wait until they have loaded the model.

        :raises MedTEError: What one raised in loading it, with its type.
        """
        self._started()

    def _started(self) -> "list[Child]":
        with self._lock:
            if self._owner != os.getpid():  # a forked process has copies of the pipes, but nobody reads them
                self._children = []
            if not self._children:
                self._children = self._start(self._devices)
                self._owner = os.getpid()
                self._finalizer = weakref.finalize(self, _close, self._children)
            for place, child in enumerate(self._children):
                if child.failed:
                    child.close()
                    (self._children[place],) = self._start([child.device])
            return self._children

    def _start(self, devices: Sequence[str]) -> "list[Child]":
        children: list[Child] = []
        try:
            for device in devices:
                children.append(Child(self._files, device, self.precision, self._threads))  # noqa: PERF401  closed on error
            for child in children:  # all load at the same time
                child.wait_until_ready()
        except BaseException:
            _close(children)
            raise
        return children


class Child:
    """A process and what it is asked for.

    :param files: The model.
    :param device: Its device.
    :param precision: What it computes in.
    :param threads: How many threads it may use on the CPU.
    """

    def __init__(self, files: ModelFiles, device: str, precision: str, threads: int) -> None:
        self.device = device
        self.token_budget = self.parallel = 0
        self._owner = os.getpid()
        self._closed = False
        self._failure: Exception | None = None
        self._number = 0
        self._ready: Future[None] = Future()
        self._asked: dict[int, Future[NDArray[np.float32]]] = {}
        self._lock = threading.Lock()
        program = _PROGRAM.format(module=Failure.__module__)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, json.dumps([entry for entry in sys.path if isinstance(entry, str)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin is not None  # noqa: S101  for mypy
        assert self.process.stdout is not None  # noqa: S101
        self._requests, self._answers = self.process.stdin, self.process.stdout
        _CHILDREN.add(self)
        threading.Thread(target=self._listen, name=f"medte-{device}", daemon=True).start()
        self._send((files, device, precision, threads))

    @property
    def failed(self) -> bool:
        """Whether it has ended."""
        return self._failure is not None or self.process.poll() is not None

    def load(self) -> int:
        """Return how many batches it has been asked for."""
        return len(self._asked)

    def wait_until_ready(self) -> None:
        """Wait until the model is loaded.

        :raises MedTEError: What was raised in loading it.
        """
        self._ready.result()

    def submit(self, batch: Batch) -> Future[NDArray[np.float32]]:
        """Ask for the vectors of a batch.

        :raises ProcessError: If the process has ended.
        """
        lengths = np.fromiter(map(len, batch), dtype=np.int32, count=len(batch))
        flat = np.fromiter(chain.from_iterable(batch), dtype=np.int32, count=int(lengths.sum()))
        future: Future[NDArray[np.float32]] = Future()
        with self._lock:
            if self._failure is not None:
                raise self._failure
            self._number += 1
            number = self._number
            self._asked[number] = future
        self._send((number, flat, lengths))
        return future

    def close(self) -> None:
        """End the process."""
        if self._owner != os.getpid():
            return
        self._closed = True
        with suppress(OSError):
            self._requests.close()
        try:
            self.process.wait(_LEAVE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def let_go(self) -> None:
        """In a forked process: close its copy of the pipe, whose end tells the process that its parent is gone."""
        with suppress(OSError):
            self._requests.raw.close()  # type: ignore[attr-defined]

    def _send(self, message: object) -> None:
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        try:
            with self._lock:
                self._requests.write(data)
                self._requests.flush()
        except (OSError, ValueError):  # it has ended, or the pipe is closed
            self._fail(self._ended())
        except BaseException:  # an interrupt: half of the message may be sent, which no other may follow
            self.process.kill()
            self._fail(self._ended())
            raise

    def _listen(self) -> None:
        try:
            while True:
                self._take(pickle.load(self._answers))  # noqa: S301  our own process wrote it
        except Exception:  # noqa: BLE001  the stream ends, or breaks off somewhere inside a message
            self._fail(self._ended())
        finally:
            self._answers.close()

    def _take(self, answer: object) -> None:
        match answer:
            case Vectors(number, vectors, token_budget):
                self.token_budget = token_budget
                if asked := self._asked.pop(number, None):
                    asked.set_result(vectors)
            case Failure(None, error):
                self._ready.set_exception(error)
            case Failure(number, error) if number in self._asked:
                self._asked.pop(number).set_exception(error)
            case Ready(token_budget, parallel):
                self.token_budget, self.parallel = token_budget, parallel
                self._ready.set_result(None)
            case Log(logger, level, message):
                logging.getLogger(logger).log(level, "%s: %s", self.device, message)

    def _fail(self, error: Exception) -> None:
        with self._lock:
            self._failure = error
            lost: list[Future[Any]] = [self._ready, *self._asked.values()]
            self._asked.clear()
        for future in lost:
            with suppress(InvalidStateError):
                future.set_exception(error)

    def _ended(self) -> ProcessError:
        if self._closed:
            return ProcessError(f"the process for {self.device} was closed", device=self.device)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_LEAVE)
        code = self.process.poll()
        how = f"by signal {-code}; was memory short?" if code is not None and code < 0 else f"with status {code}"
        return ProcessError(
            f"the process that computes on {self.device} ended {how}; what it said last is on the error output."
            " The next call starts it again",
            device=self.device,
            status=code,
        )


_CHILDREN: "weakref.WeakSet[Child]" = weakref.WeakSet()


def _let_go() -> None:
    for child in _CHILDREN:
        child.let_go()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _close(children: Sequence[Child]) -> None:
    for child in children:
        child.close()
