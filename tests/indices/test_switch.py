"""Aliases that go from one index to another, on the real server."""

import datetime
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from es_ingest.indices.builds import building, builds, claim, holder
from es_ingest.indices.switch import NotWholeError, move, roll_back, take_over
from es_ingest.indices.verify import Finding, Verification, verify
from es_ingest.ingest import target_of
from es_ingest.stream.locking import LedgerError
from es_ingest.stream.target import ledger_path
from medte_haystack.errors import IndexContractError, IndexMissingError
from medte_haystack.index import IndexSpec, Server, create_index, knn_body, run
from tests.indices.conftest import MADE_BY, records, wait_for

NO = "not looked at"


@pytest.fixture
def build(client, fill, alias):
    """Build an index for the alias, as `run --alias` does; returns the switch."""

    def make(count=5, *, keep=9, origin="x", **options):
        with building(client, alias, alias=alias, origin=origin) as one:
            fill(one.index, records(count), meta=one.to_meta(), **options)
            return take_over(client, one, verify(client, one.index, expected=NO), keep=keep)

    return make


def names(client, alias):
    return {one.index for one in builds(client) if one.alias == alias}


def test_a_new_alias_and_the_next_index(client, alias, build):
    first = build(5)
    assert (first.before, first.deleted) == (None, ())
    assert first.after.startswith(f"{alias}-20")
    second = build(7)
    assert second.before == first.after != second.after
    assert holder(client, alias) == second.after
    assert client.count(index=alias)["count"] == 7
    assert verify(client, alias, expected=NO).index == second.after


def test_older_indices_beyond_keep_go_with_their_ledgers(client, alias, build):
    made = [build(keep=1).after, build(keep=1).after]
    old = ledger_path(target_of(client, made[0]))
    assert old.is_file()
    third = build(keep=1)
    assert third.deleted == (made[0],)
    assert names(client, alias) == {made[1], third.after}
    assert not old.exists()
    last = build(keep=0)
    assert set(last.deleted) == {made[1], third.after}
    assert names(client, alias) == {last.after}


def test_what_another_alias_stands_for_is_not_deleted(client, alias, build, caplog):
    first = build(keep=0).after
    client.indices.put_alias(index=first, name=f"{alias}-other")
    assert build(keep=0).deleted == ()
    assert f"{first} stays: another alias" in caplog.text
    assert client.indices.exists(index=first)


def test_rollback_goes_to_the_next_older_one_and_never_forward(client, alias, build):
    a, b, c = (build().after for _ in range(3))
    assert roll_back(client, alias).to_dict() == {"alias": alias, "before": c, "after": b, "deleted": ()}
    assert holder(client, alias) == b
    assert roll_back(client, alias).after == a
    with pytest.raises(IndexContractError, match=f"no older index of alias '{alias}' than '{a}'") as caught:
        roll_back(client, alias)
    assert b in str(caught.value)
    assert roll_back(client, alias, c).before == a
    assert holder(client, alias) == c


def test_what_was_rolled_back_from_is_the_first_to_go(client, alias, build):
    build()
    good, bad = build().after, build().after
    roll_back(client, alias)
    following = build(keep=1)
    assert following.before == good
    assert bad in following.deleted
    assert good not in following.deleted
    assert roll_back(client, alias).after == good


def test_a_rollback_to_one_that_is_named(client, alias, build, fill):
    a, b = build().after, build().after
    with pytest.raises(IndexMissingError):
        roll_back(client, alias, f"{alias}-none")
    with pytest.raises(IndexContractError, match="name an index"):
        roll_back(client, alias, alias)
    client.indices.create(index=f"{alias}-foreign")
    with pytest.raises(IndexContractError, match="not made by medte"):
        roll_back(client, alias, f"{alias}-foreign")
    with building(client, alias, alias=alias, origin="y") as one:
        fill(one.index, records(1), meta=one.to_meta())
        with pytest.raises(IndexContractError, match="is not whole"):
            roll_back(client, alias, one.index)
    assert holder(client, alias) == b
    fill(f"{alias}-by-hand", records(1))
    assert roll_back(client, alias, f"{alias}-by-hand").before == b
    assert roll_back(client, alias, a).before == f"{alias}-by-hand"


def test_a_rollback_of_what_is_no_alias(client, alias, fill):
    with pytest.raises(IndexContractError, match="there is no alias"):
        roll_back(client, alias)
    fill(f"{alias}-1", records(1))
    with pytest.raises(IndexContractError, match="is an index, so it cannot be an alias"):
        roll_back(client, f"{alias}-1")


def test_an_alias_of_several_indices_is_refused(client, alias, fill):
    for name in (f"{alias}-1", f"{alias}-2"):
        fill(name, records(1))
        client.indices.put_alias(index=name, name=alias)
    with pytest.raises(IndexContractError, match="stands for 2 indices"):
        holder(client, alias)


def test_an_alias_keeps_its_filter(client, alias, build):
    first = build(20).after
    shape = {"filter": {"range": {"number": {"lt": 5}}}, "is_hidden": True, "search_routing": "1"}
    client.indices.update_aliases(actions=[{"add": {"index": first, "alias": alias, **shape}}])
    before = client.indices.get_alias(name=alias)[first]["aliases"][alias]
    second = build(20).after
    assert client.indices.get_alias(name=alias) == {second: {"aliases": {alias: before}}}
    assert client.count(index=alias)["count"] == 5


def test_what_does_not_hold_takes_nothing_over(client, alias, build, fill):
    live = build().after
    with building(client, alias, alias=alias, origin="x") as one:
        fill(one.index, records(3), meta=one.to_meta())
        wrong = Verification(one.index, chunks=3, findings=[Finding("missing", 2, "2 chunks are missing", ("a#0",))])
        with pytest.raises(NotWholeError, match=r"stays on .*missing: 2 chunks are missing \(a#0, …\)") as caught:
            take_over(client, one, wrong)
        assert caught.value.verification is wrong
        with pytest.raises(NotWholeError, match="it holds nothing"):
            take_over(client, one, Verification(one.index))
        partial = [Finding("partial", 1, "1 record was refused")]
        assert take_over(client, one, Verification(one.index, chunks=3, findings=partial)).before == live


def test_an_alias_that_somebody_else_moved_is_left_alone(client, alias, build, fill, monkeypatch):
    a, b = build().after, build().after
    with pytest.raises(IndexContractError, match="by somebody else meanwhile"):
        move(client, alias, a, b)
    asked = client.indices.get_alias
    with monkeypatch.context() as patch:  # it goes between the look and the move
        patch.setattr(client.indices, "get_alias", lambda **_: {a: {"aliases": {alias: {}}}})
        with pytest.raises(IndexContractError, match="by somebody else meanwhile"):
            move(client, alias, a, b)
    assert asked(name=alias).keys() == {b}
    with building(client, alias, alias=alias, origin="x") as one:
        fill(one.index, records(3), meta=one.to_meta())
        with pytest.raises(IndexContractError, match=f"stands for '{b}' now, no more for '{a}'"):
            take_over(client, one, verify(client, one.index, expected=NO), instead_of=a)
    assert holder(client, alias) == b


class TestBegun:
    def test_the_same_goes_on_with_the_same_index(self, client, alias, fill):
        with building(client, alias, alias=alias, origin="x") as one:
            fill(one.index, records(3), meta=one.to_meta())
        with building(client, alias, alias=alias, origin="x") as again:
            assert again == one

    def test_from_something_else_is_refused_and_fresh_deletes_it(self, client, alias, fill):
        with building(client, alias, alias=alias, origin="x") as one:
            fill(one.index, records(3), meta=one.to_meta())
        with (
            pytest.raises(IndexContractError, match=r"begun .* from something else .* --fresh"),
            building(client, alias, alias=alias, origin="y"),
        ):
            pass
        with building(client, alias, alias=alias, origin="y", fresh=True) as other:
            assert other.index != one.index or not client.indices.exists(index=one.index)
        assert not client.indices.exists(index=one.index)

    def test_two_at_once_are_not(self, client, alias):
        with (
            building(client, alias, alias=alias, origin="x"),
            pytest.raises(LedgerError, match="in use by another es-ingest"),
            building(client, alias, alias=alias, origin="x"),
        ):
            pass

    def test_a_name_that_is_taken_gets_a_number(self, client, alias, monkeypatch, build):
        moment = "2026-01-02T03:04:05+00:00"

        class Frozen(datetime.datetime):
            @classmethod
            def now(cls, zone=None):
                return cls.fromisoformat(moment)

        monkeypatch.setattr("es_ingest.indices.builds.datetime.datetime", Frozen)
        assert [build().after for _ in range(3)] == [f"{alias}-20260102-030405{end}" for end in ("", "-2", "-3")]

    def test_a_kill_between_the_switch_and_its_note_is_mended(self, client, alias, build, fill):
        a = build().after
        with building(client, alias, alias=alias, origin="x") as one:
            fill(one.index, records(3), meta=one.to_meta())
            move(client, alias, a, one.index)  # and then the power fails
        assert {found.state for found in builds(client) if found.index == one.index} == {"building"}
        assert roll_back(client, alias).after == a, "a rollback works all the same"
        move(client, alias, a, one.index)
        with building(client, alias, alias=alias, origin="x") as following:
            assert following.index != one.index, "it is not gone on with: it is searched"
        assert {found.state for found in builds(client) if found.index == one.index} == {"done"}


def test_searches_notice_nothing_of_a_switch(client, connection, alias, build, fill):
    build(200, keep=0)
    stop, found, failed = threading.Event(), [], []
    body = knn_body(next(records(1)).vector, top_k=20)
    body |= {"size": 5, "collapse": {"field": "parent_id"}}

    def search():
        with connection.client() as own:
            while not stop.is_set():
                try:
                    found.append(len(own.search(index=alias, body=body)["hits"]["hits"]))
                except Exception as error:  # noqa: BLE001
                    failed.append(repr(error))

    thread = threading.Thread(target=search)
    thread.start()
    try:
        for _ in range(4):
            build(200, keep=1)
        roll_back(client, alias)
        time.sleep(0.2)
    finally:
        stop.set()
        thread.join()
    assert not failed
    assert len(found) > 50
    assert set(found) == {5}


def rows(number):
    return "".join(f'{{"id": "n{n}", "text": "Note {n} of the kidney and its stones."}}\n' for n in range(number))


def acknowledged(folder):
    """How many records the one ledger under a folder has."""
    (ledger,) = folder.rglob("*.sqlite")
    with closing(sqlite3.connect(ledger, timeout=30)) as base:
        return base.execute("select count(*) from record").fetchone()[0]


class TestTwoMachines:
    """Whose locks the other cannot see."""

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


def test_a_killed_build_goes_on_and_then_switches(client, es_ingest, begin, begun, alias, tmp_path):
    Path(tmp_path, "notes.jsonl").write_text(rows(3000))
    arguments = ["run", "notes.jsonl", "--alias", alias, "--model", "minilm", "--json", "--quiet"]
    process = begin("-m", "es_ingest.cli", *arguments)
    index, _ = wait_for(begun, process)
    wait_for(lambda: acknowledged(tmp_path), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert holder(client, alias) is None
    done = es_ingest(*arguments)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["switch"] == {"alias": alias, "before": None, "after": index, "deleted": []}
    assert told["unchanged"] > 0, "what the ledger had was not encoded again"
    assert told["unchanged"] + told["records"] == 3000
    assert es_ingest("verify", alias).returncode == 0
    assert names(client, alias) == {index}
    back = es_ingest("rollback", alias)
    assert (back.returncode, "no older index" in back.stderr) == (6, True)


def test_an_interrupted_build_does_not_switch(client, es_ingest, begin, begun, alias, tmp_path):
    Path(tmp_path, "notes.jsonl").write_text(rows(30_000))  # so that it is not over at once
    process = begin("-m", "es_ingest.cli", "run", "notes.jsonl", "--alias", alias, "--model", "minilm", "--json")
    index, _ = wait_for(begun, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert json.loads(out)["switch"] is None
    assert holder(client, alias) is None
    Path(tmp_path, "other.jsonl").write_text(rows(3000))
    other = es_ingest("run", "other.jsonl", "--alias", alias, "--model", "minilm")
    assert (other.returncode, f"index '{index}' was begun" in other.stderr) == (6, True)


def test_records_that_are_refused_do_not_stand_in_the_way_unless_they_are_too_many(client, es_ingest, alias, tmp_path):
    Path(tmp_path, "notes.jsonl").write_text('{"id": "a", "text": "Gout."}\nbroken\n')
    run = ["run", "notes.jsonl", "--alias", alias, "--model", "minilm", "--json", "--quiet"]
    strict = es_ingest(*run, "--max-dead", "0")
    assert strict.returncode == 8, strict.stderr
    assert holder(client, alias) is None
    done = es_ingest(*run)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["switch"]["after"] == holder(client, alias)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give one of --index"),
        (["--index", "a", "--alias", "b"], "give one of --index"),
        (["--index", "a", "--keep", "2"], "--keep goes with --alias"),
        (["--alias", "b", "--ledger", "x"], "--ledger goes with --index"),
    ],
)
def test_options_that_do_not_go_together(es_ingest, arguments, said):
    done = es_ingest("run", "notes.jsonl", *arguments)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
