"""An index compared with its ledger and its model, on the real server."""

import json
from pathlib import Path

import numpy as np
import pytest

from es_ingest.indices import comparison
from es_ingest.indices.comparison import compare
from es_ingest.indices.expected import copied_from, encoded_again
from es_ingest.indices.loading import begin_loading
from es_ingest.indices.verify import verify
from es_ingest.ingest import Ingester, RunOptions
from es_ingest.records import Record
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.locking import LedgerError
from es_ingest.stream.target import ledger_path, target_of
from medte_haystack.encoder import Encoder
from medte_haystack.errors import FingerprintMismatchError, IndexContractError, IndexMissingError
from medte_haystack.index.contract import chunk_id
from tests.indices.conftest import MADE_BY, records

LONG = " ".join(f"Sentence number {n} speaks of the kidney and of its stones." for n in range(120))
NO = "not looked at"


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load("minilm", device="cpu", precision="fp32")


def kinds(found):
    return {one.kind: one.count for one in found.findings}


def body_of(stored, name, **changes):
    return {**stored[name], **changes}


def test_what_run_wrote_holds(client, index, encoder):
    items = [Record(f"n{n}", f"Note {n}", LONG if n % 10 == 0 else "Stones.", {}, f"t:{n}") for n in range(40)]
    summary = Ingester(client, index, encoder).run(items, options=RunOptions(ledger=True))
    info = Ingester(client, index, encoder).fingerprint
    found = verify(client, index, expected=encoded_again(encoder, info, index), sample=1000)
    assert found.holds, found.findings
    assert (found.records, found.chunks) == (found.ledger_records, found.ledger_chunks) == (40, summary.chunks)
    assert found.sampled == summary.chunks > 40
    assert found.least_cosine == 0.9999
    assert 0.99999 < found.lowest_cosine <= 1.00001
    assert json.loads(json.dumps(found.to_dict()))["holds"] is True


def test_missing_surplus_and_foreign_are_counted_and_named(client, index, fill, stored):
    fill(index, records(300))
    one = stored(index)["r0#0"]
    for number in range(100, 120):
        client.delete(index=index, id=f"r{number}#0")
    extra = {"r5#1": "r5", "r5#7": "r5", "zz#0": "zz", "aa#0": "aa"}
    for name, parent in extra.items():
        number = int(name.partition("#")[2])
        client.index(index=index, id=name, document={**one, "id": name, "parent_id": parent, "chunk_index": number})
    client.index(index=index, id="another id", document={**one, "parent_id": "r0"})
    client.index(index=index, id="foreign", document={"content": "x"})
    found = verify(client, index, expected=NO)
    assert kinds(found) == {"missing": 20, "surplus": 4, "twice": 1, "foreign": 1}
    missing, surplus, *_, foreign = found.findings
    assert missing.first == ("r100#0", "r101#0", "r102#0", "r103#0", "r104#0")
    assert surplus.first == ("aa#0", "r5#1", "r5#7", "zz#0")
    assert foreign.first == ("foreign",)
    assert found.not_checked == NO
    assert (found.records, found.ledger_records) == (300 - 20 + 2, 300)
    assert "20 chunks that the ledger has are missing" in str(missing)


def test_a_wrong_id_in_the_right_place_is_surplus_and_the_right_one_missing(client, index, fill, stored):
    fill(index, records(3))
    body = stored(index)["r1#0"]
    client.delete(index=index, id="r1#0")
    client.index(index=index, id="r1", document=body)
    found = verify(client, index, expected=NO)
    assert kinds(found) == {"missing": 1, "surplus": 1}
    assert [one.first for one in found.findings] == [("r1#0",), ("r1",)]


def test_records_under_way_are_partial_and_neither_missing_nor_surplus(client, index, fill, stored):
    fill(index, records(10))
    target = target_of(client, index)
    with Ledger(ledger_path(target), target, "", {}) as ledger:
        ledger.sending([("r3", 4), ("new", 2), ("never arrived", 1)])
    assert kinds(verify(client, index, expected=NO)) == {"partial": 1}, "what is there of them"
    body = stored(index)["r3#0"]
    client.index(index=index, id="r3#2", document={**body, "chunk_index": 2})
    client.index(index=index, id="new#1", document={**body, "parent_id": "new", "chunk_index": 1})
    found = verify(client, index, expected=NO)
    assert kinds(found) == {"partial": 3}
    assert found.findings[0].first == ("new#1", "r3#0", "r3#2")
    client.delete(index=index, id="r3#0")
    client.delete(index=index, id="r3#2")
    assert kinds(verify(client, index, expected=NO)) == {"missing": 1, "partial": 1}, "r3 was there before"


def test_settings_that_a_load_left_are_found(client, index, fill):
    fill(index, records(3))
    begin_loading(client, index, new=True)
    assert kinds(verify(client, index, expected=NO)) == {"loading": 1}
    fill(index, records(3))
    assert verify(client, index, expected=NO).holds


def test_vectors_of_other_texts_are_found(client, index, encoder, stored):
    items = [Record(f"n{n}", "", f"{word} is treated at home.", {}, f"t:{n}") for n, word in enumerate(WORDS)]
    ingester = Ingester(client, index, encoder)
    ingester.run(items, options=RunOptions(ledger=True))
    found = stored(index)
    client.index(index=index, id="n0#0", document=body_of(found, "n0#0", embedding=found["n1#0"]["embedding"]))
    without = {name: value for name, value in found["n2#0"].items() if name != "embedding"}
    client.index(index=index, id="n2#0", document=without)
    client.index(index=index, id="n3#0", document=body_of(found, "n3#0", content="Something else altogether."))
    result = verify(client, index, expected=encoded_again(encoder, ingester.fingerprint, index))
    assert kinds(result) == {"length": 1, "unfit": 1, "vector": 2}
    _, unfit, different = result.findings
    assert (unfit.first, different.count) == (("n2#0",), 2)
    assert set(different.first) == {"n0#0", "n3#0"}
    assert result.lowest_cosine < 0.9
    assert "Something else" not in str(result.to_dict()), "no text of documents"


WORDS = ("Gout", "Asthma", "Fever", "Migraine", "Eczema", "Anaemia", "Measles", "Scurvy")


@pytest.mark.parametrize("quantisation", ["int8", "bbq", "flat"])
def test_quantisation_does_not_matter(client, index, encoder, quantisation):
    items = [Record(f"n{n}", "", f"{word} is treated at home.", {}, f"t:{n}") for n, word in enumerate(WORDS)]
    ingester = Ingester(client, index, encoder, quantisation=quantisation)
    ingester.run(items, options=RunOptions(ledger=True))
    found = verify(client, index, expected=encoded_again(encoder, ingester.fingerprint, index))
    assert found.holds
    assert found.lowest_cosine > 0.99999


def test_a_model_that_is_not_the_index_s_is_refused(client, index, encoder, fill):
    fill(index, records(3))
    with pytest.raises(FingerprintMismatchError):
        encoded_again(encoder, MADE_BY, index)
    made_by = Ingester(client, f"{index}-2", encoder).fingerprint
    unknown = {**made_by.to_dict(), "embedded_fields": None}
    with pytest.raises(IndexContractError, match="which text"):
        encoded_again(encoder, type(made_by)(**unknown), index)


def test_a_copy_is_compared_vector_by_vector(client, index, fill, stored):
    old, new = f"{index}-old", f"{index}-new"
    fill(old, records(30))
    fill(new, records(30))
    assert verify(client, new, expected=copied_from(client, old)).holds
    other = stored(new)["r8#0"]["embedding"]
    client.index(index=new, id="r7#0", document=body_of(stored(new), "r7#0", embedding=other))
    client.delete(index=old, id="r9#0", refresh=True)
    found = verify(client, new, expected=copied_from(client, old))
    assert kinds(found) == {"vector": 2}
    assert set(found.findings[0].first) == {"r7#0", "r9#0"}


class TestAlone:
    """Without a ledger, chunks are compared with each other."""

    def write(self, client, index, fill, stored, places):
        fill(index, records(1))
        body = stored(index)["r0#0"]
        client.delete(index=index, id="r0#0")
        for name, number, start, end in places:
            place = {"parent_id": name, "chunk_index": number, "chunk_start": start, "chunk_end": end}
            text = "x" * max(0, end - start)
            client.index(index=index, document={**body, **place, "content": text})
        self.forget(client, index)

    def forget(self, client, index):
        ledger_path(target_of(client, index)).unlink()

    def test_what_holds(self, client, index, fill):
        fill(index, records(20))
        self.forget(client, index)
        found = verify(client, index, expected=NO)
        assert found.holds
        assert (found.ledger, found.ledger_records, found.records) == (None, None, 20)

    def test_gaps(self, client, index, fill, stored):
        self.write(client, index, fill, stored, [("a", 0, 0, 5), ("a", 3, 6, 9), ("b", 1, 0, 3)])
        found = verify(client, index, expected=NO)
        assert kinds(found) == {"missing": 3}
        assert found.findings[0].first == ("a#1", "b#0")

    def test_chunks_twice(self, client, index, fill, stored):
        self.write(client, index, fill, stored, [("a", 0, 0, 5), ("a", 1, 5, 9), ("a", 1, 5, 9), ("a", 1, 5, 9)])
        assert kinds(verify(client, index, expected=NO)) == {"twice": 2}

    def test_places(self, client, index, fill, stored):
        places = [("a", 0, 3, 9), ("a", 1, 1, 12), ("b", 0, 5, 4), ("c", 0, 0, 9), ("c", 1, 4, 12), ("c", 2, 4, 11)]
        self.write(client, index, fill, stored, places)
        assert kinds(verify(client, index, expected=NO, sample=0)) == {"place": 3}


def test_ids_come_in_the_server_s_order_whatever_they_are(client, index, fill, monkeypatch):
    monkeypatch.setattr(comparison, "_PAGE", 7)
    names = ["a", "a!", "a#", "a#0", "a#1", "A", "ä", "z", "日本", "🩺", "\ufffd", "\U0010ffff", "0", "-"]
    names += ["a" * 600, "é" * 300]
    vector = next(records(1)).vector
    fill(index, [Record(name, "", "Text.", {}, "t", vector) for name in names])
    assert verify(client, index, expected=NO, sample=100).holds
    client.delete(index=index, id=chunk_id("é" * 300, 0))
    client.delete(index=index, id="🩺#0")
    assert kinds(verify(client, index, expected=NO)) == {"missing": 2}


def test_many_chunks_of_a_record_over_many_pages(client, index, fill, encoder, monkeypatch):
    monkeypatch.setattr(comparison, "_PAGE", 3)
    ingester = Ingester(client, index, encoder, chunk_tokens=16)
    summary = ingester.run([Record("long", "", LONG, {}, "t")], options=RunOptions(ledger=True))
    assert summary.chunks > 40
    assert verify(client, index, expected=NO).holds
    client.delete(index=index, id=f"long#{summary.chunks - 1}")
    client.delete(index=index, id="long#11")
    found = verify(client, index, expected=NO)
    assert found.findings[0].first == ("long#11", f"long#{summary.chunks - 1}")


def test_the_sample_is_drawn_evenly(client, index, fill):
    fill(index, records(20))
    drawn = [name for _ in range(40) for name in compare(client, index, None, sample=5).sample]
    counts = np.unique(drawn, return_counts=True)[1]
    assert len(drawn) == 200
    assert len(counts) == 20
    assert counts.max() < 26  # 10 expected; 5 standard deviations above


def test_ledgers_that_are_not_this_index_s(client, index, fill, tmp_path):
    first, second = f"{index}-1", f"{index}-2"
    fill(first, records(2))
    fill(second, records(2))
    one, two = (ledger_path(target_of(client, name)) for name in (first, second))
    with pytest.raises(LedgerError, match=f"is about index '{second}'"):
        verify(client, first, ledger=two, expected=NO)
    with pytest.raises(LedgerError, match="is not there"):
        verify(client, first, ledger=tmp_path / "none.sqlite", expected=NO)
    with Ledger(one, target_of(client, first), "", {}), pytest.raises(LedgerError, match="in use"):
        verify(client, first, expected=NO)
    client.indices.delete(index=first)
    fill(first, records(2))
    with pytest.raises(LedgerError, match="made anew"):
        verify(client, first, ledger=one, expected=NO)
    bad = tmp_path / "bad.sqlite"
    bad.write_text("no database at all, but rather long" * 100)
    with pytest.raises(LedgerError, match="cannot be read"):
        verify(client, first, ledger=bad, expected=NO)
    with pytest.raises(IndexMissingError):
        verify(client, f"{index}-none", expected=NO)


def test_the_ledger_is_as_it_was(client, index, fill):
    fill(index, records(3))
    path = ledger_path(target_of(client, index))
    before = path.read_bytes()
    verify(client, index, expected=NO)
    assert path.read_bytes() == before
    assert sorted(one.suffix for one in path.parent.iterdir()) == [".lock", ".sqlite"]


def test_the_command(client, es_ingest, index, tmp_path):
    rows = "".join(f'{{"id": "n{n}", "text": "Note {n}."}}\n' for n in range(20))
    Path(tmp_path, "notes.jsonl").write_text(rows)
    assert es_ingest("run", "notes.jsonl", "--index", index, "--model", "minilm").returncode == 0
    good = es_ingest("verify", index, "--sample", "5", "--json", "--quiet")
    found = json.loads(good.stdout)
    assert (good.returncode, found["holds"], found["sampled"], found["not_checked"]) == (0, True, 5, None)
    client.delete(index=index, id="n7#0", refresh=True)
    bad = es_ingest("verify", index, "--no-encode")
    assert bad.returncode == 6
    assert "missing: 1 chunks that the ledger has are missing" in bad.stdout
    assert "(n7#0)" in bad.stdout
    assert "not checked" in bad.stdout
    other = es_ingest("verify", index, "--model", "gte-base")
    assert (other.returncode, "add to it" in other.stderr or "search it with" in other.stderr) == (6, True)


def test_a_model_that_is_not_here_is_not_checked_and_that_is_said(es_ingest, index, fill):
    fill(index, records(5))
    done = es_ingest("verify", index)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not checked" in done.stdout
    assert "name its folder with --model" in done.stdout
