"""A server, an encoder and a splitter in memory: the stream against answers made by hand."""

import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from elastic_transport import ApiResponseMeta, HttpHeaders, NodeConfig
from elasticsearch import ApiError

from es_ingest.records import Record
from es_ingest.stream.dead_letters import DeadLetters
from es_ingest.stream.flow import Stream
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.making import Making
from es_ingest.stream.stopping import Stop
from es_ingest.stream.summary import Summary
from es_ingest.stream.target import Target
from medte_haystack.encoder import Piece
from medte_haystack.encoder.encoder import EncodeStats
from medte_haystack.index.bulk import Backoff

BUSY = {"status": 429, "error": {"type": "es_rejected_execution_exception", "reason": "queue full"}}
CONFLICT = {"status": 400, "error": {"type": "document_parsing_exception", "reason": "failed to parse field [year]"}}
HOLD = 60  # seconds after which a test that hangs is given up


@dataclass(frozen=True)
class Lost:
    """The request is carried out, and its answer does not arrive."""

    error: Exception


@dataclass(frozen=True)
class Short:
    """The request is carried out, and its answer speaks of so many operations more or fewer."""

    by: int


class Server:
    """The bulk API over documents in memory.

    :ivar script: What becomes of the next requests: None success, an error to raise instead, :class:`Lost`,
        :class:`Short`, or a dictionary of document id -> item that replaces success; or a function of the ids that
        returns one of these, and may wait.
    :ivar rule: Tells the item that replaces success for an id and a body, in every request.
    """

    def __init__(self) -> None:
        self.documents: dict[str, Any] = {}
        self.requests: list[list[str]] = []
        self.script: list[Any] = []
        self.rule: Callable[[str, Any], dict[str, Any] | None] = lambda name, body: None
        self._lock = threading.Lock()

    def options(self, **options: Any) -> "Server":
        return self

    def bulk(self, *, index: str, operations: bytes, pipeline: Any, filter_path: str) -> dict[str, Any]:
        lines, todo = iter(operations.splitlines()), []
        for line in lines:
            ((action, header),) = json.loads(line).items()
            todo.append((action, header["_id"], None if action == "delete" else json.loads(next(lines))))
        names = [name for _, name, _ in todo]
        with self._lock:
            self.requests.append(names)
            outcome = self.script.pop(0) if self.script else None
        if callable(outcome):
            outcome = outcome(names)
        if isinstance(outcome, Exception):
            raise outcome
        with self._lock:
            items = [self._carry_out(*one, outcome if isinstance(outcome, dict) else {}) for one in todo]
        if isinstance(outcome, Lost):
            raise outcome.error
        if isinstance(outcome, Short):
            items = items[: outcome.by] if outcome.by < 0 else items + items[: outcome.by]
        return {"errors": False, "items": items}

    def _carry_out(self, action: str, name: str, body: Any, outcomes: dict[str, Any]) -> dict[str, Any]:
        if item := outcomes.get(name) or self.rule(name, body):
            return {action: item}
        there = name in self.documents
        if action == "delete":
            self.documents.pop(name, None)
            return {action: {"status": 200 if there else 404}}
        self.documents[name] = body
        return {action: {"status": 200 if there else 201}}

    def texts(self) -> dict[str, str]:
        """What is stored: content by document id."""
        return {name: body["content"] for name, body in self.documents.items()}


def api_error(status: int, reason: str = "x") -> ApiError:
    meta = ApiResponseMeta(status, "1.1", HttpHeaders(), 0.0, NodeConfig("http", "localhost", 9200))
    return ApiError(reason, meta, {"error": {"type": reason, "reason": reason}})


class Splitter:
    """Splits at bars; a text may hold none."""

    def split_many(self, texts: Iterable[str], *, titles: Iterable[str]) -> Iterator[list[Piece]]:
        for text in texts:
            pieces, at = [], 0
            for part in text.split("|"):
                pieces.append(Piece(part, at, at + len(part)))
                at += len(part) + 1
            yield pieces if text.strip() else []


class Encoder:
    """Makes the same vector of every text, a few texts at a time; what came before an error comes out first."""

    dim = 2

    def __init__(self) -> None:
        self.stats = EncodeStats()
        self.beside = 0

    def encode_stream(self, texts: Iterable[str], *, beside: Callable[[], int]) -> Iterator[np.ndarray]:
        stream, failure = iter(texts), None
        while failure is None:
            window: list[str] = []
            try:
                for text in islice(stream, 5):  # an error leaves what came before it
                    window.append(text)
                    self.beside += beside()
            except Exception as error:  # noqa: BLE001
                failure = error
            if not window and failure is None:
                return
            self.stats += EncodeStats(len(window), sum(map(len, window)))
            for _ in window:
                yield np.array([1, 0], np.float32)
        raise failure


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + HOLD
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def record(name: str, text: str, **meta: Any) -> Record:
    return Record(name, "", text, meta, f"test:{name}")


def with_vector(name: str, text: str = "text", vector: tuple[float, ...] = (1, 0)) -> Record:
    return Record(name, "", text, {}, f"test:{name}", np.array(vector, np.float32))


def finishes(work: Callable[[], Any]) -> Any:
    """Do something in a thread and return its result, or raise its error; fail if it hangs."""
    outcome: list[Any] = []

    def noted() -> None:
        try:
            outcome.append((work(), None))
        except BaseException as error:  # noqa: BLE001
            outcome.append((None, error))

    thread = threading.Thread(target=noted, daemon=True)
    thread.start()
    thread.join(HOLD)
    assert outcome, "it hangs"
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


class Job:
    """Runs the stream, again and again if need be, into one server with one ledger."""

    def __init__(self, folder: Path) -> None:
        self.server = Server()
        self.ledger = folder / "ledger.sqlite"
        self.dead = folder / "dead.jsonl"
        self.summary = Summary("i")
        self.encoder = Encoder()

    def open(self) -> Ledger:
        return Ledger(self.ledger, Target("i", "u"), "job", {})

    def run(
        self,
        items: Iterable[Any],
        *,
        vectors: bool = False,
        tries: int = 30,
        max_dead: int | None = None,
        stop: Stop | None = None,
        look: Callable[[Stream], None] | None = None,
    ) -> Summary:
        """Run to the end; `self.summary` is there also after an error."""
        self.encoder = Encoder()
        making = Making(2) if vectors else Making(2, self.encoder, Splitter())
        self.summary = Summary("i")
        letters = DeadLetters(self.dead, max_dead)

        def work() -> None:
            with self.open() as ledger:
                stream = Stream(making, ledger, letters, self.summary, stop=stop)
                try:
                    stream.write(
                        items, self.server, "i", Backoff(0.0005, 0.002, tries, patient=True), base64_vectors=False
                    )
                    if not self.summary.interrupted:
                        ledger.settled()
                finally:
                    letters.close()
                    if look is not None:
                        look(stream)

        finishes(work)
        return self.summary

    def acknowledged(self) -> dict[str, int]:
        """What the ledger has: chunks by record."""
        with self.open() as ledger:
            return {name: chunks for name, chunks, _ in ledger.records()}

    def letters(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.dead.read_text().splitlines()] if self.dead.exists() else []
