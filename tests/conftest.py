"""Fixtures that all tests share: one real server for the session, a fresh index name for each test."""

import os
import re
from collections.abc import Iterator
from types import SimpleNamespace
from uuid import uuid4

import pytest
from elasticsearch import Elasticsearch


@pytest.fixture(scope="session")
def connection() -> Iterator:
    yield SimpleNamespace(url="http://localhost:9333", client=lambda: Elasticsearch("http://localhost:9333"))


@pytest.fixture
def index(connection, request) -> Iterator[str]:
    name = f"test-{re.sub('[^a-z0-9]+', '-', request.node.name.lower())[:60]}-{uuid4().hex[:8]}"
    yield name
    with connection.client() as client:
        client.options(ignore_status=404).indices.delete(index=name)
