"""How retrievers use a store, ours or a stock one: a missing index, no server, threads and event loops."""

import asyncio
from types import SimpleNamespace

import pytest
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from es_ingest.cluster.node import AsyncInfoNode, InfoNode
from medte_haystack import MedTEDocumentStore, MedTEEmbeddingRetriever
from medte_haystack.errors import IndexMissingError, SearchError

STORES = [MedTEDocumentStore, ElasticsearchDocumentStore]


@pytest.fixture
def written(contract_store, documents):
    contract_store.write_documents(documents[:20])


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("kind", STORES)
async def test_a_missing_index_is_told_and_made_by_the_next_write(
    connection, index, kind, is_async, documents, unit_vectors
):
    store = kind(hosts=connection.url, index=index, node_class=AsyncInfoNode if is_async else InfoNode)
    retriever = MedTEEmbeddingRetriever(document_store=store, top_k=1)
    vector = unit_vectors[7].tolist()
    with pytest.raises(IndexMissingError, match=f"index '{index}' is not there"):
        await retriever.run_async(vector) if is_async else retriever.run(vector)
    with connection.client() as client:
        assert not client.indices.exists(index=index)
        if is_async:
            await store.write_documents_async(documents[:20])
            found = await retriever.run_async(vector)
            await store.close_async()
        else:
            store.write_documents(documents[:20])
            found = retriever.run(vector)
            store.close()
        properties = client.indices.get_mapping(index=index)[index]["mappings"]["properties"]
    assert properties["embedding"]["type"] == "dense_vector"
    assert [one.id for one in found["documents"]] == ["d7"]


@pytest.mark.parametrize("kind", STORES)
async def test_a_server_that_is_not_there_is_told_alike(kind):
    store = kind(hosts="http://127.0.0.1:1", index="articles", max_retries=1)
    retriever = MedTEEmbeddingRetriever(document_store=store)
    with pytest.raises(SearchError, match="'articles' was not answered after 2 attempts"):
        retriever.run([1.0])
    with pytest.raises(SearchError, match="'articles' was not answered after 2 attempts"):
        await retriever.run_async([1.0])
    retriever.close()
    await retriever.close_async()


@pytest.mark.parametrize("kind", STORES)
def test_each_run_may_have_an_event_loop_of_its_own(connection, index, written, kind, unit_vectors):
    retriever = MedTEEmbeddingRetriever(document_store=kind(hosts=connection.url, index=index), model="minilm", top_k=1)
    for _ in range(2):
        found = asyncio.run(retriever.run_async(unit_vectors[7].tolist()))
        assert [one.id for one in found["documents"]] == ["d7"]
    asyncio.run(retriever.close_async())


def test_so_may_each_use_of_our_store(contract_store, written):
    for _ in range(2):
        assert asyncio.run(contract_store.count_documents_async()) == 20
    assert len(asyncio.run(contract_store.filter_documents_async())) == 20
    asyncio.run(contract_store.close_async())


def test_another_thread_may_find_the_index_gone_meanwhile(contract_store, written, unit_vectors, monkeypatch):
    retriever = MedTEEmbeddingRetriever(document_store=contract_store, model="minilm", top_k=1)
    retriever.run(unit_vectors[7].tolist())

    def monotonic():
        retriever._target = None  # between the question whether the index is known and the answer
        return 0.0

    monkeypatch.setattr("medte_haystack.components.retriever.time", SimpleNamespace(monotonic=monotonic))
    assert [one.id for one in retriever.run(unit_vectors[7].tolist())["documents"]] == ["d7"]
