"""Temporary indices that hold vectors and nothing else, one for each vector index type, and never stay."""

import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any
from uuid import uuid4

import numpy as np
from elastic_transport import TransportError
from elasticsearch import ApiError, Elasticsearch
from numpy.typing import NDArray

from es_ingest.tuning.sample import Tell
from medte_haystack.errors import IndexContractError
from medte_haystack.index import Server, bulk, operation, run, vector_json
from medte_haystack.index.contract import EMBEDDING

logger = logging.getLogger(__name__)

_MERGING_SECONDS = 300.0  # waited at most for merges that the writing has set off
_PATIENCE = 3600.0  # seconds for a request that builds graphs: a refresh, a forced merge
_AT_ONCE = bulk.AT_ONCE * bulk.MAX_COUNT
_BACKOFF = bulk.Backoff(longest=4.0, tries=5)  # nothing is lost by giving up


@dataclass(frozen=True, slots=True)
class Copy:
    """A temporary index of vectors; a document's id is the row of its vector.

    :param index: Its name.
    :param segments: How many the server keeps it in: fewer are faster to search, and find more or less.
    :param seconds: Time that making it took.
    """

    index: str
    segments: int
    seconds: float


@contextmanager
def copies(
    client: Elasticsearch,
    index: str,
    fields: Mapping[str, Mapping[str, Any]],
    vectors: NDArray[np.float32],
    server: Server,
    *,
    shards: int,
    force_merge: bool,
    tell: Tell,
) -> Iterator[dict[str, Copy]]:
    """Make a temporary index for each of `fields`; all are deleted at the end of the ``with`` block, however it ends.

    They are hidden, so that a search of ``notes*`` does not meet them.

    :param index: Index that they are named after.
    :param fields: Mappings of the vector field by the name of their quantisation.
    :param vectors: Unit vectors, shape (n, dim).
    :param shards: Primary shards of each.
    :param force_merge: Merge each shard into one segment.
    :returns: The copies by the name of their quantisation.
    :raises IndexContractError: If the server refuses vectors.
    :raises BulkWriteError: If the server stays unreachable.
    """
    for left in client.indices.get_alias(index=f"{index}-tune-*", expand_wildcards="all"):
        logger.warning("index %s is there already; if no other tuning runs, one was killed: delete it by hand", left)
    run_id = uuid4().hex[:12]
    names = {kind: f"{index}-tune-{kind}-{run_id}" for kind in fields}
    made: dict[str, Copy] = {}
    try:
        for kind, name in names.items():
            started = time.perf_counter()
            with _undisturbed():  # an index that is being made cannot be deleted yet
                _make(client, name, fields[kind], shards)
            _fill(client, name, kind, vectors, server, tell)
            slow = client.options(request_timeout=_PATIENCE, max_retries=0)
            slow.indices.refresh(index=name)
            if force_merge:
                slow.indices.forcemerge(index=name, max_num_segments=1)
            _await_merges(client, name)
            spent = time.perf_counter() - started
            made[kind] = Copy(name, segments(client, name), spent)
            logger.info(
                "made %s: %s vectors, %d segments, %.1f s", name, f"{len(vectors):,}", made[kind].segments, spent
            )
        yield made
    finally:
        with _undisturbed():
            for name in names.values():
                _delete(client, name)


def segments(client: Elasticsearch, index: str) -> int:
    """Return how many segments the primary shards of an index have."""
    return int(client.indices.stats(index=index, metric="segments")["_all"]["primaries"]["segments"]["count"])


def _make(client: Elasticsearch, name: str, field: Mapping[str, Any], shards: int) -> None:
    client.indices.create(
        index=name,
        settings={"number_of_shards": shards, "number_of_replicas": 0, "refresh_interval": "-1", "hidden": True},
        mappings={"dynamic": False, "_source": {"enabled": False}, "properties": {EMBEDDING: dict(field)}},
    )


def _fill(
    client: Elasticsearch, name: str, kind: str, vectors: NDArray[np.float32], server: Server, tell: Tell
) -> None:
    for start in range(0, len(vectors), _AT_ONCE):
        tell(f"writing {kind}", start, len(vectors))
        operations = (
            operation("index", str(row), {EMBEDDING: vector_json(vector, base64_vectors=server.base64_vectors)})
            for row, vector in enumerate(vectors[start : start + _AT_ONCE], start)
        )
        with _undisturbed():  # a request that arrives after the index is deleted would make it anew
            result = run(client, bulk.write(name, operations, backoff=_BACKOFF))
        if result.failures:
            refused, reason = len(result.failures), result.failures[0].reason
            raise IndexContractError(f"the server refused {refused} vectors as {kind}: {reason}", quantisation=kind)


def _await_merges(client: Elasticsearch, name: str) -> None:
    until = time.monotonic() + _MERGING_SECONDS
    while client.indices.stats(index=name, metric="merge")["_all"]["primaries"]["merges"]["current"]:
        if time.monotonic() > until:
            logger.warning("index %s is still being merged; its latencies may be too high", name)
            return
        time.sleep(0.2)


def _delete(client: Elasticsearch, name: str) -> None:
    try:
        client.options(ignore_status=404).indices.delete(index=name)
    except (ApiError, TransportError) as error:  # must not hide the error that may have led here
        logger.warning("index %s could not be deleted (%s); delete it by hand", name, type(error).__name__)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait for the end of the ``with`` block; they reach no other thread than the main one."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        heard.append(number)

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if heard:
            signal.raise_signal(heard[0])
