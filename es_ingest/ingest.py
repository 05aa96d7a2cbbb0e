"""Records in, searchable chunks out: read -> split -> encode -> bulk, as one stream in bounded memory."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_ingest.progress import Shown
from es_ingest.records import Malformed, Record
from es_ingest.writer import PlacedChunk, Writer, report
from medte_haystack.encoder import Encoder, TokenSplitter
from medte_haystack.errors import IndexContractError
from medte_haystack.index import (
    DEFAULT_QUANTISATION,
    Chunk,
    Fingerprint,
    IndexInfo,
    IndexSpec,
    Server,
    detect_server,
    open_index,
    run,
    source,
    vector_json,
)

logger = logging.getLogger(__name__)

_SPLIT_TOGETHER = 256  # records whose tokens are counted in one call


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
    :param removed: Chunks that a record had before and has no more.
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
    removed: int = 0
    tokens: int = 0
    truncated: int = 0
    seconds: float = 0.0
    encode_seconds: float = 0.0
    quantisation: str = ""
    fingerprint: dict[str, Any] = field(default_factory=dict)

    def take(self, writer: Writer) -> None:
        """Take over what a writer did."""
        done = writer.result
        self.created, self.updated, self.written = done.created, done.updated, done.written
        self.retried, self.removed, self.refused = done.retried, writer.removed, len(done.failures)
        self.failed = self.malformed + self.refused

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
        shape = IndexSpec(
            self.fingerprint,
            DEFAULT_QUANTISATION if quantisation is None else quantisation,
            analyzer=analyzer,
            shards=shards,
            replicas=replicas,
        )
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

    def run(self, items: Iterable[Record | Malformed], progress: Shown | None = None) -> Summary:
        """Write all records.

        Malformed rows and refused chunks are logged with their position and counted; everything else goes on. Writing
        the same records again changes nothing, since ids derive from the records'. A record that has become shorter
        loses the chunks that it no longer has.

        :param items: Records, and rows that are none.
        :param progress: Is told the totals.
        :raises BulkWriteError: If the server stays unreachable.
        """
        started, before = time.perf_counter(), self.encoder.stats
        summary = Summary(self.index, quantisation=self.info.quantisation)
        recorded = self.info.fingerprint or self.fingerprint
        summary.fingerprint = recorded.to_dict()
        was_empty = self.client.count(index=self.index)["count"] == 0
        with Writer(self.client, self.index) as writer:
            for placed, vector in self._encoded(self._chunks(items, summary), summary, progress):
                sent = vector_json(vector, base64_vectors=self.server.base64_vectors)
                writer.put(placed, source(placed.chunk, sent))
            writer.finish()
            summary.take(writer)
        if was_empty and summary.updated:
            logger.warning("%d chunks replaced others of the same run: ids repeat in the sources", summary.updated)
        encoded = self.encoder.stats - before
        summary.tokens, summary.truncated, summary.encode_seconds = encoded.tokens, encoded.truncated, encoded.seconds
        summary.seconds = time.perf_counter() - started
        return summary

    def _chunks(self, items: Iterable[Record | Malformed], summary: Summary) -> Iterator[PlacedChunk]:
        for group in _groups(items, _SPLIT_TOGETHER):
            records = []
            for item in group:
                summary.read += 1
                if isinstance(item, Record):
                    records.append(item)
                    continue
                summary.malformed += 1
                report(summary.malformed, "%s: not a record: %s", item.position, item.reason)
            texts, titles = [one.text for one in records], [one.title for one in records]
            for record, pieces in zip(records, self.splitter.split_many(texts, titles=titles), strict=True):
                for number, piece in enumerate(pieces):
                    summary.chunks += 1
                    chunk = Chunk(record.id, piece.text, number, piece.start, piece.end, record.title, record.meta)
                    yield PlacedChunk(chunk, len(pieces), record.position)

    def _encoded(
        self, chunks: Iterable[PlacedChunk], summary: Summary, progress: Shown | None
    ) -> Iterator[tuple[PlacedChunk, NDArray[np.float32]]]:
        waiting: deque[PlacedChunk] = deque()  # read ahead by the encoder: a few of its windows

        def texts() -> Iterator[str]:
            for placed in chunks:
                waiting.append(placed)
                yield placed.chunk.embedded_text

        before, records = self.encoder.stats, 0
        for done, vector in enumerate(self.encoder.encode_stream(texts()), start=1):
            placed = waiting.popleft()
            records += placed.chunk.index == 0
            yield placed, vector
            if progress is not None:
                tokens = (self.encoder.stats - before).tokens
                progress.update(records=records + summary.malformed, chunks=done, tokens=tokens)


def _groups(items: Iterable[Record | Malformed], size: int) -> Iterator[list[Record | Malformed]]:
    stream = iter(items)
    while group := list(islice(stream, size)):
        yield group
