"""Indices by the contract with vectors that are hard enough to quantise, on the real server."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch
from numpy.typing import NDArray

from es_ingest.cluster import Connection
from medte_haystack.index import (
    Chunk,
    Fingerprint,
    IndexInfo,
    IndexSpec,
    bulk,
    create_index,
    describe_index,
    detect_server,
    operation,
    run,
    source,
    vector_json,
)

COMMAND = Path(sys.executable).with_name("es-ingest")
DIM = 64


def random_vectors(count: int, dim: int = DIM, seed: int = 0) -> NDArray[np.float32]:
    """Unit vectors in clusters of about 50, as texts on the same things."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(max(1, count // 50), dim))
    found = centres[chance.integers(0, len(centres), count)] + 0.8 * chance.normal(size=(count, dim))
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def client(connection: Connection) -> Iterator[Elasticsearch]:
    """A client; the test fails if it leaves a temporary index behind."""
    with connection.client() as client:
        yield client
        assert temporary(client) == set()


def temporary(client: Elasticsearch, index: str = "*") -> set[str]:
    return set(client.indices.get_alias(index=f"{index}-tune-*", expand_wildcards="all"))


@pytest.fixture
def fill(client: Elasticsearch, index: str) -> Callable[..., IndexInfo]:
    """Writes vectors into the test's index."""

    def write(vectors: NDArray[np.float32], model: str = "test/model", **spec: Any) -> IndexInfo:
        server = run(client, detect_server())
        fingerprint = Fingerprint(model, vectors.shape[1], "mean")
        run(client, create_index(index, IndexSpec(fingerprint=fingerprint, replicas=0, **spec), server))
        operations = (
            operation(
                "index",
                f"d{row}#0",
                source(Chunk(f"d{row}", "secret text"), vector_json(vector, base64_vectors=server.base64_vectors)),
            )
            for row, vector in enumerate(vectors)
        )
        assert run(client, bulk.write(index, operations)).created == len(vectors)
        client.indices.refresh(index=index)
        found: IndexInfo = run(client, describe_index(index))
        return found

    return write


@pytest.fixture
def es_ingest(connection: Connection, tmp_path: Path) -> Callable[..., "subprocess.Popen[str]"]:
    """Starts the command as a user types it."""

    def start(*arguments: str) -> "subprocess.Popen[str]":
        environment = {**os.environ, "ES_URL": connection.url, "NO_COLOR": "1"}
        return subprocess.Popen(
            [COMMAND, *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=_hear_interrupts,
        )

    return start


def _hear_interrupts() -> None:
    """Undo what a shell does to jobs in the background: it has them ignore SIGINT, and the tests' own processes too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
