"""Many queries at once, and queries that are given up."""

import asyncio

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice

from medte_haystack import (
    MedTEDocumentEmbedder,
    MedTEEmbeddingRetriever,
    MedTEHybridRetriever,
    MedTETextEmbedder,
)
from medte_haystack.errors import SearchError

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


def test_more_than_the_index_allows_of_many_queries(connection, numbered, index, unit_vectors):
    with connection.client() as client:
        client.indices.put_settings(index=index, settings={"index.max_result_window": 50})
    with pytest.raises(SearchError, match=r"3 queries .* failed .*query 0: Result window") as caught:
        MedTEEmbeddingRetriever(document_store=numbered).run_batch(unit_vectors[:3], top_k=51)
    assert set(caught.value.failures) == {0, 1, 2}


def test_numpy_vectors_are_taken_too(numbered, unit_vectors):
    retriever = MedTEEmbeddingRetriever(document_store=numbered, top_k=1)
    assert retriever.run(np.asarray(unit_vectors[5]))["documents"][0].id == "d5"
