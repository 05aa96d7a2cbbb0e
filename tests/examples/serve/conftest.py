"""The server of examples/serve as a process, over an index of its own."""

import importlib.util
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from es_ingest.data import medquad_sample
from es_ingest.ingest import Ingester
from es_ingest.readers import read
from es_ingest.records import Record
from medte_haystack.encoder import Encoder

TESTS = Path(__file__).parents[2]
SERVE = TESTS.parent / "examples" / "serve"
MODEL = "minilm"

HOSTILE = Record(
    "odd/<b>&\"'#?😀",
    "<img src=x onerror=\"document.title='taken'\"> Zebrafish",
    "<script>document.title='taken'</script> The zebrafish 😀 & its <b>stripes</b>. "
    + "Stripes do not wash off. " * 80,
    {"source": "<i>odd</i>", "url": "javascript:document.title='taken'", "question": "<u>Why</u> stripes?"},
    "odd",
)


@pytest.fixture(scope="session")
def records():
    """Answers of the three sources, those about kidney stones among them, and one that would like to be a page."""
    every = [one for one in read([str(medquad_sample())], "medquad") if isinstance(one, Record)]
    some = {one.id: one for one in every if "Kidney Stones" in one.title} | {one.id: one for one in every[::24]}
    return [*some.values(), HOSTILE]


@pytest.fixture(scope="session")
def served_index(connection, records):
    """An index of them."""
    name = f"test-serve-{uuid4().hex[:8]}"
    with connection.client() as client:
        Ingester(client, name, Encoder.load(MODEL, device="cpu"), replicas=0).run(records)
        yield name
        client.indices.delete(index=name)


@contextmanager
def serving(*arguments):
    """Run the server with these arguments on a free port."""
    command = [sys.executable, str(SERVE), "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = []
    listener = threading.Thread(target=lambda: said.extend(process.stderr), daemon=True)
    listener.start()
    try:
        line = process.stdout.readline()  # empty if it ended
        assert line.startswith("Search page"), "".join(said)
        url = line.split()[-1].rstrip("/")
        yield SimpleNamespace(url=url, process=process, said=said)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)
        listener.join(10)


@pytest.fixture(scope="session")
def serve_folder():
    """Where the example is."""
    return SERVE


@pytest.fixture(scope="session")
def serve():
    """Runs the server: a context manager."""
    return serving


@pytest.fixture(scope="session")
def server(connection, served_index):
    """A server over the index."""
    with serving("--es", connection.url, "--index", served_index) as running:
        yield running
    assert running.process.returncode == 0, "".join(running.said)


@pytest.fixture
def proxy(connection):
    """Stands between a server and Elasticsearch; `away` cuts all that comes."""
    spec = importlib.util.spec_from_file_location("serve_proxy", TESTS / "faults" / "proxy.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    address = urlsplit(connection.url)
    with module.Proxy(address.hostname, address.port, share=1.0) as found:
        found.done = {"cut": 0}
        found.calm = True
        yield found


@pytest.fixture(scope="session")
def eventually():
    """Waits until a condition holds, and returns what it gave."""

    def wait(condition, seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            if found := condition():
                return found
            assert time.monotonic() < deadline, "it did not come about"
            time.sleep(0.05)

    return wait
