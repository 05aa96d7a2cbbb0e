"""Records in, searchable chunks out: read -> split -> encode -> bulk, as one stream in bounded memory."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Protocol

from elasticsearch import Elasticsearch

from es_ingest.records import Malformed, Record
from medte_haystack.encoder import Encoder, TokenSplitter
from medte_haystack.errors import IndexContractError
from medte_haystack.index import (
    BulkResult,
    Chunk,
    Failure,
    Fingerprint,
    IndexInfo,
    IndexSpec,
    Operation,
    Server,
    bulk,
    detect_server,
    open_index,
    operation,
    run,
    source,
    vector_json,
)

logger = logging.getLogger(__name__)

_SPLIT_TOGETHER = 256  # records whose tokens are counted in one call
_WRITERS = 2
_IN_FLIGHT = 4  # bulk requests that may wait for the server before encoding waits too
_REPORTED = 20  # failures that are logged one by one; the rest is counted


class Progress(Protocol):
    """Is told what has been done; see `es_ingest.progress`."""

    def update(self, *, records: int, chunks: int, tokens: int) -> None:
        """Take the totals so far."""
        ...


@dataclass(slots=True)
class Summary:
    """What a run did.

    :param index: Name of the index.
    :param read: Source rows seen: records and malformed ones.
    :param chunks: Chunks made of the records.
    :param written: Chunks the server acknowledged; `created` of them were new, `updated` replaced one of the same id.
    :param failed: Malformed rows and refused chunks: what did not get into the index.
    :param malformed: Source rows that are no records.
    :param refused: Chunks that the server, or the contract, refused.
    :param retried: How many times a rejected chunk was sent again.
    :param tokens: Tokens encoded.
    :param truncated: Chunks that lost their end because they did not fit the model.
    :param seconds: Time of the whole run.
    :param encode_seconds: Time of it spent encoding.
    :param fingerprint: What made the vectors, as the index records it.
    """

    index: str
    read: int = 0
    chunks: int = 0
    written: int = 0
    created: int = 0
    updated: int = 0
    failed: int = 0
    malformed: int = 0
    refused: int = 0
    retried: int = 0
    tokens: int = 0
    truncated: int = 0
    seconds: float = 0.0
    encode_seconds: float = 0.0
    quantisation: str = ""
    fingerprint: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as the one JSON object that `--json` prints."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


class Ingester:
    """Writes a stream of records into one index.

    :param client: The server.
    :param index: The index; it is made when it is missing.
    :param encoder: The model.
    :param chunk_tokens: Most tokens of a chunk; None takes what the model takes.
    :param chunk_overlap: Tokens that a chunk repeats from the one before it.
    :param quantisation: Vector index type; None takes the existing index's, or ``int8`` for a new one.
    :param analyzer: Of the text of a new index; ``auto`` takes ``english`` where the server has it.
    :param shards: Primary shards of a new index.
    :param replicas: Copies of each; None leaves it to the server.
    :raises FingerprintMismatchError: If the index was made with another model or chunking.
    :raises IndexContractError: If it was not made by this project, with another quantisation, or cannot be made.
    """

    def __init__(
        self,
        client: Elasticsearch,
        index: str,
        encoder: Encoder,
        *,
        chunk_tokens: int | None = None,
        chunk_overlap: int = 0,
        quantisation: str | None = None,
        analyzer: str = "auto",
        shards: int = 1,
        replicas: int | None = None,
    ) -> None:
        self.client = client
        self.index = index
        self.encoder = encoder
        self.splitter = TokenSplitter(encoder.tokeniser, chunk_tokens=chunk_tokens, overlap=chunk_overlap)
        self.fingerprint = Fingerprint.of_encoder(
            encoder, chunk_tokens=self.splitter.chunk_tokens, chunk_overlap=chunk_overlap
        )
        shape = IndexSpec(self.fingerprint, analyzer=analyzer, shards=shards, replicas=replicas)
        if quantisation is not None:
            shape = IndexSpec(self.fingerprint, quantisation, analyzer=analyzer, shards=shards, replicas=replicas)
        self.server: Server = run(client, detect_server())
        self.info: IndexInfo = run(client, open_index(index, shape, self.server))
        if self.info.fingerprint is None:
            raise IndexContractError(
                f"index {index!r} was not made by medte, so what made its vectors is unknown; choose another name",
                index=index,
            )
        if quantisation not in (None, self.info.quantisation):
            raise IndexContractError(
                f"index {index!r} has quantisation {self.info.quantisation!r}, not {quantisation!r}; leave the option"
                " out, or make a new index",
                index=index,
            )

    def run(self, items: Iterable[Record | Malformed], progress: Progress | None = None) -> Summary:
        """Write all records.

        Malformed rows and refused chunks are logged with their position and counted; everything else goes on. Writing
        the same records again changes nothing, since ids derive from the records'.

        :param items: Records, and rows that are none.
        :param progress: Is told the totals.
        :raises BulkWriteError: If the server stays unreachable.
        """
        started, before = time.perf_counter(), self.encoder.stats
        summary = Summary(self.index, quantisation=self.info.quantisation)
        recorded = self.info.fingerprint or self.fingerprint
        summary.fingerprint = recorded.to_dict()
        for result in self._written(self._operations(self._chunks(items, summary), summary, progress)):
            self._account(result, summary)
        self.client.indices.refresh(index=self.index)
        encoded = self.encoder.stats - before
        summary.tokens, summary.truncated, summary.encode_seconds = encoded.tokens, encoded.truncated, encoded.seconds
        summary.failed = summary.malformed + summary.refused
        summary.seconds = time.perf_counter() - started
        return summary

    def _chunks(self, items: Iterable[Record | Malformed], summary: Summary) -> Iterator[Chunk]:
        for group in _groups(items, _SPLIT_TOGETHER):
            records = []
            for item in group:
                summary.read += 1
                if isinstance(item, Record):
                    records.append(item)
                    continue
                summary.malformed += 1
                _report(summary.malformed, "%s: not a record: %s", item.position, item.reason)
            texts, titles = [one.text for one in records], [one.title for one in records]
            for record, pieces in zip(records, self.splitter.split_many(texts, titles=titles), strict=True):
                for number, piece in enumerate(pieces):
                    summary.chunks += 1
                    yield Chunk(record.id, piece.text, number, piece.start, piece.end, record.title, record.meta)

    def _operations(
        self, chunks: Iterable[Chunk], summary: Summary, progress: Progress | None
    ) -> Iterator[Operation | Failure]:
        waiting: deque[Chunk] = deque()  # read ahead by the encoder; at most one of its windows

        def texts() -> Iterator[str]:
            for chunk in chunks:
                waiting.append(chunk)
                yield chunk.embedded_text

        before, records = self.encoder.stats, 0
        for done, vector in enumerate(self.encoder.encode_stream(texts()), start=1):
            chunk = waiting.popleft()
            records += chunk.index == 0
            sent = vector_json(vector, base64_vectors=self.server.base64_vectors)
            try:
                yield operation("index", chunk.id, source(chunk, sent))
            except IndexContractError as error:
                yield Failure(chunk.id, 400, type(error).__name__, str(error))
            if progress is not None:
                tokens = (self.encoder.stats - before).tokens
                progress.update(records=records + summary.malformed, chunks=done, tokens=tokens)

    def _written(self, operations: Iterable[Operation | Failure]) -> Iterator[BulkResult]:
        """Send bulk requests from a few threads while the caller's thread goes on encoding."""
        unsent: list[Failure] = []

        def sendable() -> Iterator[Operation]:
            for one in operations:
                if isinstance(one, Operation):
                    yield one
                else:
                    unsent.append(one)

        with ThreadPoolExecutor(_WRITERS, thread_name_prefix="bulk") as pool:
            flying: deque[Future[BulkResult]] = deque()
            try:
                for batch in bulk.batches(sendable(), bulk.MAX_COUNT, bulk.MAX_BYTES):
                    if len(flying) == _IN_FLIGHT:
                        yield flying.popleft().result()
                    flying.append(pool.submit(run, self.client, bulk.send(self.index, batch)))
                while flying:
                    yield flying.popleft().result()
            finally:
                for future in flying:
                    future.cancel()
        yield BulkResult(failures=tuple(unsent))

    def _account(self, result: BulkResult, summary: Summary) -> None:
        summary.created += result.created
        summary.updated += result.updated
        summary.written += result.written
        summary.retried += result.retried
        for failure in result.failures:
            summary.refused += 1
            _report(summary.refused, "%s: refused: %s", failure.id, failure.reason or failure.type)


def _report(number: int, message: str, *values: str) -> None:
    if number <= _REPORTED:
        logger.warning(message, *values)
    elif number == _REPORTED + 1:
        logger.warning("more of the same kind are counted, not named")


def _groups(items: Iterable[Record | Malformed], size: int) -> Iterator[list[Record | Malformed]]:
    stream = iter(items)
    while group := list(islice(stream, size)):
        yield group
