"""What an interrupted run left in the index, and the sources no longer have: on the real server."""

import numpy as np
import pytest

from es_ingest.ingest import Ingester, RunOptions
from es_ingest.records import Record
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.target import target_of
from medte_haystack.index import Fingerprint, chunk_id

KEPT = ("kept", "it stays")


@pytest.fixture
def ingest(client, index, tmp_path):
    """Runs over records that bring their vectors, with one ledger."""

    def run(*records, **options):
        ingester = Ingester(client, index, None, vectors_by=Fingerprint("test", 4, "mean"))
        made = [Record(name, "", text, {}, "here", np.array([1, 0, 0, 0], np.float32)) for name, text in records]
        return ingester.run(made, options=RunOptions(ledger=tmp_path / "ledger.sqlite", job="j", **options))

    return run


@pytest.fixture
def killed(client, index, ingest, tmp_path):
    """Leaves what a run leaves that was killed while it wrote a record of so many chunks."""

    def leave(name, chunks):

        with Ledger(tmp_path / "ledger.sqlite", target_of(client, index), "j", {}) as ledger:
            ledger.sending([(name, chunks)])
        for number in range(chunks):
            body = {"content": "of the killed run", "parent_id": name, "chunk_index": number}
            client.index(index=index, id=chunk_id(name, number), document=body)

    return leave


@pytest.fixture
def stored(client, index):
    def look():
        client.indices.refresh(index=index)
        return {hit["_id"]: hit["_source"]["content"] for hit in client.search(index=index, size=100)["hits"]["hits"]}

    return look


def test_what_was_never_acknowledged_is_removed(ingest, killed, stored):
    ingest(KEPT)
    killed("gone", 3)
    summary = ingest(KEPT)
    assert stored() == {"kept#0": "it stays"}
    assert (summary.removed, summary.unchanged) == (3, 1)
    assert ingest(KEPT).removed == 0


def test_what_is_missing_is_removed_whole(ingest, killed, stored):
    ingest(KEPT, ("gone", "as it was"))
    killed("gone", 3)
    summary = ingest(KEPT, delete_missing=True)
    assert stored() == {"kept#0": "it stays"}
    assert (summary.missing, summary.removed) == (1, 3)


def test_what_comes_back_as_it_was_is_written_again(ingest, killed, stored):
    ingest(KEPT, ("back", "as it was"))
    killed("back", 3)
    ingest(KEPT)  # a run that does not meet it
    assert stored()["back#0"] == "of the killed run"
    summary = ingest(KEPT, ("back", "as it was"))
    assert stored() == {"kept#0": "it stays", "back#0": "as it was"}
    assert (summary.records, summary.unchanged, summary.removed) == (1, 1, 2)
    assert ingest(KEPT, ("back", "as it was")).unchanged == 2


def test_documents_of_others_are_passed_over_where_a_ledger_is_begun(ingest, stored, client, index, tmp_path, caplog):
    ingest(KEPT, ("more", "it stays too"))
    foreign = {
        "of Haystack's store": {"content": "a", "parent_id": "its document"},
        "with a number": {"content": "b", "parent_id": "kept", "chunk_index": 4},
        "without any": {"content": "c"},
    }
    for name, body in foreign.items():
        client.index(index=index, id=name, document=body)
    (tmp_path / "ledger.sqlite").unlink()
    with caplog.at_level("INFO", "es_ingest"):
        summary = ingest(("kept", "changed"))
    assert "holds 2 records (2 chunks) that this ledger knows nothing of" in caplog.text
    assert (summary.updated, summary.removed) == (1, 0)
    assert stored().keys() == {"kept#0", "more#0", *foreign}
