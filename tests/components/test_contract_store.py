"""MedTEDocumentStore with a model: an index that follows the contract."""

import json

import numpy as np
import pytest
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from medte_haystack.components.stored_documents import DocumentsRejectedError, _apply, all_hits
from medte_haystack.errors import FingerprintMismatchError, IndexContractError, MedTEError
from medte_haystack.index import Fingerprint, detect_server, operation, run

SECRET = "Jane Roe"


def vectors_of(documents):
    return np.array([one.embedding for one in documents], dtype=np.float32)


class TestIndex:
    def test_is_made_by_the_contract(self, connection, contract_store, index):
        assert contract_store.count_documents() == 0
        with connection.client() as client:
            made = client.indices.get_mapping(index=index)[index]["mappings"]
        vectors = made["properties"]["embedding"]
        assert (vectors["dims"], vectors["similarity"], vectors["index_options"]["type"]) == (
            384,
            "dot_product",
            "flat",
        )
        fingerprint = Fingerprint.from_mapping(made)
        assert (fingerprint.model, fingerprint.dim, fingerprint.pooling, fingerprint.contract) == (
            "sentence-transformers/all-MiniLM-L6-v2",
            384,
            "mean",
            1,
        )

    def test_that_keeps_vectors_in_its_source_gives_them_back_as_numbers(
        self, connection, contract_store, documents, index
    ):
        """As one does that was made before 9.2; what is in the source comes back as it was sent."""
        contract_store.count_documents()
        with connection.client() as client:
            made = client.indices.get_mapping(index=index)[index]["mappings"]
            client.indices.delete(index=index)
            client.indices.create(index=index, mappings=made, settings={"index.mapping.exclude_source_vectors": False})
        contract_store.close()
        contract_store.write_documents(documents[:3])
        np.testing.assert_array_equal(vectors_of(contract_store.filter_documents()), vectors_of(documents[:3]))

    def test_of_another_model_is_refused_with_both_names(self, contract_store, make_store):
        contract_store.count_documents()
        for other in (make_store(model="bge-small"), make_store(model="medte")):
            with pytest.raises(FingerprintMismatchError, match=r"all-MiniLM-L6-v2.*not") as caught:
                other.write_documents([Document(content="x")])
            assert caught.value.field == "model"

    def test_without_a_model_it_can_still_be_read(self, contract_store, make_store, documents):
        contract_store.write_documents(documents[:3])
        assert [one.id for one in make_store().filter_documents()] == ["d0", "d1", "d2"]

    async def test_that_was_deleted_is_made_by_the_contract(self, connection, contract_store, documents, index):
        """By itself the server would make one of that name, with vectors as text."""
        assert contract_store.write_documents(documents[:2]) == 2
        assert await contract_store.write_documents_async(documents[2:3]) == 1
        for again in (contract_store.write_documents, contract_store.write_documents_async):
            with connection.client() as client:
                client.indices.delete(index=index)
            written = again(documents[:2])
            assert (written if isinstance(written, int) else await written) == 2
            with connection.client() as client:
                made = client.indices.get_mapping(index=index)[index]["mappings"]
            assert made["properties"]["embedding"]["type"] == "dense_vector"
            assert Fingerprint.from_mapping(made) is not None
        await contract_store.close_async()

    def test_that_was_made_anew_for_another_model_takes_nothing(self, connection, contract_store, documents, index):
        assert contract_store.write_documents(documents[:1]) == 1
        with connection.client() as client:
            made = client.indices.get_mapping(index=index)[index]["mappings"]
            made["_meta"]["medte"]["weights_sha256"] = "0" * 64
            client.indices.delete(index=index)
            client.indices.create(index=index, mappings=made)
        with pytest.raises(FingerprintMismatchError):
            contract_store.write_documents(documents[1:2])
        with connection.client() as client:
            assert client.count(index=index)["count"] == 0

    def test_that_the_server_made_by_itself_is_refused(self, connection, make_store, index):
        with connection.client() as client:
            client.index(index=index, document={"content": "x", "embedding": "AAAA"})
        with pytest.raises(IndexContractError, match=r"has 'embedding' as text, .* delete it, or take another name"):
            make_store(model="minilm").count_documents()

    def test_is_emptied_and_made_anew_as_it_was(self, connection, contract_store, documents, index):
        contract_store.write_documents(documents[:3])
        with connection.client() as client:
            client.indices.put_alias(index=index, name=f"{index}-alias")
            before = client.indices.get(index=index)[index]
            contract_store.delete_all_documents(recreate_index=True)
            after = client.indices.get(index=index)[index]
        assert contract_store.count_documents() == 0
        assert before["mappings"] == after["mappings"]
        assert before["aliases"] == after["aliases"]
        assert before["settings"]["index"]["uuid"] != after["settings"]["index"]["uuid"]
        for settings in (before["settings"]["index"], after["settings"]["index"]):
            for given in ("uuid", "creation_date"):
                del settings[given]
        assert before["settings"] == after["settings"]
        assert contract_store.write_documents(documents[:3]) == 3

    def test_an_alias_is_not_made_anew(self, connection, contract_store, make_store, documents, index):
        contract_store.write_documents(documents[:3])
        with connection.client() as client:
            client.indices.put_alias(index=index, name=f"{index}-alias")
        with pytest.raises(IndexContractError, match=f"is an alias of {index}; name the index itself"):
            make_store(index=f"{index}-alias").delete_all_documents(recreate_index=True)
        assert contract_store.count_documents() == 3


class TestVectors:
    def test_come_back_bit_for_bit(self, contract_store, documents):
        contract_store.write_documents(documents)
        found = contract_store.filter_documents()
        np.testing.assert_array_equal(vectors_of(found), vectors_of(documents))

    def test_are_sent_as_base64_where_the_server_takes_it(self, contract_store, documents, requests):
        server = run(contract_store.connect(), detect_server())
        contract_store.write_documents(documents[:2])
        (bulk,) = [sent for sent in requests if "_bulk" in sent.target]
        bodies = [json.loads(line) for line in bulk.body.splitlines() if b'"content"' in line]
        assert [type(body["embedding"]) for body in bodies] == [str if server.base64_vectors else list] * 2

    def test_stay_when_metadata_is_updated(self, contract_store, documents):
        contract_store.write_documents(documents[:5])
        chosen = {"field": "meta.number", "operator": ">=", "value": 3}
        assert contract_store.update_by_filter(chosen, {"status": "seen", "number": 70}, refresh=True) == 2
        found = contract_store.filter_documents({"field": "meta.status", "operator": "==", "value": "seen"})
        assert [(one.id, one.meta["number"], one.content) for one in found] == [
            ("d3", 70, "Text number 3."),
            ("d4", 70, "Text number 4."),
        ]
        np.testing.assert_array_equal(vectors_of(found), vectors_of(documents[3:5]))

    @pytest.mark.parametrize(
        ("embedding", "why"),
        [
            ([2.0] + [0.0] * 383, "the vector of document 'odd' has length 2;"),
            ([0.0] * 384, "has length 0;"),
            ([float("nan")] * 384, "has length nan;"),
            ([1.0] + [0.0] * 382, "has 383 dimensions, the index has 384; is it another model's?"),
            ([[1.0] + [0.0] * 383], "has 1 x 384 dimensions"),
            (["a", "b"], "the vector of document 'odd' does not hold numbers alone"),
            ([], "has 0 dimensions"),
        ],
    )
    def test_others_are_refused_while_the_rest_is_written(self, contract_store, documents, embedding, why):
        odd = Document(id="odd", content=SECRET, embedding=embedding)
        with pytest.raises(DocumentsRejectedError, match="1 of 4 documents were refused, 3 are written") as caught:
            contract_store.write_documents([*documents[:2], odd, documents[2]])
        (failure,) = caught.value.failures
        assert failure.id == "odd"
        assert why in failure.reason
        assert why in str(caught.value)
        assert SECRET not in str(caught.value)
        assert contract_store.count_documents() == caught.value.written == 3


class TestChunks:
    def test_a_document_that_was_not_split_is_its_own_chunk(self, contract_store):
        contract_store.write_documents([Document(id="whole", content="Some text.")])
        (found,) = contract_store.filter_documents()
        assert found.meta == {"parent_id": "whole", "chunk_index": 0, "chunk_start": 0, "chunk_end": 10}

    def test_pieces_of_the_splitter_stay_as_they_are(self, contract_store):
        meta = {"parent_id": "p", "chunk_index": 3, "chunk_start": 10, "chunk_end": 14, "title": "Title"}
        contract_store.write_documents([Document(id="p#3", content="text", meta=meta)])
        (found,) = contract_store.filter_documents()
        assert found.meta == meta

    def test_without_vectors_they_are_stored_too(self, contract_store):
        assert contract_store.write_documents([Document(content="only text")]) == 1
        assert contract_store.filter_documents()[0].embedding is None


class TestFailures:
    """Whatever is refused is named, the rest is written, and no text is repeated."""

    @pytest.fixture
    def bad(self):
        return [
            Document(id="é" * 300, content=SECRET),
            Document(id="surrogate", content=f"{SECRET} \ud83d"),
            Document(id="integer", content=SECRET, meta={"big": 2**70}),
            Document(id="object", content=SECRET, meta={"author": {"name": SECRET}}),
            Document(id="index", content=SECRET, meta={"parent_id": "p", "chunk_index": SECRET}),
        ]

    @pytest.mark.parametrize("policy", DuplicatePolicy)
    def test_each_for_its_own_reason(self, contract_store, documents, bad, policy):
        contract_store.write_documents([Document(content="maps author as a string", meta={"author": "A"})])
        with pytest.raises(DocumentsRejectedError, match="5 of 8 documents were refused, 3 are written") as caught:
            contract_store.write_documents([*documents[:2], *bad, documents[2]], policy)
        assert caught.value.written == 3
        assert contract_store.count_documents() == 4
        reasons = {failure.id: failure.reason for failure in caught.value.failures}
        assert set(reasons) == {one.id for one in bad}
        assert "600 bytes; Elasticsearch takes 1 to 512" in reasons["é" * 300]
        assert "surrogates not allowed" in reasons["surrogate"]
        assert "64-bit" in reasons["integer"]
        assert "author" in reasons["object"]
        assert "chunk_index" in reasons["index"]
        assert SECRET not in str(caught.value)
        assert SECRET not in repr(caught.value.failures)
        assert isinstance(caught.value, MedTEError)

    def test_an_id_with_a_lone_surrogate(self, contract_store):
        with pytest.raises(DocumentsRejectedError, match="lone surrogate") as caught:
            contract_store.write_documents([Document(id="a\ud800", content="x"), Document(id="b", content="x")])
        str(caught.value).encode()
        assert contract_store.count_documents() == 1

    def test_duplicates_are_reported_beside_other_failures(self, contract_store, documents):
        contract_store.write_documents(documents[:1])
        odd = Document(id="odd", content="x", embedding=[1.0])
        with pytest.raises(DocumentsRejectedError, match="2 of 3 documents were refused, 1 are written") as caught:
            contract_store.write_documents([documents[0], documents[1], odd], DuplicatePolicy.FAIL)
        assert {failure.id for failure in caught.value.failures} == {"d0", "odd"}

    def test_duplicates_alone_name_some_ids_and_say_what_to_do(self, contract_store, documents):
        contract_store.write_documents(documents[:100])
        with pytest.raises(DuplicateDocumentError, match=r"100 of 150 .*'d0', .*….*the others are written.*OVERWRITE"):
            contract_store.write_documents(documents)
        assert contract_store.count_documents() == 150

    def test_skipped_duplicates_are_no_failure(self, contract_store, documents):
        contract_store.write_documents(documents[:3])
        assert contract_store.write_documents(documents[:5], DuplicatePolicy.SKIP) == 2
        assert contract_store.write_documents(documents[:5], DuplicatePolicy.OVERWRITE) == 5

    def test_the_last_of_several_with_one_id_stays(self, contract_store):
        documents = [Document(id=f"d{number % 600}", content=str(number)) for number in range(1500)]
        assert contract_store.write_documents(documents, DuplicatePolicy.OVERWRITE) == 1500
        found = {one.id: one.content for one in contract_store.filter_documents()}
        assert found == {one.id: one.content for one in documents}

    def test_an_update_that_some_cannot_take(self, contract_store, documents):
        """Through bulk, as on servers without scripts."""
        contract_store.write_documents(documents[:2])
        updates = [
            operation("update", "d0", {"doc": {"number": 1}}),
            operation("update", "d1", {"doc": {"number": {"a": SECRET}}}),
            operation("update", "gone", {"doc": {"number": 1}}),
        ]
        with pytest.raises(DocumentsRejectedError, match="1 of 3 documents were refused, 1 are written") as caught:
            run(contract_store.connect(), _apply(contract_store._index, updates, refresh=True))
        assert [failure.id for failure in caught.value.failures] == ["d1"]
        assert SECRET not in str(caught.value)

    @pytest.mark.parametrize("bad", [None, "text", ["text"], Document(), [Document(), 1]])
    def test_something_else_than_a_list_of_documents(self, make_store, bad):
        with pytest.raises(ValueError, match="list of objects of type Document"):
            make_store(hosts="http://127.0.0.1:1").write_documents(bad)

    @pytest.mark.parametrize("method", ["delete_by_filter", "update_by_filter"])
    def test_empty_filters_do_not_mean_all(self, contract_store, documents, method):
        contract_store.write_documents(documents[:2])
        arguments = [{}] if method == "delete_by_filter" else [{}, {"a": 1}]
        with pytest.raises(ValueError, match="filters are empty; to take all documents use delete_all_documents"):
            getattr(contract_store, method)(*arguments)
        assert contract_store.count_documents() == 2

    def test_filters_of_another_language(self, make_store):
        with pytest.raises(ValueError, match=r"filters with the keys \['term'\] are not of Haystack's filter language"):
            make_store(hosts="http://127.0.0.1:1").filter_documents({"term": {"a": 1}})


class TestReadingAll:
    def test_a_reader_that_is_dropped_asks_no_more(self):
        """A cancelled task closes the conversation: it must not answer with another request."""
        steps = all_hits("i", {"query": {"match_all": {}}})
        next(steps)
        steps.send({"id": "point-in-time"})
        steps.close()
        with pytest.raises(StopIteration):
            next(steps)

    def test_the_point_in_time_is_closed_after_an_error(self, contract_store, requests):
        contract_store.count_documents()
        query = {"term": {"content": {"nonsense": 1}}}
        with pytest.raises(Exception, match="nonsense"):
            run(contract_store.connect(), all_hits(contract_store._index, {"query": query}))
        assert [(sent.method, sent.target.split("?")[0]) for sent in requests[-2:]] == [
            ("POST", "/_search"),
            ("DELETE", "/_pit"),
        ]


async def test_without_hosts_the_environment_says_where(connection, make_store, monkeypatch):
    store = make_store(hosts=None)
    monkeypatch.setenv("ES_URL", connection.url)
    assert store.count_documents() == await store.count_documents_async() == 0
    assert store.to_dict()["init_parameters"]["hosts"] is None
    await store.close_async()


class TestClosing:
    def test_a_closed_store_opens_again(self, contract_store, documents):
        contract_store.write_documents(documents[:1])
        contract_store.close()
        assert contract_store.count_documents() == 1

    async def test_the_async_client_does_the_same(self, contract_store, documents):
        assert await contract_store.write_documents_async(documents) == 150
        found = await contract_store.filter_documents_async({"field": "meta.number", "operator": "<", "value": 5})
        np.testing.assert_array_equal(vectors_of(found), vectors_of(documents[:5]))
        with pytest.raises(DocumentsRejectedError, match="1 of 1 documents were refused, 0 are written"):
            await contract_store.write_documents_async([Document(content="x", embedding=[1.0])])
        await contract_store.close_async()
        assert await contract_store.count_documents_async() == 150
        await contract_store.close_async()
