"""Records that two jobs bring into one index, on the real server."""

import numpy as np
import pytest

from es_ingest.indices.verify import verify
from es_ingest.ingest import Ingester, RunOptions
from es_ingest.records import Record
from medte_haystack.index import Fingerprint


@pytest.fixture
def ingest(client, index, tmp_path):
    """A run of a job over records that bring their vectors; removes what the job no longer has."""

    def run(job, **texts):
        ingester = Ingester(client, index, None, vectors_by=Fingerprint("test", 4, "mean"))
        made = [Record(name, "", text, {}, job, np.array([1, 0, 0, 0], np.float32)) for name, text in texts.items()]
        options = RunOptions(ledger=tmp_path / "ledger.sqlite", job=job, delete_missing=True)
        return ingester.run(made, options=options)

    return run


@pytest.fixture
def stored(client, index):
    def look():
        hits = client.search(index=index, size=100)["hits"]["hits"]
        return {hit["_id"].partition("#")[0]: hit["_source"]["content"] for hit in hits}

    return look


@pytest.mark.parametrize("of_b", ["it stays", "it stays, says b"], ids=["the same content", "another"])
def test_what_another_job_has_stays(ingest, stored, client, index, tmp_path, of_b, caplog):
    ingest("a", shared="it stays", own="a's")
    assert "other sources" not in caplog.text
    ingest("b", shared=of_b, other="b's")
    ingest("a", shared="it stays", own="a's")
    gone = ingest("a", own="a's")
    assert (gone.missing, gone.removed) == (0, 0)
    assert stored() == {"shared": "it stays", "own": "a's", "other": "b's"}
    assert "what other sources have brought stays: 1 records; if these sources are a pattern, quote it" in caplog.text
    assert ingest("b", shared=of_b, other="b's").records == (of_b != "it stays")
    assert stored()["shared"] == of_b
    last = ingest("b", other="b's")
    assert (last.missing, last.removed) == (1, 1)
    assert stored() == {"own": "a's", "other": "b's"}
    assert verify(client, index, ledger=tmp_path / "ledger.sqlite", expected="not looked at").holds
