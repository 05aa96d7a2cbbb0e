"""MedTEDocumentStore without a model, and the stock components beside ours."""

import numpy as np
import pytest
from haystack import Document
from haystack.document_stores.types import DuplicatePolicy
from haystack_integrations.components.retrievers.elasticsearch import (
    ElasticsearchBM25Retriever,
    ElasticsearchEmbeddingRetriever,
)
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from es_ingest.cluster.node import InfoNode
from medte_haystack import MedTEEmbeddingRetriever
from medte_haystack.components.stored_documents import DocumentsRejectedError


def cosines(documents, query):
    matrix = np.array([one.embedding for one in documents])
    return matrix @ query / np.linalg.norm(matrix, axis=1) / np.linalg.norm(query)


@pytest.fixture
def stock(connection, index):
    store = ElasticsearchDocumentStore(hosts=connection.url, index=index, node_class=InfoNode)
    yield store
    store.close()


@pytest.fixture
def vectors_of_any_length():
    rng = np.random.default_rng(2)
    return [
        Document(id=f"v{number}", content=f"text {number}", embedding=(rng.normal(size=8) * (number + 1)).tolist())
        for number in range(30)
    ]


class TestAnyEmbedder:
    def test_takes_vectors_of_any_length_and_ranks_by_cosine(self, make_store, vectors_of_any_length):
        store = make_store(quantisation="flat")
        assert store.write_documents(vectors_of_any_length) == 30
        query = np.arange(1.0, 9.0)
        found = MedTEEmbeddingRetriever(document_store=store, top_k=30).run(query.tolist())["documents"]
        expected = dict(
            zip([one.id for one in vectors_of_any_length], cosines(vectors_of_any_length, query), strict=True)
        )
        assert [one.id for one in found] == sorted(expected, key=expected.get, reverse=True)
        np.testing.assert_allclose([one.score for one in found], [expected[one.id] for one in found], atol=1e-3)

    def test_gives_documents_back_as_they_were(self, make_store, vectors_of_any_length):
        store = make_store()
        store.write_documents(vectors_of_any_length)
        found = store.filter_documents()
        assert [(one.id, one.content, one.meta) for one in found] == [
            (one.id, one.content, one.meta) for one in vectors_of_any_length
        ]
        for got, given in zip(found, vectors_of_any_length, strict=True):
            np.testing.assert_allclose(got.embedding, given.embedding, rtol=1e-6)

    def test_the_index_type_is_spelled_out(self, connection, make_store, index, vectors_of_any_length):
        store = make_store(embedding_similarity_function="l2_norm", quantisation="hnsw")
        store.write_documents(vectors_of_any_length)
        with connection.client() as client:
            field = client.indices.get_mapping(index=index)[index]["mappings"]["properties"]["embedding"]
        assert (field["similarity"], field["index_options"]["type"], field["dims"]) == ("l2_norm", "hnsw", 8)

    def test_a_refused_overwrite_is_reported(self, make_store, vectors_of_any_length):
        """The stock store fails with KeyError: 'create' here."""
        store = make_store()
        store.write_documents(vectors_of_any_length)
        other = Document(id="v0", content="x", embedding=[1.0] * 9)
        with pytest.raises(DocumentsRejectedError, match=r"1 of 2 documents were refused, 1 are written.*'v0'"):
            store.write_documents([other, Document(id="new", content="y")], DuplicatePolicy.OVERWRITE)

    def test_metadata_with_the_names_of_document_fields_comes_back(self, make_store):
        store = make_store()
        document = Document(id="d", content="text", meta={"id": "other", "content": "note", "score": 3})
        store.write_documents([document])
        (found,) = store.filter_documents()
        assert (found.id, found.content, found.meta) == (document.id, document.content, document.meta)

    def test_2500_documents_are_written_and_all_come_back(self, make_store, requests):
        store = make_store(quantisation="flat")
        documents = [
            Document(id=f"d{number:04}", content=f"text {number}", embedding=[1.0, number / 2500.0], meta={"n": number})
            for number in range(2500)
        ]
        assert store.write_documents(documents) == 2500
        assert all(sent.body.count(b"\n") <= 1000 for sent in requests if "_bulk" in sent.target)
        requests.clear()
        found = store.filter_documents()
        assert sorted(one.id for one in found) == [one.id for one in documents]
        assert len([sent for sent in requests if sent.target.startswith("/_search")]) == 3
        few = store.filter_documents({"field": "meta.n", "operator": "<", "value": 1234})
        assert len(few) == 1234
        assert store.delete_by_filter({"field": "meta.n", "operator": "<", "value": 1234}, refresh=True) == 1234
        assert store.count_documents() == 1266
        store.delete_all_documents()
        assert store.count_documents() == 0


class TestStockRetrieversOverOurStore:
    @pytest.fixture
    def filled(self, contract_store, documents):
        contract_store.write_documents(documents)
        return contract_store

    def test_bm25(self, filled):
        retriever = ElasticsearchBM25Retriever(document_store=filled, top_k=3, fuzziness="0")
        assert retriever.run("number 42")["documents"][0].id == "d42"

    async def test_embedding(self, filled, documents, requests):
        retriever = ElasticsearchEmbeddingRetriever(document_store=filled, top_k=100)
        found = retriever.run(documents[17].embedding)["documents"]
        assert (len(found), found[0].id) == (100, "d17")
        assert len([sent for sent in requests if "_search" in sent.target]) == 1
        again = await retriever.run_async(documents[17].embedding, top_k=5)
        assert [one.id for one in again["documents"]] == [one.id for one in found[:5]]
        chosen = {"field": "meta.number", "operator": "<", "value": 3}
        few = retriever.run(documents[17].embedding, filters=chosen)["documents"]
        assert {one.id for one in few} == {"d0", "d1", "d2"}
        await filled.close_async()

    def test_the_stock_store_reads_our_index(self, filled, stock, documents):
        assert stock.count_documents() == 150
        retriever = ElasticsearchEmbeddingRetriever(document_store=stock, top_k=3)
        assert retriever.run(documents[5].embedding)["documents"][0].id == "d5"
        chosen = {"field": "meta.number", "operator": "==", "value": 7}
        assert [one.content for one in stock.filter_documents(chosen)] == ["Text number 7."]


class TestOurRetrieverOverAStockStore:
    @pytest.fixture
    def filled(self, stock, vectors_of_any_length):
        stock.write_documents(vectors_of_any_length)
        return stock

    async def test_finds_with_cosines_as_scores(self, connection, index, filled, vectors_of_any_length):
        retriever = MedTEEmbeddingRetriever(document_store=filled, top_k=5, num_candidates=30)
        query = vectors_of_any_length[3].embedding
        found = retriever.run(query)["documents"]
        expected = dict(
            zip([one.id for one in vectors_of_any_length], cosines(vectors_of_any_length, query), strict=True)
        )
        assert (len(found), found[0].id) == (5, "v3")
        np.testing.assert_allclose([one.score for one in found], [expected[one.id] for one in found], atol=0.03)
        asynchronous = ElasticsearchDocumentStore(hosts=connection.url, index=index)
        retriever = MedTEEmbeddingRetriever(document_store=asynchronous, top_k=5, num_candidates=30)
        assert (await retriever.run_async(query))["documents"] == found
        await retriever.close_async()

    def test_says_that_the_model_cannot_be_checked(self, filled, vectors_of_any_length, caplog):
        retriever = MedTEEmbeddingRetriever(document_store=filled, model="minilm")
        retriever.run(vectors_of_any_length[0].embedding)
        assert "does not say which model made it" in caplog.text
