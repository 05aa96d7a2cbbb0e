"""Indices of killed evaluations are removed by the next; others are not touched."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from es_ingest.cluster import Connection
from medte_eval.systems.ownership import META_KEY, Owner, remove_orphans
from medte_eval.systems.texts import TextIndex, Texts

MAKE_ONE = """
import sys, time
from es_ingest.cluster import open_cluster
from medte_eval.systems.ownership import Owner

with open_cluster(sys.argv[1]) as connection, connection.client() as client:
    owner = Owner()
    mark, name = owner.mark(), owner.new_name()
    client.indices.create(index=name, mappings={"_meta": mark})
    print(name, flush=True)
    time.sleep(600)
"""


def make(client: Elasticsearch, owner: Owner) -> str:
    mark, name = owner.mark(), owner.new_name()
    client.indices.create(index=name, mappings={"_meta": mark})
    return name


def test_what_a_killed_process_left_is_removed(connection: Connection, client: Elasticsearch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", MAKE_ONE, connection.url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        lock = client.indices.get_mapping(index=name)[name]["mappings"]["_meta"][META_KEY]["lock"]
        assert name not in remove_orphans(client)  # it lives
        os.kill(process.pid, signal.SIGKILL)

    assert remove_orphans(client) == [name]
    assert not client.indices.exists(index=name)
    assert not Path(lock).exists()
    assert remove_orphans(client) == []


def test_those_of_the_living_and_of_other_machines_stay(client: Elasticsearch, tmp_path: Path) -> None:
    owner = Owner(tmp_path)
    living = make(client, owner)
    elsewhere, unknown = owner.new_name(), owner.new_name()
    client.indices.create(
        index=elsewhere, mappings={"_meta": {META_KEY: {"host": "another", "lock": str(tmp_path / "x.lock")}}}
    )
    gone = {META_KEY: {**owner.mark()[META_KEY], "lock": str(tmp_path / "gone.lock")}}
    client.indices.create(index=unknown, mappings={"_meta": gone})
    try:
        assert remove_orphans(client) == []
        assert all(client.indices.exists(index=name) for name in (living, elsewhere, unknown))
    finally:
        owner.close()
        client.indices.delete(index=f"{living},{elsewhere},{unknown}")
    assert not list(tmp_path.glob("*.lock"))


def test_an_index_that_comes_after_its_interruption_is_removed(
    client: Elasticsearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal while the server is asked for it: what is removed is not there yet."""
    asked: list[tuple[str, Any]] = []

    def interrupted(self: TextIndex, name: str, corpus: object, mark: dict[str, Any]) -> int:
        asked.append((name, mark))
        raise KeyboardInterrupt

    monkeypatch.setattr(TextIndex, "_make", interrupted)
    index = TextIndex(client)
    with pytest.raises(KeyboardInterrupt):
        index.open(Texts(("a",)))
    index.close()
    ((name, mark),) = asked
    client.indices.create(index=name, mappings={"_meta": mark})

    assert remove_orphans(client) == [name]
    assert not Path(mark[META_KEY]["lock"]).exists()


def test_an_index_that_says_nothing_stays(client: Elasticsearch) -> None:
    name = Owner().new_name()
    client.indices.create(index=name)
    try:
        assert remove_orphans(client) == []
    finally:
        client.indices.delete(index=name)


def test_a_leftover_that_cannot_be_removed_is_told(
    client: Elasticsearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    owner = Owner(tmp_path)
    name = make(client, owner)
    assert owner._lock is not None
    owner._lock.release()  # as its death does
    client.indices.put_settings(index=name, settings={"index.blocks.read_only": True})
    try:
        remove_orphans(client)
        assert f"index {name} of a killed evaluation could not be removed" in caplog.text
    finally:
        client.indices.put_settings(index=name, settings={"index.blocks.read_only": False})
        client.indices.delete(index=name)
