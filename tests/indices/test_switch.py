"""Aliases that go from one index to another, on the real server."""

import datetime
import json
import signal
import sqlite3
import threading
import time
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from es_ingest.indices.builds import building, builds, clear, holder
from es_ingest.indices.switch import NotWholeError, move, roll_back, take_over
from es_ingest.indices.verify import Finding, Verification, verify
from es_ingest.stream.locking import LedgerError, alone
from es_ingest.stream.target import ledger_path, target_of
from medte_haystack.errors import IndexContractError
from medte_haystack.index import knn_body
from tests.indices.conftest import NOT_LOOKED_AT, names, records, rows, wait_for


def test_a_new_alias_and_the_next_index(client, alias, build):
    first = build(5)
    assert (first.before, first.deleted) == (None, ())
    assert first.after.startswith(f"{alias}-20")
    second = build(7)
    assert second.before == first.after != second.after
    assert holder(client, alias) == second.after
    assert client.count(index=alias)["count"] == 7
    assert verify(client, alias, expected=NOT_LOOKED_AT).index == second.after


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
            take_over(client, one, verify(client, one.index, expected=NOT_LOOKED_AT), instead_of=a)
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
            assert client.indices.exists(index=one.index), "until it is known that another can be made"
            fill(other.index, records(3), meta=other.to_meta(), make_room=partial(clear, client, other))
        assert names(client, alias) == {other.index}

    def test_fresh_deletes_nothing_if_no_other_can_be_made(self, client, alias, fill):
        with building(client, alias, alias=alias, origin="x") as one:
            fill(one.index, records(3), meta=one.to_meta())
        with (
            building(client, alias, alias=alias, origin="x", fresh=True) as other,
            pytest.raises(IndexContractError, match=r"nothing was deleted, .*engish"),
        ):
            fill(other.index, [], meta=other.to_meta(), make_room=partial(clear, client, other), analyzer="engish")
        assert client.indices.get(index=f"{alias}*").keys() == {one.index}
        with building(client, alias, alias=alias, origin="x") as again:
            assert again == one

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


def acknowledged(folder):
    """How many records the one ledger under a folder has."""
    (ledger,) = folder.rglob("*.sqlite")
    with closing(sqlite3.connect(ledger, timeout=30)) as base:
        return base.execute("select count(*) from record").fetchone()[0]


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


def test_an_old_index_whose_ledger_is_in_use_stays(client, alias, build, caplog):
    first, second = build(5).after, build(6).after
    with alone(ledger_path(target_of(client, first)), "the ledger"):
        third = build(7, keep=1)
    assert holder(client, alias) == third.after
    assert third.deleted == ()
    assert f"index {first} stays: " in caplog.text
    assert names(client, alias) == {first, second, third.after}
