"""The command: what ends it before it serves, what ends it while it does, and the sample it makes for a newcomer."""

import importlib.util
import signal
import socket
import subprocess
import sys
import tarfile
from types import ModuleType

import pytest
import requests
from fastapi import HTTPException
from rich.console import Console

from es_ingest.data import medquad_sample
from es_ingest.faults import Exit
from medte_haystack import MedTETextEmbedder


@pytest.fixture
def run(serve_folder):
    """Run the command to its end."""

    def work(*arguments):
        command = [sys.executable, str(serve_folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    return work


@pytest.mark.parametrize(
    ("index", "options", "status", "says"),
    [
        ("nobody", [], Exit.INDEX, "'nobody'"),
        (None, ["--model", "gte-base"], Exit.INDEX, "all-MiniLM-L6-v2"),
        (None, ["--model", "no/such/folder"], Exit.MODEL, "no/such/folder"),
        (None, ["--es", "http://127.0.0.1:9"], Exit.CLUSTER, "nothing answers"),
    ],
)
def test_what_cannot_be_served_ends_it_with_a_word(run, connection, served_index, index, options, status, says) -> None:
    done = run("--port", "0", "--es", connection.url, "--index", index or served_index, *options)
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_port_that_is_taken_is_told_at_once(run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        done = run("--port", str(other.getsockname()[1]))
    assert done.returncode == Exit.USAGE
    assert "choose another --port" in done.stderr.replace("\n", " ")


def test_sigterm_ends_it_in_order(serve, connection, served_index) -> None:
    with serve("--es", connection.url, "--index", served_index) as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(30) == 0
    assert "Traceback" not in "".join(running.said)


def test_the_sample_is_indexed_once(serve_folder, connection, index, tmp_path, monkeypatch) -> None:
    spec = importlib.util.spec_from_file_location("serve_main", serve_folder / "__main__.py")
    command = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(command)
    with tarfile.open(medquad_sample()) as every:
        some = [one for one in every.getmembers() if one.name.endswith(".xml")][:3]
        every.extractall(tmp_path, some, filter="data")
    monkeypatch.setattr("es_ingest.data.medquad_sample", lambda: tmp_path)
    monkeypatch.setattr(command, "SAMPLE_INDEX", index)
    console = Console(stderr=True)
    with connection.client() as client:
        command._ensure_sample(client, "minilm", console, quiet=True)
        made = client.indices.stats(index=index)["_all"]["primaries"]["indexing"]["index_total"]
        command._ensure_sample(client, "minilm", console, quiet=True)
        assert client.indices.stats(index=index)["_all"]["primaries"]["indexing"]["index_total"] == made > 3
        client.delete(index=index, id=_first(client, index), refresh=True)
        command._ensure_sample(client, "minilm", console, quiet=True)
        assert client.indices.stats(index=index)["_all"]["primaries"]["indexing"]["index_total"] > made, "made whole"


def _first(client, index):
    return client.search(index=index, query={"term": {"chunk_index": 0}}, size=1)["hits"]["hits"][0]["_id"]


def test_it_listens_on_the_other_loopback_address(serve, connection, served_index) -> None:
    with serve("--es", connection.url, "--index", served_index, "--host", "::1") as running:
        assert running.url.startswith("http://[::1]:")
        assert requests.get(f"{running.url}/health", timeout=30).status_code == 200
        elsewhere = {"Host": "evil.example"}
        assert requests.get(f"{running.url}/health", headers=elsewhere, timeout=30).status_code == 400


async def test_words_alone_are_searched_for_without_the_model(
    serve_folder, connection, served_index, monkeypatch
) -> None:
    folder = ModuleType("serve_search")
    folder.__path__ = [str(serve_folder / "pipelines" / "search")]
    monkeypatch.setitem(sys.modules, "serve_search", folder)
    for name, value in {"ES_URL": connection.url, "SEARCH_INDEX": served_index, "SEARCH_MODEL": "minilm"}.items():
        monkeypatch.setenv(name, value)
    search = importlib.import_module("serve_search.pipeline_wrapper").PipelineWrapper()
    search.setup()

    async def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(MedTETextEmbedder, "run_async", fail)
    assert len((await search.run_api_async("kidney stones", "lexical"))["documents"]) == 10
    with pytest.raises(HTTPException, match="internal error"):
        await search.run_api_async("kidney stones", "dense")
    await search.store.close_async()
