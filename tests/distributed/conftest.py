"""A real Ray cluster with two workers beside the real server."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from es_ingest.distributed.cluster import Workers, ray_cluster
from es_ingest.distributed.engine import RayEngine
from es_ingest.ingest import Ingester, RunOptions
from es_ingest.records import Record
from medte_haystack.encoder import Encoder
from medte_haystack.index import Fingerprint

COMMAND = Path(sys.executable).with_name("es-ingest")
MADE_UP = Fingerprint(model="made-up", dim=16, pooling="mean")


@pytest.fixture(scope="session")
def workers() -> Iterator[Workers]:
    """A cluster of our own, for the session."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("needs pip install 'medte[ray]'")
    with ray_cluster(None, 2, "cpu") as found:
        yield replace(found, cpus=1)


@pytest.fixture(scope="session")
def encoder() -> Encoder:
    return Encoder.load("minilm", device="cpu", precision="fp32")


@pytest.fixture
def client(connection):
    with connection.client() as found:
        yield found


@pytest.fixture
def ingest(client, connection, workers, index, tmp_path):
    """Runs jobs into an index with one ledger."""

    def work(items, *, encoder=None, engine="ray", encoding=1, stop=None, name=index, **options):
        if encoder is None:
            ingester = Ingester(client, name, None, vectors_by=MADE_UP, quantisation="flat")
        else:
            ingester = Ingester(client, name, encoder, chunk_tokens=32)
        if engine == "ray":
            model = None if encoder is None else "minilm"
            cluster = RayEngine(replace(workers, number=encoding), connection, model, encoder, "fp32", None)
            options["stream"] = options.get("stream") or cluster.stream(ingester.fingerprint)
        keeping = {"ledger": tmp_path / f"{name}.sqlite", "dead": tmp_path / f"{name}.dead.jsonl"}
        return ingester.run(items, None, RunOptions(**(keeping | options)), stop)

    return work


@pytest.fixture
def stored(client, index):
    """Returns what an index holds, by document id."""

    def look(name=index):
        client.indices.refresh(index=name)
        body = {"size": 10_000, "query": {"match_all": {}}, "_source": {"exclude_vectors": False}}
        hits = client.search(index=name, body=body)["hits"]["hits"]
        assert len(hits) < 10_000
        return {hit["_id"]: hit["_source"] for hit in hits}

    return look


@pytest.fixture
def es_ingest(connection, workers, tmp_path):
    """Starts the command on the session's cluster."""
    running = []

    def call(*arguments, **env):
        import ray  # once the cluster has been started

        own = {"ES_URL": connection.url, "NO_COLOR": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(Path.cwd())}
        own |= {"RAY_ADDRESS": ray.get_runtime_context().gcs_address, "ES_INGEST_STATE": str(tmp_path / "state")}
        process = subprocess.Popen(
            [COMMAND, *arguments],
            cwd=tmp_path,
            env={**os.environ, **own, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield call
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def pids():
    """Returns the processes of a stage's workers on the session's cluster."""

    def find(stage):
        children = psutil.Process().children(recursive=True)
        return [one.pid for one in children if f"({stage})" in " ".join(_command_line(one))]

    return find


def _command_line(process):
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def vector(number: int, dim: int = 16) -> np.ndarray:
    found = np.random.default_rng(number).standard_normal(dim)
    return (found / np.linalg.norm(found)).astype(np.float32)


def made(number: int, text: str | None = None, **meta) -> Record:
    """Return a record with a ready-made vector."""
    return Record(f"r{number}", "", text or f"Record {number}.", meta, f"made:{number}", vector(number))


@pytest.fixture(scope="session", name="made")
def _made():
    return made
