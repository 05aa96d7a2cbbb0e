"""Stores on the real server, unit vectors, and an eye on what is sent."""

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from elastic_transport import Transport
from haystack import Document

from medte_haystack import MedTEDocumentStore

torch.set_num_threads(1)  # threads that wait for one another are slow where tests share few cores


@pytest.fixture
def make_store(connection, index) -> Iterator[Callable[..., MedTEDocumentStore]]:
    """Make stores over the test's index, which are closed after the test."""
    stores = []

    def make(**options: object) -> MedTEDocumentStore:
        stores.append(MedTEDocumentStore(**{"hosts": connection.url, "index": index, "replicas": 0, **options}))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def contract_store(make_store) -> MedTEDocumentStore:
    """An empty store of an index that follows the contract, with exact search."""
    return make_store(model="minilm", quantisation="flat")


@pytest.fixture(scope="session")
def unit_vectors() -> np.ndarray:
    """Random unit vectors of 384 dimensions."""
    vectors = np.random.default_rng(11).normal(size=(150, 384)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def documents(unit_vectors) -> list[Document]:
    """Documents with vectors, each with its number in the metadata."""
    return [
        Document(id=f"d{number}", content=f"Text number {number}.", embedding=vector.tolist(), meta={"number": number})
        for number, vector in enumerate(unit_vectors)
    ]


@pytest.fixture
def requests(monkeypatch) -> list[SimpleNamespace]:
    """What blocking clients send from now on: method, target (path and query) and body."""
    sent: list[SimpleNamespace] = []
    send = Transport.perform_request

    def perform_request(self, method, target, *, body=None, **options):
        sent.append(SimpleNamespace(method=method, target=target, body=body))
        return send(self, method, target, body=body, **options)

    monkeypatch.setattr(Transport, "perform_request", perform_request)
    return sent
