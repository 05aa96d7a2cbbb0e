"""The process behind one device of several: takes batches of token ids from its parent and answers with vectors.

Messages are pickled, one after another, on standard input and output; what libraries print goes to the error output.
The process ends when its input ends, so also when the parent is killed, and when its GPU is lost for it.

    -> (files, device, precision, threads), then (number, token ids end to end, lengths) for each batch
    <- Ready, then Vectors or Failure for each batch in any order, and Log between them
"""

import logging
import os
import pickle
import queue
import signal
import sys
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from medte_haystack.encoder.backends import Backend, Batch
from medte_haystack.errors import MedTEError


@dataclass(frozen=True, slots=True)
class Ready:
    """The model is loaded."""

    token_budget: int
    parallel: int


@dataclass(frozen=True, slots=True)
class Vectors:
    """A batch is computed; the token budget may have been halved since."""

    number: int
    vectors: NDArray[np.float32]
    token_budget: int


@dataclass(frozen=True, slots=True)
class Failure:
    """A batch, or loading the model (number None), failed."""

    number: int | None
    error: Exception


@dataclass(frozen=True, slots=True)
class Log:
    """Something that the parent's log should say."""

    logger: str
    level: int
    message: str


class ProcessError(MedTEError):
    """A process that computes for another one has ended, or raised what cannot be passed on as it is."""


Numbered = tuple[int, Batch]


def main() -> None:
    """Serve on standard input and output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    requests = os.fdopen(os.dup(0), "rb")
    answers = Answers(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    forwarding = Forwarding(logging.WARNING)
    forwarding.answers = answers
    logging.getLogger("medte_haystack").addHandler(forwarding)
    logging.getLogger("medte_haystack").propagate = False
    files, device, precision, threads = pickle.load(requests)  # noqa: S301  our parent wrote it
    waiting: queue.SimpleQueue[Numbered] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, waiting), daemon=True).start()
    try:
        backend = _load(files, device, precision, threads)
    except Exception as error:  # noqa: BLE001  raised again in the parent
        answers.put(Failure(None, portable(error)))
        sys.exit(1)
    answers.put(Ready(backend.token_budget, backend.parallel))
    while True:
        serve(backend, waiting, answers)


def _load(files: Any, device: str, precision: str, threads: int) -> Backend:
    import torch

    from medte_haystack.encoder.backends import load_backend

    torch.set_num_threads(threads)
    return load_backend(files, device, precision)


class Answers:
    """Where answers go; several threads may write."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    def put(self, answer: object) -> None:
        """Send an answer. If nobody reads any more, the process ends."""
        with self._lock:
            try:
                pickle.dump(answer, self._file, protocol=pickle.HIGHEST_PROTOCOL)
                self._file.flush()
            except BrokenPipeError:
                os._exit(0)


class Forwarding(logging.Handler):
    """Sends what is logged to the parent, which has the user's logging configured."""

    answers: Answers

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        self.answers.put(Log(record.name, record.levelno, record.getMessage()))


def _read(requests: BinaryIO, waiting: "queue.SimpleQueue[Numbered]") -> None:
    try:
        while True:
            number, flat, lengths = pickle.load(requests)  # noqa: S301  our parent wrote it
            waiting.put((number, unpacked(flat, lengths)))
    except Exception:  # noqa: BLE001  the stream ends, or breaks off somewhere inside a message
        os._exit(0)  # the parent is gone, or done with us; nothing that is being computed is wanted


def unpacked(flat: NDArray[np.int32], lengths: NDArray[np.int32]) -> list[list[int]]:
    """Return token id lists out of ids end to end."""
    ids: list[int] = flat.tolist()
    ends = np.cumsum(lengths).tolist()
    return [ids[end - length : end] for end, length in zip(ends, lengths.tolist(), strict=True)]


def serve(backend: Backend, waiting: "queue.SimpleQueue[Numbered]", answers: Answers) -> None:
    """Wait for a batch, then compute all that are there, until none waits."""
    taken: deque[Numbered] = deque([waiting.get()])
    try:
        for vectors in backend.embed(_available(taken, waiting)):
            answers.put(Vectors(taken.popleft()[0], vectors, backend.token_budget))
    except Exception:  # noqa: BLE001  which of the batches that were read ahead it was shows when each is alone
        for number, batch in taken:
            answer = _alone(backend, number, batch)
            answers.put(answer)
            if isinstance(answer, Failure) and (reason := broken(backend.device)):
                sys.stderr.write(f"this process can use {backend.device} no more, and ends: {reason}\n")
                os._exit(1)  # the parent's next call starts another


def broken(device: str) -> str | None:
    """Return why a GPU is lost for this process, None if it is not: after some errors, every call fails."""
    import torch

    if torch.device(device).type != "cuda":
        return None
    try:
        torch.cuda.synchronize(device)
    except RuntimeError as error:
        return str(error).strip().splitlines()[0]
    return None


def _available(taken: deque[Numbered], waiting: "queue.SimpleQueue[Numbered]") -> Iterator[Batch]:
    yield taken[0][1]
    while True:  # never waits: what is computed already could not be handed back meanwhile
        try:
            taken.append(waiting.get_nowait())
        except queue.Empty:
            return
        yield taken[-1][1]


def _alone(backend: Backend, number: int, batch: Batch) -> Vectors | Failure:
    try:
        (vectors,) = backend.embed([batch])
        return Vectors(number, vectors, backend.token_budget)
    except Exception as error:  # noqa: BLE001  raised again in the parent
        return Failure(number, portable(error))


def portable(error: Exception) -> Exception:
    """Return an error that survives pickling, with where it came from as a note."""
    note = "".join(traceback.format_exception(error)).rstrip()
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301  just written
        if type(copy) is not type(error) or str(copy) != str(error):
            raise ValueError("it does not survive")
    except Exception:  # noqa: BLE001  errors with their own arguments fail in many ways
        error = ProcessError(f"{type(error).__name__}: {error}")
    error.add_note(f"in the process of the device:\n{note}")
    return error
