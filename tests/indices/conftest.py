"""Indices made of ready-made vectors, whose ledgers lie in the test's own folder."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest

from es_ingest.indices.builds import building, builds
from es_ingest.indices.switch import take_over
from es_ingest.indices.verify import verify
from es_ingest.ingest import Ingester, RunOptions
from es_ingest.records import Record
from medte_haystack.index import Fingerprint

DIM = 64
NOT_LOOKED_AT = "not looked at"
MADE_BY = Fingerprint("random", DIM, "mean", max_tokens=256, analyzer="standard")


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("ES_INGEST_STATE", str(tmp_path / "state"))


@pytest.fixture
def client(connection):
    with connection.client() as found:
        yield found


@pytest.fixture
def alias(client, request):
    """A name for an alias; it and all indices whose names begin with it are deleted after the test."""
    name = f"test-{re.sub('[^a-z0-9]+', '-', request.node.name.lower())[:40]}-{uuid4().hex[:8]}"
    yield name
    for index in client.indices.get(index=f"{name}*", features="aliases"):
        client.indices.delete(index=index)


@pytest.fixture
def index(alias):
    """A name for an index, deleted together with all whose names begin with it."""
    return alias


def records(count, *, start=0, **meta):
    """Make records with vectors of their own; the same number always gives the same."""
    for number in range(start, start + count):
        vector = np.random.default_rng(number).normal(size=DIM).astype(np.float32)
        text = f"Note {number} speaks of the kidney."
        yield Record(
            f"r{number}", f"Title {number}", text, {"number": number, **meta}, f"test:{number}", vector / norm(vector)
        )


def rows(number):
    """Make a JSON Lines file's content."""
    return "".join(f'{{"id": "n{n}", "text": "Note {n} of the kidney and its stones."}}\n' for n in range(number))


def names(client, alias):
    """Return the indices that were built for an alias."""
    return {one.index for one in builds(client) if one.alias == alias}


def norm(vector):
    return np.linalg.norm(vector)


@pytest.fixture
def fill(client):
    """Write records into an index, as `run` does; returns the summary."""

    def write(index, items, *, job="", meta=None, **options):
        ingester = Ingester(client, index, None, vectors_by=MADE_BY, replicas=0, meta=meta, **options)
        return ingester.run(items, options=RunOptions(ledger=True, job=job))

    return write


@pytest.fixture
def stored(client):
    """Return what an index holds, vectors included, by document id."""

    def read(index):
        client.indices.refresh(index=index)
        answer = client.search(index=index, size=10_000, source={"exclude_vectors": False})
        return {hit["_id"]: hit["_source"] for hit in answer["hits"]["hits"]}

    return read


@pytest.fixture
def environment(connection, tmp_path):
    root = Path(__file__).parents[2]
    return {
        **os.environ,
        "ES_URL": connection.url,
        "ES_INGEST_STATE": str(tmp_path / "state"),
        "NO_COLOR": "1",
        "PYTHONPATH": str(root),
        "HF_HUB_OFFLINE": "1",
    }


@pytest.fixture
def es_ingest(environment, tmp_path):
    """Run the command."""

    def call(*arguments, timeout=180, **env):
        return subprocess.run(
            [sys.executable, "-m", "es_ingest.cli", *map(str, arguments)],
            cwd=tmp_path,
            env={**environment, **env},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return call


@pytest.fixture
def begin(environment, tmp_path):
    """Start a program that is killed after the test if it still runs."""
    running = []

    def start(*command):
        running.append(
            subprocess.Popen(
                [sys.executable, *map(str, command)],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def wait_for(condition, process, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := condition():
            return found
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("not in time")


@pytest.fixture
def begun(client, alias):
    """Return how many documents the unfinished index holds, and its name."""

    def look(least=1):
        for one in builds(client):
            if one.alias == alias and one.state == "building":
                client.indices.refresh(index=one.index)
                count = client.count(index=one.index)["count"]
                return (one.index, count) if count >= least else None
        return None

    return look


@pytest.fixture
def build(client, fill, alias):
    """Build an index for the alias, as `run --alias` does; returns the switch."""

    def make(count=5, *, keep=9, origin="x", **options):
        with building(client, alias, alias=alias, origin=origin) as one:
            fill(one.index, records(count), meta=one.to_meta(), **options)
            return take_over(client, one, verify(client, one.index, expected=NOT_LOOKED_AT), keep=keep)

    return make
