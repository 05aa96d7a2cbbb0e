"""The retriever over an index of the contract."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice

from medte_haystack import MedTEDocumentEmbedder, MedTEEmbeddingRetriever, MedTETextEmbedder
from medte_haystack.errors import FingerprintMismatchError, IndexContractError, IndexMissingError


@pytest.fixture
def store(contract_store, documents):
    contract_store.write_documents(documents)
    return contract_store


@pytest.fixture
def query(unit_vectors):
    mixed = unit_vectors[7] + 0.5 * unit_vectors[8]
    return (mixed / np.linalg.norm(mixed)).tolist()


def searches(requests):
    return [sent for sent in requests if "_search" in sent.target]


class TestRun:
    def test_a_hundred_documents_come_in_one_request_with_exact_cosines(self, store, query, unit_vectors, requests):
        retriever = MedTEEmbeddingRetriever(document_store=store, model="minilm")
        found = retriever.run(query, top_k=100)["documents"]
        assert len(searches(requests)) == 1
        cosines = unit_vectors @ np.array(query)
        best = np.argsort(-cosines)[:100]
        assert [one.id for one in found] == [f"d{number}" for number in best]
        np.testing.assert_allclose([one.score for one in found], cosines[best], atol=1e-3)

    def test_the_index_is_looked_at_once(self, store, query, requests):
        retriever = MedTEEmbeddingRetriever(document_store=store)
        for _ in range(3):
            retriever.run(query)
        requests.clear()
        retriever.run(query)
        assert len(requests) == 1

    def test_and_once_more_a_minute(self, store, query, requests, monkeypatch):
        now = [0.0]
        clock = SimpleNamespace(monotonic=lambda: now[0])
        monkeypatch.setattr("medte_haystack.components.retriever.time", clock)
        retriever = MedTEEmbeddingRetriever(document_store=store)
        retriever.run(query)
        requests.clear()
        for now[0] in (59.0, 61.0, 62.0, 120.0):
            retriever.run(query)
        assert [sent.method for sent in requests] == ["POST", "GET", "POST", "POST", "POST"]

    async def test_async_finds_the_same(self, store, query):
        retriever = MedTEEmbeddingRetriever(document_store=store, model="minilm")
        found = retriever.run(query)
        assert await retriever.run_async(query) == found
        assert len(found["documents"]) == 10
        await retriever.close_async()

    @pytest.mark.parametrize("wanted", [True, False])
    def test_vectors_come_when_asked_for(self, store, query, unit_vectors, wanted):
        retriever = MedTEEmbeddingRetriever(document_store=store, return_embedding=wanted, top_k=1)
        (found,) = retriever.run(query)["documents"]
        assert (found.id, found.content, found.meta["number"]) == ("d7", "Text number 7.", 7)
        if wanted:
            np.testing.assert_array_equal(np.array(found.embedding, dtype=np.float32), unit_vectors[7])
        else:
            assert found.embedding is None

    def test_filters_are_applied_during_the_search(self, store, query):
        chosen = {"field": "meta.number", "operator": "in", "value": [3, 90, 120]}
        retriever = MedTEEmbeddingRetriever(document_store=store, filters=chosen)
        assert {one.id for one in retriever.run(query)["documents"]} == {"d3", "d90", "d120"}
        other = {"field": "meta.number", "operator": ">", "value": 100}
        assert len(retriever.run(query, filters=other, top_k=60)["documents"]) == 49
        merging = MedTEEmbeddingRetriever(document_store=store, filters=chosen, filter_policy="merge")
        named = {"field": "id", "operator": "in", "value": ["d3", "d4"]}
        assert [one.id for one in merging.run(query, filters=named)["documents"]] == ["d3"]

    def test_a_pipeline_from_text_to_documents(self, contract_store):
        options = {"model": "minilm", "device": ComponentDevice.from_str("cpu")}
        facts = ["Insulin lowers blood sugar.", "Bones heal in six weeks.", "Measles spreads through the air."]
        embedder = MedTEDocumentEmbedder(**options)
        contract_store.write_documents(embedder.run([Document(content=fact) for fact in facts])["documents"])
        pipeline = Pipeline()
        pipeline.add_component("text", MedTETextEmbedder(**options))
        pipeline.add_component("find", MedTEEmbeddingRetriever(document_store=contract_store, model="minilm", top_k=1))
        pipeline.connect("text.embedding", "find.query_embedding")
        found = pipeline.run({"text": {"text": "Which hormone reduces glucose?"}})["find"]["documents"]
        assert [one.content for one in found] == facts[:1]

    @pytest.mark.parametrize("quantisation", ["int8", "bbq"])
    def test_quantised_indices_find_the_nearest(self, make_store, documents, query, quantisation):
        store = make_store(model="minilm", quantisation=quantisation)
        store.write_documents(documents)
        found = MedTEEmbeddingRetriever(document_store=store).run(query, num_candidates=150)["documents"]
        assert found[0].id == "d7"
        assert found[0].score == pytest.approx(2 / 5**0.5, abs=0.1)


class TestLimits:
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"top_k": 0}, "top_k is 0; Elasticsearch takes 1 to 10000"),
            ({"top_k": 10_001}, "top_k is 10001"),
            ({"num_candidates": 9}, "num_candidates is 9; with top_k 10 it takes 10 to 10000"),
            ({"num_candidates": 10_001}, "num_candidates is 10001"),
            ({"top_k": "10"}, "top_k is '10'; it must be a whole number"),
            ({"top_k": True}, "top_k is True"),
            ({"min_similarity": "0.5"}, "min_similarity is '0.5'; it must be a number"),
        ],
    )
    def test_out_of_range(self, store, query, options, why):
        with pytest.raises(IndexContractError, match=why):
            MedTEEmbeddingRetriever(document_store=store).run(query, **options)
        with pytest.raises(IndexContractError, match=why):
            MedTEEmbeddingRetriever(document_store=store, **options).run(query)

    def test_the_largest_are_taken_by_the_server(self, store, query):
        retriever = MedTEEmbeddingRetriever(document_store=store, top_k=10_000)
        assert len(retriever.run(query)["documents"]) == 150

    @pytest.mark.parametrize(("odd", "why"), [(["a"] * 384, "holds values that are no numbers"), (None, "has no dim")])
    def test_what_is_no_vector(self, store, odd, why):
        with pytest.raises(IndexContractError, match=why):
            MedTEEmbeddingRetriever(document_store=store).run(odd)

    @pytest.mark.parametrize("size", [0, 383, 768])
    def test_a_vector_of_other_dimensions(self, store, size):
        with pytest.raises(IndexContractError, match=f"has {size} dimensions, .* has 384; embed queries with sent"):
            MedTEEmbeddingRetriever(document_store=store).run([1.0] * size)


class TestWrongIndex:
    @pytest.mark.parametrize("model", ["bge-small", "medte"])
    async def test_of_another_model(self, store, query, model, requests):
        retriever = MedTEEmbeddingRetriever(document_store=store, model=model)
        with pytest.raises(FingerprintMismatchError, match="all-MiniLM-L6-v2', not"):
            retriever.run(query)
        with pytest.raises(FingerprintMismatchError, match="all-MiniLM-L6-v2', not"):
            await retriever.run_async(query)
        assert searches(requests) == []
        await retriever.close_async()

    async def test_a_missing_one_is_an_error_and_is_not_made(self, connection, make_store, index, query):
        retriever = MedTEEmbeddingRetriever(document_store=make_store())
        with pytest.raises(IndexMissingError, match=f"index '{index}' is not there"):
            retriever.run(query)
        with pytest.raises(IndexMissingError, match=f"index '{index}' is not there"):
            await retriever.run_async(query)
        with connection.client() as client:
            assert not client.indices.exists(index=index)
        await retriever.close_async()


class TestAlias:
    """An alias may be set on another index while a retriever lives: that index is looked at anew."""

    @pytest.fixture
    def alias(self, connection, store, index):
        with connection.client() as client:
            client.indices.put_alias(index=index, name=f"{index}-alias")
        return f"{index}-alias"

    @pytest.fixture
    def move(self, connection, index, alias):
        other = f"{index}-other"

        def move():
            actions = [{"remove": {"index": index, "alias": alias}}, {"add": {"index": other, "alias": alias}}]
            with connection.client() as client:
                client.indices.update_aliases(actions=actions)

        yield move
        with connection.client() as client:
            client.options(ignore_status=404).indices.delete(index=other)

    def test_to_another_index_of_the_model(self, make_store, index, alias, move, documents, query):
        retriever = MedTEEmbeddingRetriever(document_store=make_store(index=alias), model="minilm", top_k=1)
        assert retriever.run(query)["documents"][0].id == "d7"
        make_store(index=f"{index}-other", model="minilm").write_documents(documents[:5])
        move()
        assert retriever.run(query)["documents"][0].id in {"d0", "d1", "d2", "d3", "d4"}

    def test_to_an_index_of_another_model_of_the_same_dimensions(
        self, make_store, index, alias, move, documents, query
    ):
        retriever = MedTEEmbeddingRetriever(document_store=make_store(index=alias), model="minilm", top_k=1)
        retriever.run(query)
        make_store(index=f"{index}-other", model="bge-small").write_documents(documents[:5])
        move()
        with pytest.raises(FingerprintMismatchError, match=r"bge-small.*all-MiniLM"):
            retriever.run(query)

    @pytest.mark.parametrize("model", ["minilm", None])
    def test_to_an_index_of_other_dimensions(self, make_store, index, alias, move, documents, query, model):
        retriever = MedTEEmbeddingRetriever(document_store=make_store(index=alias), model=model, top_k=1)
        retriever.run(query)
        wide = [replace(one, embedding=[*one.embedding, *[0.0] * 384]) for one in documents[:5]]
        make_store(index=f"{index}-other", model="medte").write_documents(wide)
        move()
        if model:
            for vector in (query, wide[0].embedding):
                with pytest.raises(FingerprintMismatchError, match=r"all-MiniLM"):
                    retriever.run(vector)
        else:
            assert retriever.run(wide[3].embedding)["documents"][0].id == "d3"
            with pytest.raises(IndexContractError, match=r"has 384 dimensions, .* has 768"):
                retriever.run(query)
