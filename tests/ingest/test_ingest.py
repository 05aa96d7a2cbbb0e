"""The stream from records to a searchable index, on the real server with a real model."""

import logging

import pytest

from es_ingest.ingest import Ingester, RunOptions
from es_ingest.records import Malformed, Record
from es_ingest.search import Searcher, model_for
from medte_haystack.encoder import Encoder
from medte_haystack.errors import (
    EncoderOptionError,
    FingerprintMismatchError,
    IndexContractError,
    IndexMissingError,
)

LONG = " ".join(f"Sentence number {n} speaks of the kidney and of its stones." for n in range(120))


@pytest.fixture(scope="module")
def encoder():
    return Encoder.load("minilm", device="cpu", precision="fp32")


def record(name, text, title="", **meta):
    return Record(name, title, text, meta, f"test:{name}")


RECORDS = [
    record("a", "Aspirin thins the blood.", "Aspirin", year=1897),
    record("b", "Insulin lowers the sugar in the blood.", "Insulin", source="X"),
    record("long", LONG, "Stones"),
]


def stored(client, index):
    body = {"size": 1000, "_source": {"exclude_vectors": False}}
    return {hit["_id"]: hit["_source"] for hit in client.search(index=index, body=body)["hits"]["hits"]}


def test_every_chunk_is_stored_by_the_contract(client, index, encoder):
    summary = Ingester(client, index, encoder).run(RECORDS)
    found = stored(client, index)
    assert summary.read == 3
    assert summary.chunks == summary.written == summary.created == len(found) > 3
    assert summary.failed == summary.updated == summary.truncated == 0
    assert summary.tokens == sum(map(len, encoder.tokeniser([_embedded(one) for one in found.values()]).ids))
    pieces = sorted((one for one in found.values() if one["parent_id"] == "long"), key=lambda one: one["chunk_index"])
    assert [one["chunk_index"] for one in pieces] == list(range(len(pieces)))
    assert all(LONG[one["chunk_start"] : one["chunk_end"]] == one["content"] for one in pieces)
    assert found["a#0"] | {"embedding": None} == {
        "id": "a#0",
        "parent_id": "a",
        "chunk_index": 0,
        "chunk_start": 0,
        "chunk_end": 24,
        "title": "Aspirin",
        "content": "Aspirin thins the blood.",
        "year": 1897,
        "embedding": None,
    }
    assert found["a#0"]["embedding"] == pytest.approx(encoder.encode(["Aspirin Aspirin thins the blood."])[0], abs=1e-6)


def _embedded(source):
    return f"{source['title']} {source['content']}"


def test_a_second_run_changes_nothing(client, index, encoder):
    Ingester(client, index, encoder).run(RECORDS)
    before = stored(client, index)
    again = Ingester(client, index, encoder).run(RECORDS)
    assert (again.created, again.updated) == (0, len(before))
    assert stored(client, index).keys() == before.keys()


def test_malformed_and_refused_are_named_and_the_rest_goes_on(client, index, encoder, caplog):
    refused = record("r", "Some text.", broken={"a": 1})
    items = [
        record("n", "Some other text.", broken="flat"),
        Malformed("notes.jsonl:7", "empty text"),
        refused,
        RECORDS[0],
    ]
    with caplog.at_level(logging.WARNING):
        summary = Ingester(client, index, encoder).run(items)
    assert (summary.read, summary.malformed, summary.refused, summary.failed, summary.written) == (4, 1, 1, 2, 2)
    assert stored(client, index).keys() == {"n#0", "a#0"}
    assert "notes.jsonl:7: not a record: empty text" in caplog.text
    assert "test:r: record r refused" in caplog.text
    assert "Some text" not in caplog.text


def test_a_record_that_became_shorter_loses_its_old_chunks(client, index, encoder):
    first = Ingester(client, index, encoder).run([*RECORDS, record("other", LONG)])
    shorter = record("long", "Stones are gone.", "Stones")
    again = Ingester(client, index, encoder).run([shorter])
    found = stored(client, index)
    assert (again.written, again.updated) == (1, 1)
    assert again.removed == first.written - len(found)
    assert [one["content"] for one in found.values() if one["parent_id"] == "long"] == ["Stones are gone."]
    assert sum(one["parent_id"] == "other" for one in found.values()) > 3


@pytest.mark.parametrize("between", [0, 1200])
def test_of_records_with_one_id_the_last_stays_whole_and_is_reported(client, index, encoder, caplog, between):
    others = [record(f"n{number}", f"Note {number}.") for number in range(between)]
    with caplog.at_level(logging.WARNING):
        summary = Ingester(client, index, encoder).run([record("a", LONG), *others, record("a", "The last.")])
    assert summary.updated == 1
    assert "ids repeat in the sources" in caplog.text
    query = {"term": {"parent_id": "a"}}
    hits = client.search(index=index, query=query)["hits"]["hits"]
    assert [hit["_source"]["content"] for hit in hits] == ["The last."]


def test_a_document_of_another_writer_does_not_stop_a_search(client, index, encoder):
    Ingester(client, index, encoder).run(RECORDS[:1])
    vector = encoder.encode(["Aspirin"])[0].tolist()
    client.index(index=index, id="foreign", document={"embedding": vector, "content": None}, refresh=True)
    assert {hit.document_id for hit in Searcher(client, index, encoder).search("Aspirin")} == {"a", "foreign"}


def test_an_empty_source_makes_an_empty_index(client, index, encoder):
    summary = Ingester(client, index, encoder).run([])
    assert (summary.read, summary.written, summary.failed) == (0, 0, 0)
    assert Searcher(client, index, encoder).search("anything") == []


@pytest.mark.parametrize(
    ("options", "field", "mine", "theirs"),
    [
        ({"chunk_tokens": 64}, "chunk_tokens", 254, 64),
        ({"chunk_overlap": 8}, "chunk_overlap", 0, 8),
    ],
)
def test_another_chunking_is_refused_with_both_values(client, index, encoder, options, field, mine, theirs):
    Ingester(client, index, encoder).run(RECORDS[:1])
    with pytest.raises(FingerprintMismatchError) as caught:
        Ingester(client, index, encoder, **options)
    assert (caught.value.field, caught.value.expected, caught.value.found) == (field, mine, theirs)
    assert str(mine) in str(caught.value)
    assert str(theirs) in str(caught.value)


def test_an_index_of_others_is_refused(client, index, encoder):
    client.indices.create(index=index)
    with pytest.raises(IndexContractError, match="was not made by medte"):
        Ingester(client, index, encoder)
    with pytest.raises(IndexContractError, match="was not made by medte"):
        Searcher(client, index, encoder)


def test_another_quantisation_is_refused(client, index, encoder):
    Ingester(client, index, encoder, quantisation="flat")
    with pytest.raises(IndexContractError, match="'flat', not 'bbq'"):
        Ingester(client, index, encoder, quantisation="bbq")


def test_chunks_that_do_not_fit_the_model_are_refused(client, index, encoder):
    with pytest.raises(EncoderOptionError, match="1 to 254"):
        Ingester(client, index, encoder, chunk_tokens=255)


@pytest.mark.parametrize("quantisation", ["hnsw", "int8", "int4", "bbq", "flat"])
def test_every_quantisation_is_searched(client, index, encoder, quantisation):
    Ingester(client, index, encoder, quantisation=quantisation).run(RECORDS)
    hits = Searcher(client, index, encoder).search("sugar disease", top_k=3)
    assert hits[0].document_id == "b"
    assert {hit.document_id for hit in hits} == {"a", "b", "long"}, "each document once, though one has many chunks"


def test_scores_are_cosines(client, index, encoder):
    Ingester(client, index, encoder, quantisation="flat").run(RECORDS)
    query = encoder.encode(["sugar disease"], "query")[0]
    for hit in Searcher(client, index, encoder).search("sugar disease"):
        passage = encoder.encode([f"{hit.title} {hit.content}"])[0]
        assert hit.score == pytest.approx(float(query @ passage), abs=1e-4)


def test_a_document_of_many_chunks_does_not_crowd_others_out(client, index, encoder):
    many = record("many", " ".join(["The kidney makes stones."] * 2000))
    Ingester(client, index, encoder, chunk_tokens=16).run([many, *RECORDS[:2]])
    hits = Searcher(client, index, encoder).search("kidney stones", top_k=3)
    assert hits[0].document_id == "many"
    assert {hit.document_id for hit in hits} == {"many", "a", "b"}


def test_a_search_needs_the_index_and_its_model(client, index, encoder):
    with pytest.raises(IndexMissingError, match=index):
        Searcher(client, index, encoder)
    Ingester(client, index, encoder).run(RECORDS[:1])
    assert model_for(client, index, None) == "sentence-transformers/all-MiniLM-L6-v2"
    with pytest.raises(FingerprintMismatchError, match=r"all-MiniLM-L6-v2.*gte-base"):
        model_for(client, index, "gte-base")
    with pytest.raises(IndexContractError, match="query is empty"):
        Searcher(client, index, encoder).search("  ")
    with pytest.raises(IndexContractError, match="top_k is 10001"):
        Searcher(client, index, encoder).search("x", top_k=10_001)


def test_an_index_that_the_server_has_made_anew_ends_the_run(client, index, encoder, monkeypatch):
    """By default a server makes an index of any name that is written to."""
    monkeypatch.setattr("es_ingest.ingest._LOOK", 0.0)

    def items():
        for number in range(100_000):
            if number == 1_000:
                client.indices.delete(index=index)
            yield record(f"r{number}", f"Note {number}.")

    summaries = []
    options = RunOptions(watch=summaries.append)
    with pytest.raises(IndexContractError, match="was not made by medte: delete it, then run the same command again"):
        Ingester(client, index, encoder).run(items(), options=options)
    assert summaries[-1].read < 50_000, "it is noticed on the way"
    client.indices.delete(index=index)
    assert Ingester(client, index, encoder).run(RECORDS).records == len(RECORDS)
