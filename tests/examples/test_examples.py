"""The examples run as a user runs them, from another folder."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from haystack import Document
from haystack.components.generators.chat import MockChatGenerator
from haystack.dataclasses import ChatMessage

from es_ingest.data import medquad_sample
from es_ingest.readers import read
from es_ingest.records import Record
from medte_haystack import MedTEDocumentStore, MedTETextEmbedder

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def run_example(connection, tmp_path):
    """Run a script that makes an index, and return what it printed."""

    def run(script, index, *arguments):
        with connection.client() as client:
            client.options(ignore_status=404).indices.delete(index=index)
            env = {**os.environ, "ES_URL": connection.url}
            command = [sys.executable, EXAMPLES / script, *arguments]
            done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
            client.options(ignore_status=404).indices.delete(index=index)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    return run


@pytest.mark.parametrize(("script", "index"), [("pipelines.py", "pipelines-example"), ("from_yaml.py", "yaml-example")])
def test_example_finds_what_it_indexed(script, index, run_example) -> None:
    written, *found = run_example(script, index)
    assert int(written.split()[0]) > 100, "answers longer than the model takes are split"
    assert len(found) == 3
    assert all("Acromegaly" in line for line in found[:2])


def test_rag_cites_the_very_text(run_example) -> None:
    answer = run_example("rag.py", "rag-example")
    texts = {one.id: one.text for one in read([str(medquad_sample())], "medquad") if isinstance(one, Record)}
    cited = [match for line in answer if (match := re.fullmatch(r"(\S+), characters (\d+) to (\d+): (.+)", line))]
    assert len(cited) == 3
    for match in cited:
        parent, start, end, text = match.groups()
        assert " ".join(texts[parent][int(start) : int(end)].split()) == text
        assert f"{text} [{parent}@{start}-{end}]" in answer
    assert "acromegaly" in answer[1]


def test_rag_tells_citations_that_do_not_hold(connection, index, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    rag = importlib.import_module("rag")
    store = MedTEDocumentStore(hosts=connection.url, index=index, model="minilm", quantisation="flat")
    text = "Metformin lowers blood sugar. It is taken with meals."
    parts = {"parent_id": "a", "chunk_index": 0, "chunk_start": 100, "chunk_end": 100 + len(text)}
    vector = MedTETextEmbedder(model="minilm").run(text)["embedding"]
    store.write_documents([Document(id="a#0", content=text, embedding=vector, meta=parts)])
    said = "It lowers sugar [a@100-129]. Daily [a@130-900]. As others say [b@0-5]."
    found = rag.ask(rag.rag_pipeline(store, MockChatGenerator(said)), "what does metformin do?")
    assert found["answer"] == said
    assert [(one.parent, one.start, one.end, one.text) for one in found["citations"]] == [
        ("a", 100, 129, "Metformin lowers blood sugar.")
    ]
    assert found["broken"] == ["[a@130-900]", "[b@0-5]"]
    changed = [rag.Sentence("a", 100, 129, "Metformin raises blood sugar.")]
    checked = rag.CitationChecker(store).run([ChatMessage.from_assistant("So [a@100-129].")], changed)
    assert checked["broken"] == ["[a@100-129]"], "the index says something else"
    store.close()


def test_hybrid_search_finds_and_reranks(run_example, cross_encoder) -> None:
    _, *found = run_example("hybrid.py", "hybrid-example")
    assert len(found) == 5
    assert all("Acromegaly" in line and "dense" in line and "lexical" in line for line in found[:1])
    _, *reranked = run_example("hybrid.py", "hybrid-example", str(cross_encoder))
    assert len(reranked) == 5
