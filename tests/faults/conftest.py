"""What the faults are tried on: a program that writes, and a look at what is in the index afterwards."""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import pytest

from es_ingest.cluster.distribution import RELEASES
from es_ingest.cluster.folders import server_user
from es_ingest.cluster.jdk import find_jdks
from es_ingest.stream.ledger import Ledger
from medte_haystack.index.contract import CHUNK_INDEX, CONTENT, PARENT_ID

_PROGRAM = Path(__file__).with_name("driver.py")
_MOST_MB = 300  # of the program


def module_of(path):
    """Load a file beside this one as a module."""
    spec = importlib.util.spec_from_file_location(f"faults_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def driver():
    """The program as a module."""
    return module_of(_PROGRAM)


@pytest.fixture(scope="session")
def proxy_class():
    """The proxy that misbehaves."""
    return module_of(_PROGRAM.with_name("proxy.py")).Proxy


@pytest.fixture
def start():
    """Starts the program; what still runs at the end is killed."""
    running = []

    def begin(task, **options):
        process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), json.dumps(asdict(task))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            **options,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def end():
    """Waits until the program ends, well or not, in bounded memory; returns what it printed."""

    def wait(process, timeout=300):
        out, err = process.communicate(timeout=timeout)
        peaks = re.findall(r"^peak (\d+) MB$", out, re.MULTILINE)
        assert len(peaks) == 1, err
        assert 0 < int(peaks[0]) < _MOST_MB
        return out, err

    return wait


@pytest.fixture
def kill(driver):
    """Kills the program, which was in bounded memory until then; returns its status."""

    def end_at_once(process):
        assert driver.peak_mb(process.pid) < _MOST_MB
        process.kill()
        return process.wait()

    return end_at_once


@pytest.fixture
def finish(start, end):
    """Runs the program to its end; returns its summary."""

    def work(task, process=None):
        process = process or start(task)
        out, err = end(process)
        assert process.returncode == 0, err
        return json.loads(out.splitlines()[-1])

    return work


@pytest.fixture
def task(driver, connection, index, tmp_path):
    """Makes tasks on the shared server."""

    def make(records, **others):
        values = {"url": connection.url, "index": index, "ledger": str(tmp_path / "ledger.sqlite")}
        return driver.Task(**(values | {"dead": str(tmp_path / "dead.jsonl"), "records": records} | others))

    return make


@pytest.fixture
def check_whole(driver, connection):
    """Checks that an index and a ledger hold every record of a task once, with its content and its vector."""

    def check(task, client=None, lacking=()):
        if client is None:
            with connection.client() as found:
                check(task, found, lacking)
            return
        client.indices.refresh(index=task.index)
        expected = {number for number in range(task.records) if number not in lacking}
        seen = {}
        for hit in _documents(client, task.index):
            number = int(hit["_source"][PARENT_ID][1:])
            assert number not in seen, f"record {number} is there twice"
            seen[number] = hit["_source"]
        assert seen.keys() == expected
        for number, source in seen.items():
            assert source[CONTENT] == driver.text(task, number)
            assert source[CHUNK_INDEX] == 0
            assert source["embedding"] == pytest.approx(driver.vector(number).tolist(), abs=1e-6)
        if task.ledger:
            target = driver.target(client, task.index)
            with Ledger(Path(task.ledger), target, "", {}) as ledger:
                assert {int(name[1:]) for name, _, _ in ledger.records()} == expected

    return check


@pytest.fixture(scope="module")
def folder():
    """For a test's own server, which may enter it; pytest's own are closed to it when root runs the tests."""
    oldest = min(release.java for release in RELEASES)
    if all(found.lack(oldest) for found in find_jdks(server_user())):
        pytest.skip(f"no JDK >= {oldest} here")
    with tempfile.TemporaryDirectory(prefix="medte-test-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


def _documents(client, index):
    after = None
    while True:
        body = {"size": 5000, "sort": ["parent_id"], "_source": {"exclude_vectors": False}, "query": {"match_all": {}}}
        hits = client.search(index=index, body=body | ({"search_after": after} if after else {}))["hits"]["hits"]
        if not hits:
            return
        yield from hits
        after = hits[-1]["sort"]
