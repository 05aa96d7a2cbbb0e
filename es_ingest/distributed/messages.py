"""What travels between the driver and its workers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from es_ingest.cluster import Connection
from es_ingest.records import Record
from medte_haystack.encoder import EncodeStats
from medte_haystack.index import BulkResult, Chunk, Fingerprint, bulk


@dataclass(frozen=True, slots=True)
class Recipe:
    """How workers make vectors.

    :param fingerprint: What the index was made with; a worker must come to the same.
    :param model: As the driver was told it; None if the records bring their vectors.
    :param device: ``cpu`` or ``cuda``.
    :param cpus: Cores of one worker.
    """

    fingerprint: Fingerprint
    model: str | None
    device: str
    precision: str
    max_tokens: int | None
    chunk_tokens: int | None
    chunk_overlap: int
    cpus: int


@dataclass(frozen=True, slots=True)
class Destination:
    """Where workers write to.

    :param certificates: What the file of `connection.ca_certs` holds; a worker's machine may not have it.
    """

    connection: Connection
    certificates: str | None
    index: str
    base64_vectors: bool
    backoff: bulk.Backoff


@dataclass(frozen=True, slots=True)
class Given:
    """A record as it is given to the workers.

    :param before: How many chunks of an earlier version the index may hold.
    """

    record: Record
    before: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """Records on the way from the worker that encoded them to the one that writes them.

    :param chunks: Of each record.
    :param vectors: Of all chunks, float32, shape (chunks, dim).
    :param waited: Seconds for which the encoder had nothing to do before.
    """

    given: Sequence[Given]
    chunks: Sequence[Sequence[Chunk]]
    vectors: NDArray[np.float32]
    stats: EncodeStats
    waited: float


@dataclass(frozen=True, slots=True)
class Made:
    """A group is about to be sent; the worker waits for an answer.

    :param chunks: How many each record has.
    """

    number: int
    chunks: Sequence[int]


@dataclass(frozen=True, slots=True)
class Done:
    """The server has answered everything about a group.

    :param reasons: Of each record, why chunks of it were refused.
    :param writer: Which worker it was.
    :param at_once: The most requests that it had under way at a time.
    """

    number: int
    reasons: Sequence[Sequence[str]]
    result: BulkResult
    stats: EncodeStats
    waited: float
    writer: str
    at_once: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A worker cannot go on; the run ends with its error."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Note:
    """Something that a worker logged."""

    level: int
    text: str
