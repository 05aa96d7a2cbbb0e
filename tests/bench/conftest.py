"""Fake ways for real worker processes, and tiny models and texts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.encode.shapes import Shape, describe, minilm_folder, random_bert
from bench.encode.texts import Corpus
from bench.encode.ways import Way


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    """Where the fake ways write down when they were asked."""
    return tmp_path / "diary"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, diary: Path) -> Callable[..., Way]:
    """Make a way that a worker can load from this folder."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))

    def make(name: str, *, sweep: bool = False, batch: int | None = 32, **options: Any) -> Way:
        options = {"name": name, "diary": str(diary), **options}
        return Way(name, f"fake {name}", "fakes:FakeWay", options, batch=batch, sweep=sweep, devices=("cpu",))

    return make


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Shape:
    """A random BERT of 2 layers, 32 dimensions and 64 positions."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    config = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    random_bert(folder, minilm_folder(), max_position_embeddings=64, **config)
    return describe("tiny", folder, real=False)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """The shipped sample."""
    return Corpus()
