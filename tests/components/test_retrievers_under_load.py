"""Many queries at once, queries that are given up, and servers that go away."""

import asyncio

import numpy as np
import pytest
from elastic_transport import AiohttpHttpNode, Urllib3HttpNode
from elastic_transport import ConnectionError as NoConnection
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice

from medte_haystack import (
    MedTEDocumentEmbedder,
    MedTEDocumentStore,
    MedTEEmbeddingRetriever,
    MedTEHybridRetriever,
    MedTETextEmbedder,
)
from medte_haystack.errors import FingerprintMismatchError, IndexMissingError, SearchError

MODEL = {"model": "minilm", "device": ComponentDevice.from_str("cpu")}
FACTS = [f"Substance {name} {effect}." for name in "ABCDEFGHIJ" for effect in ("lowers sugar", "heals bones")]


@pytest.fixture
def facts(make_store):
    store = make_store(model="minilm", quantisation="int8")
    store.write_documents(MedTEDocumentEmbedder(**MODEL).run([Document(content=one) for one in FACTS])["documents"])
    return store


@pytest.fixture
def numbered(contract_store, documents):
    contract_store.write_documents(documents)
    return contract_store


async def test_a_pipeline_answers_100_queries_at_once_as_it_does_one_by_one(facts):
    pipeline = Pipeline()
    pipeline.add_component("embed", MedTETextEmbedder(**MODEL))
    pipeline.add_component("find", MedTEHybridRetriever(document_store=facts, model="minilm", top_k=3))
    pipeline.connect("embed.embedding", "find.query_embedding")
    questions = [f"Which substance {number % 10} {FACTS[number % 20][12:]}" for number in range(100)]
    asked = [{"embed": {"text": one}, "find": {"query": one}} for one in questions]
    answers = await asyncio.gather(*(pipeline.run_async(one) for one in asked))
    for one, answer in list(zip(asked, answers, strict=True))[::10]:
        assert answer == pipeline.run(one)
    assert all(len(answer["find"]["documents"]) == 3 for answer in answers)
    await facts.close_async()
    assert facts._async_client is None


async def test_a_query_that_is_given_up_leaves_the_others_alone(numbered, unit_vectors):
    retriever = MedTEEmbeddingRetriever(document_store=numbered, model="minilm", top_k=1)
    tasks = [asyncio.create_task(retriever.run_async(vector.tolist())) for vector in unit_vectors[:60]]
    for number, task in enumerate(tasks):
        await asyncio.sleep(0.001)
        if number % 3 == 0:
            tasks[max(0, number - 5)].cancel()
            task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    given_up = [number for number, answer in enumerate(answers) if isinstance(answer, asyncio.CancelledError)]
    assert given_up
    for number, answer in enumerate(answers):
        if number not in given_up:
            assert answer["documents"][0].id == f"d{number}"
    again = await retriever.run_async(unit_vectors[3].tolist())
    assert again["documents"][0].id == "d3"
    await retriever.close_async()


class Falters:
    """Breaks the connection of the next searches."""

    left = 0

    @classmethod
    def breaks(cls, target):
        if "search" in target and cls.left:
            cls.left -= 1
            return True
        return False


class FalteringNode(Urllib3HttpNode):
    def perform_request(self, method, target, *args, **options):
        if Falters.breaks(target):
            raise NoConnection("connection reset by peer")
        return super().perform_request(method, target, *args, **options)


class FalteringAsyncNode(AiohttpHttpNode):
    async def perform_request(self, method, target, *args, **options):
        if Falters.breaks(target):
            raise NoConnection("connection reset by peer")
        return await super().perform_request(method, target, *args, **options)


class TestServerGone:
    @pytest.fixture(params=[MedTEEmbeddingRetriever, MedTEHybridRetriever])
    def ask(self, request, connection, numbered, index, unit_vectors):
        """Search with a store whose connections falter, and be ready to do it again."""
        words = ["number 7"] if request.param is MedTEHybridRetriever else []
        store = MedTEDocumentStore(hosts=connection.url, index=index, node_class=FalteringNode)
        retriever = request.param(document_store=store, model="minilm", top_k=1)

        def ask():
            return retriever.run(*words, unit_vectors[7].tolist())["documents"]

        yield ask
        retriever.close()

    def test_for_a_moment(self, ask):
        Falters.left = 1
        assert [one.id for one in ask()] == ["d7"]
        assert Falters.left == 0

    def test_for_longer(self, ask):
        Falters.left = 2
        with pytest.raises(SearchError, match=r"not answered after 2 attempts: Connection error") as caught:
            ask()
        assert (caught.value.attempts, Falters.left) == (2, 0)
        assert [one.id for one in ask()] == ["d7"]

    async def test_async(self, connection, numbered, index, unit_vectors):
        store = MedTEDocumentStore(hosts=connection.url, index=index, node_class=FalteringAsyncNode)
        retriever = MedTEEmbeddingRetriever(document_store=store, model="minilm", top_k=1)
        Falters.left = 1
        assert (await retriever.run_async(unit_vectors[7].tolist()))["documents"][0].id == "d7"
        Falters.left = 2
        with pytest.raises(SearchError, match=r"not answered after 2 attempts"):
            await retriever.run_async(unit_vectors[7].tolist())
        await retriever.close_async()

    def test_from_the_start(self):
        nowhere = MedTEDocumentStore(hosts="http://127.0.0.1:1", index="articles", max_retries=1)
        with pytest.raises(SearchError, match=r"'articles' does not answer after 2 attempts: .*; is it running"):
            MedTEEmbeddingRetriever(document_store=nowhere).run([1.0])

    def test_an_index_that_is_deleted_meanwhile(self, connection, numbered, index, unit_vectors):
        retriever = MedTEEmbeddingRetriever(document_store=numbered)
        retriever.run(unit_vectors[0].tolist())
        with connection.client() as client:
            client.indices.delete(index=index)
        with pytest.raises(IndexMissingError, match="is not there any more"):
            retriever.run(unit_vectors[0].tolist())


class TestRefused:
    def test_an_index_of_another_contract_version(self, connection, numbered, index, unit_vectors):
        with connection.client() as client:
            meta = client.indices.get_mapping(index=index)[index]["mappings"]["_meta"]
            meta["medte"]["contract"] = 2
            client.indices.put_mapping(index=index, meta=meta)
        retriever = MedTEEmbeddingRetriever(document_store=numbered)
        with pytest.raises(FingerprintMismatchError, match=r"version 2 of the index contract, this package reads 1"):
            retriever.run(unit_vectors[0].tolist())

    def test_more_than_the_index_allows(self, connection, numbered, index, unit_vectors):
        with connection.client() as client:
            client.indices.put_settings(index=index, settings={"index.max_result_window": 50})
        retriever = MedTEEmbeddingRetriever(document_store=numbered)
        with pytest.raises(SearchError, match=r"refused .*Result window is too large.*\[50\]"):
            retriever.run(unit_vectors[0].tolist(), top_k=51)
        with pytest.raises(SearchError, match=r"3 queries .* failed .*query 0: Result window") as caught:
            retriever.run_batch(unit_vectors[:3], top_k=51)
        assert set(caught.value.failures) == {0, 1, 2}

    def test_a_filter_that_the_server_cannot_read(self, numbered, unit_vectors):
        odd = {"field": "meta.number", "operator": "==", "value": "many"}
        with pytest.raises(SearchError, match=r"the server refused .*For input string: \"many\""):
            MedTEEmbeddingRetriever(document_store=numbered).run(unit_vectors[0].tolist(), odd)


def test_numpy_vectors_are_taken_too(numbered, unit_vectors):
    retriever = MedTEEmbeddingRetriever(document_store=numbered, top_k=1)
    assert retriever.run(np.asarray(unit_vectors[5]))["documents"][0].id == "d5"
