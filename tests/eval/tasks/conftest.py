"""Builders of tasks from made-up exports, and a language model that answers at once."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage

from medte_eval.tasks.building.build import Builder, Options
from medte_eval.tasks.building.opening import Opener, Sources
from medte_eval.tasks.building.rephrase import Rephraser
from medte_haystack.encoder import Encoder
from tests.eval.tasks.exports import write_exports

Make = Callable[..., Builder]


class Given:
    """Opens the same object whatever the source."""

    def __init__(self, source: Any) -> None:
        self.source = source
        self.opened = 0

    def open(self, source: str) -> Any:
        self.opened += 1
        return self.source

    def export(self, source: str) -> str | None:
        return None

    def snapshot(self, source: str) -> dict[str, Any]:
        return {}


def answer(messages: list[ChatMessage]) -> str:
    """What the language model answers: the keys that are asked for, with a word of the document."""
    task, _, document = (messages[-1].text or "").partition("\n\n{")
    shown = json.loads("{" + document)
    title = shown.get("title") or shown["answer"]
    keys = [key for key in ("sentence1", "sentence2", "question", "answer") if f'"{key}"' in task]
    return json.dumps({key: f"{key} about {title}" for key in keys}) if keys else f"In other words: {title}"


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return write_exports(tmp_path_factory.mktemp("exports"))


@pytest.fixture(scope="session")
def turned(tmp_path_factory: pytest.TempPathFactory) -> Opener:
    """The same, each in the opposite order."""
    folder = tmp_path_factory.mktemp("turned")
    return Sources(folder / "cache", offline=True, exports=write_exports(folder, turned=True))


@pytest.fixture
def rephraser(tmp_path: Path) -> Rephraser:
    return Rephraser(MockChatGenerator(response_fn=answer), {"type": "mock"}, tmp_path / "replies", pace=0)


@pytest.fixture
def builder(tmp_path: Path, exports: Mapping[str, Path], encoder: Encoder) -> Make:
    """Makes builders into one folder."""

    def make(sources: Opener | None = None, rephraser: Rephraser | None = None, **options: Any) -> Builder:
        return Builder(
            tmp_path / "tasks",
            sources or Sources(tmp_path / "cache", offline=True, exports=exports),
            lambda texts: encoder.encode(list(texts)),
            options=Options(**options),
            rephraser=rephraser,
        )

    return make
