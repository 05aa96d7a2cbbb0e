"""An index that is deleted so that another can be made in its place, on the real server."""

import os
import signal
from functools import partial

import pytest
from filelock import FileLock

from es_ingest.indices.deletion import make_room, start_over
from es_ingest.indices.trial import KEY, try_out
from es_ingest.ingest import Ingester
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.locking import LedgerError
from es_ingest.stream.target import Target, ledger_path, target_of
from medte_haystack.errors import IndexContractError
from medte_haystack.index import Fingerprint, IndexSpec, detect_server, run
from tests.indices.conftest import MADE_BY, records

SPEC = IndexSpec(MADE_BY, analyzer="standard")


@pytest.fixture
def server(client):
    return run(client, detect_server())


@pytest.fixture
def filled(client, index, fill):
    """An index with records and a ledger."""
    fill(index, records(5))
    return index


@pytest.fixture
def untouched(client, filled):
    """Checks that the index and its ledger are there as they were, and no other one."""
    before = target_of(client, filled)

    def check(*others):
        assert target_of(client, filled) == before
        assert client.count(index=filled)["count"] == 5
        assert ledger_path(before).is_file()
        assert client.indices.get(index=f"{filled}*").keys() == {filled, *others}

    return check


@pytest.fixture
def begin_anew(client, index):
    """What `run --fresh` does."""

    def begin(dim=64, ledger=None, **options):
        made_by = Fingerprint("random", dim, "mean", max_tokens=256)
        room = partial(make_room, client, index, ledger)
        return Ingester(client, index, None, vectors_by=made_by, make_room=room, **options)

    return begin


@pytest.mark.parametrize(
    "options",
    [{"analyzer": "engish"}, {"shards": 5000}, {"quantisation": "bbq", "dim": 16}, {"quantisation": "int4", "dim": 15}],
    ids=["analyzer", "shards", "bbq", "int4"],
)
def test_an_index_that_cannot_be_made_costs_none(begin_anew, filled, untouched, options):
    with pytest.raises(IndexContractError, match="nothing was deleted, since no index can be made"):
        begin_anew(**options)
    untouched()


def test_one_that_can_be_made_takes_its_place(client, begin_anew, filled):
    before = target_of(client, filled)
    begin_anew(dim=96, quantisation="bbq", shards=2)
    assert target_of(client, filled) != before
    assert client.count(index=filled)["count"] == 0
    assert not ledger_path(before).exists()
    assert client.indices.get(index=f"{filled}*").keys() == {filled}


def test_what_is_not_there_is_made_without_a_trial(client, begin_anew, index, monkeypatch):
    made, create = [], client.indices.create
    monkeypatch.setattr(client.indices, "create", lambda **given: made.append(given["index"]) or create(**given))
    begin_anew(analyzer="standard")
    assert made == [index]


def test_the_command(es_ingest, client, index, tmp_path):
    (tmp_path / "notes.jsonl").write_text('{"id": "a", "text": "Gout."}\n')
    arguments = ["run", "notes.jsonl", "--index", index, "--model", "minilm"]
    assert es_ingest(*arguments).returncode == 0
    refused = es_ingest(*arguments, "--fresh", "--analyzer", "engish")
    assert (refused.returncode, "nothing was deleted" in refused.stderr) == (6, True), refused.stderr
    assert client.count(index=index)["count"] == 1
    assert es_ingest(*arguments, "--fresh", "--quantisation", "flat").returncode == 0


class TestTrial:
    @pytest.mark.parametrize("when", ["before", "after"])
    def test_a_signal_leaves_no_trial_and_deletes_nothing(self, client, server, filled, untouched, monkeypatch, when):
        create = client.indices.create

        def interrupted(**given):
            if when == "before":
                os.kill(os.getpid(), signal.SIGINT)
            answer = create(**given)
            if when == "after":
                os.kill(os.getpid(), signal.SIGINT)
            return answer

        monkeypatch.setattr(client.indices, "create", interrupted)
        with pytest.raises(KeyboardInterrupt):
            start_over(client, filled, first=partial(try_out, client, filled, SPEC, server))
        untouched()

    def test_what_a_kill_left_is_no_hindrance(self, client, server, filled, untouched):
        client.indices.create(index=f"{filled}_trial", mappings={"_meta": {KEY: True}})
        try_out(client, filled, SPEC, server)
        untouched()

    def test_an_index_of_somebody_else_stays(self, client, server, filled, untouched):
        client.indices.create(index=f"{filled}_trial")
        with pytest.raises(IndexContractError, match=f"nothing was deleted: index '{filled}_trial' is in the way"):
            start_over(client, filled, first=partial(try_out, client, filled, SPEC, server))
        untouched(f"{filled}_trial")


class TestAnotherLedger:
    """The one that `--ledger` names."""

    @pytest.fixture
    def ledger(self, tmp_path):
        return tmp_path / "l.sqlite"

    def begin(self, client, index, ledger):
        with Ledger(ledger, target_of(client, index), "j", {}):
            pass

    def test_that_is_in_use(self, client, begin_anew, filled, untouched, ledger):
        self.begin(client, filled, ledger)
        with FileLock(f"{ledger}.lock"), pytest.raises(LedgerError, match=r"l\.sqlite is in use by another es-ingest"):
            begin_anew(ledger=ledger)
        untouched()
        begin_anew(ledger=ledger)
        assert not ledger.exists()

    def test_of_another_index(self, begin_anew, filled, untouched, ledger):
        with Ledger(ledger, Target("other", "u"), "j", {}):
            pass
        with pytest.raises(LedgerError, match=f"is about index 'other', not '{filled}'"):
            begin_anew(ledger=ledger)
        untouched()
        assert ledger.is_file()

    def test_that_is_none(self, begin_anew, filled, untouched, ledger):
        ledger.write_text("id,title,text\n" * 500)
        with pytest.raises(LedgerError, match="file is not a database"):
            begin_anew(ledger=ledger)
        untouched()
        assert ledger.read_text() == "id,title,text\n" * 500

    def test_that_is_the_one_that_is_kept(self, client, begin_anew, filled):
        begin_anew(ledger=ledger_path(target_of(client, filled)))
        assert client.count(index=filled)["count"] == 0

    def test_only_its_own_files_go(self, client, begin_anew, filled, ledger):
        self.begin(client, filled, ledger)
        beside = ledger.with_name("l.sqlite-copy")
        beside.write_text("somebody's")
        begin_anew(ledger=ledger)
        assert beside.read_text() == "somebody's"
