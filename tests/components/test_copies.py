"""Copies and pickles of stores, retrievers and pipelines that are in use."""

import copy
import pickle
from types import SimpleNamespace

import pytest
from haystack import Pipeline
from haystack.utils import Secret
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from medte_haystack import MedTEDocumentStore, MedTEEmbeddingRetriever, MedTEHybridRetriever
from medte_haystack.errors import FingerprintMismatchError

KINDS = {"dense": MedTEEmbeddingRetriever, "hybrid": MedTEHybridRetriever}


def pickled(one):
    return pickle.loads(pickle.dumps(one))


@pytest.fixture(params=[copy.copy, copy.deepcopy, pickled], ids=["copy", "deepcopy", "pickle"])
def copied(request):
    return request.param


@pytest.fixture(params=["ours", "stock"])
def store(request, connection, index, contract_store, documents):
    """A store over twenty documents, which our own one wrote."""
    contract_store.write_documents(documents[:20])
    if request.param == "ours":
        return contract_store
    return ElasticsearchDocumentStore(hosts=connection.url, index=index)


def asked(kind, vector):
    return ["number 7", vector.tolist()] if kind == "hybrid" else [vector.tolist()]


async def close(one):
    one.close()
    await one.close_async()


async def test_of_our_store(contract_store, documents, copied):
    contract_store.write_documents(documents[:20])
    assert await contract_store.count_documents_async() == 20
    other = copied(contract_store)
    await close(contract_store)
    assert (other.count_documents(), await other.count_documents_async()) == (20, 20)
    assert (contract_store.count_documents(), await contract_store.count_documents_async()) == (20, 20)
    await close(other)
    assert (contract_store.count_documents(), await contract_store.count_documents_async()) == (20, 20)
    assert other.to_dict() == contract_store.to_dict()
    await close(contract_store)


@pytest.mark.parametrize("kind", KINDS)
async def test_of_retrievers(store, kind, copied, unit_vectors):
    question = asked(kind, unit_vectors[7])
    retriever = KINDS[kind](document_store=store, model="minilm", top_k=3)
    found = retriever.run(*question)
    assert found["documents"][0].id == "d7"
    assert await retriever.run_async(*question) == found
    other = copied(retriever)
    await close(retriever)
    assert other.run(*question) == await other.run_async(*question) == found
    assert retriever.run(*question) == await retriever.run_async(*question) == found
    await close(other)
    assert retriever.run(*question) == await retriever.run_async(*question) == found
    await close(retriever)


@pytest.mark.parametrize("way", [copy.deepcopy, pickled])
async def test_of_a_pipeline(store, way, unit_vectors):
    pipeline = Pipeline()
    for kind, made in KINDS.items():
        pipeline.add_component(kind, made(document_store=store, model="minilm", top_k=3))
    vector = unit_vectors[7].tolist()
    inputs = {"dense": {"query_embedding": vector}, "hybrid": {"query": "number 7", "query_embedding": vector}}
    found = pipeline.run(inputs)
    assert await pipeline.run_async(inputs) == found
    other = way(pipeline)
    await close(store)
    assert other.run(inputs) == await other.run_async(inputs) == found
    stores = [other.get_component(kind).document_store for kind in KINDS]
    assert store not in stores
    if isinstance(store, MedTEDocumentStore):
        assert stores[0] is stores[1]
    for one in stores:
        await close(one)


def test_what_is_known_of_the_index_does_not_travel_to_another_clock(
    contract_store, make_store, connection, index, documents, unit_vectors, copied, monkeypatch
):
    contract_store.write_documents(documents[:20])
    now = [1e9]
    clock = SimpleNamespace(monotonic=lambda: now[0])
    monkeypatch.setattr("medte_haystack.components.retriever.time", clock)
    retriever = MedTEEmbeddingRetriever(document_store=contract_store, model="minilm", top_k=1)
    retriever.run(unit_vectors[7].tolist())
    other = copied(retriever)
    with connection.client() as client:
        client.indices.delete(index=index)
    make_store(model="bge-small").write_documents(documents[:20])
    now[0] = 0.0
    with pytest.raises(FingerprintMismatchError, match="bge-small"):
        other.run(unit_vectors[7].tolist())
    other.document_store.close()


def test_fields_that_one_was_warned_of_are_new_to_the_other(store, copied, unit_vectors, caplog):
    unknown = {"field": "meta.nubmer", "operator": "==", "value": 3}
    retriever = MedTEEmbeddingRetriever(document_store=store, model="minilm")
    retriever.run(unit_vectors[7].tolist(), unknown)
    other = copied(retriever)
    for one in (other, retriever, other):
        one.run(unit_vectors[7].tolist(), unknown)
    assert caplog.text.count("Filter on 'nubmer'") == 2
    for one in (other, retriever):
        one.close()


def test_only_a_key_in_plain_text_stands_in_a_pickle(monkeypatch):
    monkeypatch.setenv("MEDTE_TEST_KEY", "c2VjcmV0OmtleQ==")
    named, plain = (
        MedTEDocumentStore(hosts="http://127.0.0.1:1", api_key=key)
        for key in (Secret.from_env_var("MEDTE_TEST_KEY"), Secret.from_token("c2VjcmV0OmtleQ=="))
    )
    for store, is_there in ((named, False), (plain, True)):
        store.connect()  # the client knows the key either way
        assert (b"c2VjcmV0OmtleQ==" in pickle.dumps(store)) == is_there
        assert pickled(store)._handle_auth() == "c2VjcmV0OmtleQ=="
        store.close()
