"""Two machines, whose locks the other cannot see, build for one alias on the real server."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from es_ingest.indices.builds import building, claim, holder
from es_ingest.indices.switch import move
from medte_haystack.errors import IndexContractError
from medte_haystack.index import IndexSpec, Server, create_index, run
from tests.indices.conftest import MADE_BY, names, records, rows, wait_for


class TestTwoMachines:
    @pytest.fixture
    def on(self, tmp_path, monkeypatch):
        return lambda machine: monkeypatch.setenv("ES_INGEST_STATE", str(tmp_path / machine))

    def test_that_begin_at_once_only_one_builds(self, client, alias, fill, on):
        on("a")
        with building(client, alias, alias=alias, origin="x") as first:
            on("b")
            with building(client, alias, alias=alias, origin="x") as second:
                second = replace(second, index=f"{second.index}-b")
                fill(first.index, records(3), meta=first.to_meta())
                claim(client, first)
                time.sleep(0.01)
                run(client, create_index(second.index, IndexSpec(MADE_BY, meta=second.to_meta()), Server(None)))
                with pytest.raises(IndexContractError, match=f"'{first.index}' is being built .* begun first; wait"):
                    claim(client, second)
                claim(client, first)
        assert names(client, alias) == {first.index}

    def test_in_the_same_millisecond_the_first_name_builds(self, client, alias, fill, on, monkeypatch):
        on("a")
        with building(client, alias, alias=alias, origin="x") as one:
            first, second = (replace(one, index=f"{one.index}-{end}") for end in "ab")
            for index in (second, first):
                fill(index.index, records(3), meta=index.to_meta())
            settings = {name: {"settings": {"index.creation_date": "1"}} for name in (first.index, second.index)}
            monkeypatch.setattr(type(client.indices), "get_settings", lambda *_, **__: settings)
            claim(client, first)
            with pytest.raises(IndexContractError, match=f"'{first.index}' is being built .* begun first; wait"):
                claim(client, second)
        assert names(client, alias) == {first.index}

    def test_nor_do_they_build_one_index_together(self, client, alias, fill, on):
        on("a")
        with building(client, alias, alias=alias, origin="x") as first:
            on("b")
            with building(client, alias, alias=alias, origin="x") as second:
                second = replace(second, index=first.index)  # as in the same second
                fill(first.index, records(3), meta=first.to_meta())
                claim(client, first)
                with pytest.raises(IndexContractError, match="is being built by somebody else; wait"):
                    claim(client, second)
        assert client.count(index=first.index)["count"] == 3

    def test_an_alias_that_both_make_is_made_once(self, client, alias, fill):
        a, b = f"{alias}-a", f"{alias}-b"
        fill(a, records(3))
        fill(b, records(3))
        move(client, alias, None, a)
        with pytest.raises(IndexContractError, match=f"alias '{alias}' was made by somebody else meanwhile"):
            move(client, alias, None, b)
        assert holder(client, alias) == a
        move(client, alias, a, b)
        assert holder(client, alias) == b

    def test_the_command(self, client, environment, es_ingest, begin, begun, alias, tmp_path):
        Path(tmp_path, "notes.jsonl").write_text(rows(3000))
        arguments = ["run", "notes.jsonl", "--alias", alias, "--model", "minilm", "--json", "--quiet"]
        process = begin("-m", "es_ingest.cli", *arguments)
        index, _ = wait_for(begun, process)
        process.send_signal(signal.SIGSTOP)  # so that it has not ended when the other begins
        elsewhere = {"ES_INGEST_STATE": str(tmp_path / "elsewhere")}
        second = es_ingest(*arguments, **elsewhere)
        process.send_signal(signal.SIGCONT)
        assert (second.returncode, second.stdout) == (6, ""), second.stderr
        assert f"index '{index}' was begun for alias '{alias}' elsewhere" in second.stderr
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert json.loads(out)["switch"]["after"] == holder(client, alias) == index
        assert client.count(index=alias)["count"] == 3000
        assert names(client, alias) == {index}

    def test_the_command_twice_at_once(self, client, environment, alias, tmp_path):
        Path(tmp_path, "notes.jsonl").write_text(rows(500))
        command = [sys.executable, "-m", "es_ingest.cli", "run", "notes.jsonl", "--alias", alias, "--model", "minilm"]
        both = [
            subprocess.Popen(
                command,
                cwd=tmp_path,
                env={**environment, "ES_INGEST_STATE": str(tmp_path / machine)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for machine in "ab"
        ]
        told = [one.communicate(timeout=120) for one in both]
        assert sorted(one.returncode for one in both) == [0, 6], told
        (lost,) = (err for one, (_, err) in zip(both, told, strict=True) if one.returncode)
        assert "is being built" in lost or "elsewhere" in lost
        assert names(client, alias) == {holder(client, alias)}
        assert client.count(index=alias)["count"] == 500
