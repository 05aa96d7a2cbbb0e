"""Fixtures that all tests share: one real server for the session, a fresh index name for each test."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from es_ingest.cluster import Connection, open_cluster


@pytest.fixture(scope="session")
def connection() -> Iterator[Connection]:
    """A real server, empty at the start: what `auto` finds, or MEDTE_TEST_ES in the version MEDTE_TEST_ES_VERSION."""
    version = os.environ.get("MEDTE_TEST_ES_VERSION")
    with open_cluster(os.environ.get("MEDTE_TEST_ES", "auto"), ephemeral=True, heap="1g", version=version) as found:
        yield found


@pytest.fixture
def index(connection: Connection, request: pytest.FixtureRequest) -> Iterator[str]:
    """A name for an index, which is deleted after the test."""
    name = f"test-{re.sub('[^a-z0-9]+', '-', request.node.name.lower())[:60]}-{uuid4().hex[:8]}"
    yield name
    with connection.client() as client:
        client.options(ignore_status=404).indices.delete(index=name)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Ledgers and dead letters of this session stay away from the user's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ES_INGEST_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """A command that a test runs in this process leaves no handlers and levels to the next test."""
    found = [logging.getLogger(name) for name in ("es_ingest", "medte_haystack", "medte_eval", "medte_train")]
    before = [(logger.level, logger.handlers, logger.propagate) for logger in found]
    yield
    for logger, (level, handlers, propagate) in zip(found, before, strict=True):
        logger.setLevel(level)
        logger.handlers, logger.propagate = handlers, propagate


@pytest.fixture(scope="session")
def cross_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny cross-encoder of random weights: its order means nothing, but is always the same."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from medte_haystack.encoder.files import locate

    folder = tmp_path_factory.mktemp("cross-encoder")
    tokenizer = AutoTokenizer.from_pretrained(locate("minilm").folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=1, **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
