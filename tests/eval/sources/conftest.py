"""A server in place of every source's, and an access that asks it without pauses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from medte_eval.sources.access import Access
from tests.eval.sources.server import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Answers in place of all hosts; each API has a folder of its own."""
    with Server() as server:
        for name in ("WIKIPEDIA", "NCBI", "CLINICALTRIALS", "BIORXIV"):
            monkeypatch.setenv(f"MEDTE_{name}_URL", f"{server.url}/{name.lower()}")
        monkeypatch.setenv("HF_ENDPOINT", f"{server.url}/hub")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        for name in ("NCBI_API_KEY", "MEDTE_CONTACT"):
            monkeypatch.delenv(name, raising=False)
        yield server


@pytest.fixture
def access(tmp_path: Path) -> Access:
    return Access(tmp_path / "cache", pace=0, tries=3, timeout=20)
