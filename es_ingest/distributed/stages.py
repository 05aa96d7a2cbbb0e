"""What the workers do: split and encode groups of records, and write them."""

import logging
import os
import pickle
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import ray

from es_ingest.distributed.errors import EngineError
from es_ingest.distributed.messages import Destination, Done, Encoded, Failed, Given, Made, Note, Recipe
from es_ingest.stream.concurrency import Concurrency
from es_ingest.stream.making import Making
from es_ingest.stream.stopping import GRACE, given_up
from medte_haystack.encoder import EncodeStats
from medte_haystack.errors import IndexContractError
from medte_haystack.index import BulkResult, Fingerprint, Operation, bulk, operation, run, source, vector_json
from medte_haystack.index.contract import chunk_id
from medte_haystack.index.operations import batches

REQUESTS = 8  # at a time, of one worker that writes
_NUMBER, _ENCODED = "number", "encoded"


def ticket(number: int) -> Any:
    """Return a block of Ray Data that stands for a group."""
    return pa.table({_NUMBER: [number]})


def precision_chosen(model: str, max_tokens: int | None) -> str:
    """Return what a GPU of this worker computes in if that is left to it."""
    from medte_haystack.encoder import Encoder

    return Encoder.load(model, device="cuda", max_tokens=max_tokens).precision


class Encode:
    """Splits and encodes groups.

    :param desk: Where groups are, and where the driver is told what goes wrong.
    """

    def __init__(self, desk: Any, recipe: Recipe) -> None:
        self._desk = desk
        _log_to(desk)
        self._ended: float | None = None
        self._encoder: _Encoder | None = None
        self._failure: Exception | None = None
        try:
            self._encoder = _Encoder(recipe)
        except Exception as error:  # noqa: BLE001  an actor that is not there could not tell
            self._failure = error

    def __call__(self, block: Any) -> Any:
        """Return a ticket with what was made of its group; with nothing where there is nothing to do."""
        number = block[_NUMBER][0].as_py()
        given: Sequence[Given] | None = ray.get(self._desk.group.remote(number))
        encoded: bytes | None = None
        try:
            if self._failure is not None:
                raise self._failure
            if given is not None and self._encoder is not None:
                waited = 0.0 if self._ended is None else time.perf_counter() - self._ended
                made = self._encoder(given, waited)
                self._ended = time.perf_counter()
                encoded = pickle.dumps(made, pickle.HIGHEST_PROTOCOL)
        except Exception as error:  # noqa: BLE001  it ends the run, not this worker
            _tell_failure(self._desk, error)
        return ticket(number).append_column(_ENCODED, pa.array([encoded], pa.large_binary()))


class _Encoder:
    """The model, if there is one.

    :raises EngineError: If it is not the driver's.
    """

    def __init__(self, recipe: Recipe) -> None:
        dim = recipe.fingerprint.dim
        self._making = Making(dim)
        if recipe.model is None:
            return
        for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
            os.environ[name] = str(recipe.cpus)
        import torch

        from medte_haystack.encoder import Encoder, TokenSplitter

        torch.set_num_threads(recipe.cpus)
        encoder = Encoder.load(
            recipe.model, device=recipe.device, precision=recipe.precision, max_tokens=recipe.max_tokens
        )
        splitter = TokenSplitter(encoder.tokeniser, chunk_tokens=recipe.chunk_tokens, overlap=recipe.chunk_overlap)
        made = Fingerprint.of_encoder(encoder, chunk_tokens=splitter.chunk_tokens, chunk_overlap=recipe.chunk_overlap)
        _check_same(recipe.fingerprint, made)
        self._making = Making(dim, encoder, splitter)

    def __call__(self, given: Sequence[Given], waited: float) -> Encoded:
        records, encoder = [one.record for one in given], self._making.encoder
        before = encoder.stats if encoder else EncodeStats()
        chunks = list(self._making.chunks(records))
        if encoder is None:
            vectors = np.stack([one.vector for one in records if one.vector is not None])
            return Encoded(given, chunks, vectors, before, waited)
        vectors = encoder.encode([chunk.embedded_text for of_record in chunks for chunk in of_record])
        return Encoded(given, chunks, vectors, encoder.stats - before, waited)


class Write:
    """Writes encoded groups, some at the same time; asks the driver before it sends one."""

    def __init__(self, desk: Any) -> None:
        self._desk = desk
        _log_to(desk)
        self._to: Destination = ray.get(desk.destination.remote())
        self._name = uuid4().hex
        self._gate = Concurrency(REQUESTS)
        connection = self._to.connection
        if self._to.certificates is not None:
            self._file = tempfile.NamedTemporaryFile("w", suffix=".pem")  # noqa: SIM115  connections read it later
            self._file.write(self._to.certificates)
            self._file.flush()
            connection = replace(connection, ca_certs=self._file.name)
        self._client = connection.client()

    def __call__(self, block: Any) -> Any:
        """Write the group of a ticket and return the ticket."""
        number, encoded = block[_NUMBER][0].as_py(), block[_ENCODED][0].as_py()
        try:
            if encoded is not None:
                self._write(number, pickle.loads(encoded))  # noqa: S301  made by Encode
        except Exception as error:  # noqa: BLE001  it ends the run, not this worker
            _tell_failure(self._desk, error)
        return ticket(number)

    def _write(self, number: int, encoded: Encoded) -> None:
        reasons: list[list[str]] = [[] for _ in encoded.given]
        owners: dict[str, int] = {}
        operations = list(self._operations(encoded, owners, reasons))
        if not ray.get(self._desk.ask.remote(Made(number, [len(one) for one in encoded.chunks]))):
            return  # it is there already, or the run has ended
        result = BulkResult()
        for batch in batches(operations, bulk.MAX_COUNT, bulk.MAX_BYTES):
            result += self._send(batch)
        for failure in result.failures:
            reasons[owners[failure.id]].append(failure.reason or failure.type)
        done = Done(
            number,
            reasons,
            replace(result, failures=()),
            encoded.stats,
            encoded.waited,
            self._name,
            self._gate.highest,
        )
        ray.get(self._desk.tell.remote(done))

    def _operations(self, encoded: Encoded, owners: dict[str, int], reasons: list[list[str]]) -> Iterator[Operation]:
        """Yield what is to be done; enter which record each is about, and what cannot be written."""
        vectors = iter(encoded.vectors)
        for place, (given, chunks) in enumerate(zip(encoded.given, encoded.chunks, strict=True)):
            for chunk in chunks:
                vector = vector_json(next(vectors), base64_vectors=self._to.base64_vectors)
                owners[chunk.id] = place
                try:
                    yield operation("index", chunk.id, source(chunk, vector))
                except IndexContractError as error:
                    reasons[place].append(str(error))
            for number in range(len(chunks), given.before):
                name = chunk_id(given.record.id, number)
                owners[name] = place
                yield Operation("delete", name)

    def _send(self, batch: Sequence[Operation]) -> BulkResult:
        with self._gate as gate:
            started = time.perf_counter()
            steps = bulk.send(self._to.index, batch, backoff=self._to.backoff, on_rejection=gate.rejected)
            result = run(self._client, steps, self._patience())
            gate.done(time.perf_counter() - started, sum(one.size for one in batch))
        return result

    def _patience(self) -> Callable[[float], None]:
        """Return what waits between the tries of a request, as `Stop.patience` does where the driver writes itself."""
        left: float | None = GRACE

        def pause(seconds: float) -> None:
            nonlocal left
            left = ray.get(self._desk.pause.remote(seconds, left))
            if left is None:
                raise given_up(self._to.index)

        return pause


class _ToDesk(logging.Handler):
    def __init__(self, desk: Any) -> None:
        super().__init__(logging.WARNING)
        self._desk = desk

    def emit(self, record: logging.LogRecord) -> None:
        self._desk.tell.remote(Note(record.levelno, record.getMessage()))


def _log_to(desk: Any) -> None:
    """Have warnings shown where the driver shows its own."""
    for name in ("es_ingest", "medte_haystack"):
        found = logging.getLogger(name)
        found.handlers, found.propagate = [_ToDesk(desk)], False
    logging.getLogger("medte_haystack.encoder.encoder").setLevel(logging.ERROR)  # truncation: once, by the driver


def _tell_failure(desk: Any, error: Exception) -> None:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  our own
    except Exception:  # noqa: BLE001  whatever it is that cannot travel
        error = EngineError(f"a worker failed: {type(error).__name__}: {error}")
    ray.get(desk.tell.remote(Failed(error)))


def _check_same(wanted: Fingerprint, found: Fingerprint) -> None:
    mine, theirs = found.to_dict(), wanted.to_dict()
    for name in mine.keys() - {"analyzer"}:  # which is the index's
        if mine[name] != theirs[name]:
            where = socket.gethostname()
            raise EngineError(
                f"a worker on {where} has {name} {mine[name]!r}, the driver {theirs[name]!r}; put the same model on all"
                " machines"
            )
