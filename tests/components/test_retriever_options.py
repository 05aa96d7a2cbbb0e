"""What MedTEEmbeddingRetriever can be asked for, over an index of quantised vectors and of documents in chunks."""

import numpy as np
import pytest
from haystack import Document
from haystack.errors import FilterError

from medte_haystack import MedTEEmbeddingRetriever
from medte_haystack.errors import IndexContractError
from medte_haystack.index import chunk_id
from medte_haystack.retrieval import exact


@pytest.fixture
def query(unit_vectors):
    mixed = unit_vectors[7] + 0.5 * unit_vectors[8]
    return (mixed / np.linalg.norm(mixed)).tolist()


@pytest.fixture
def quantised(make_store, documents):
    store = make_store(model="minilm", quantisation="bbq")
    store.write_documents(documents)
    return store


@pytest.fixture
def chunked(make_store, unit_vectors):
    """Three documents of many chunks near the query of vector 7, twenty of one chunk elsewhere."""
    store = make_store(model="minilm", quantisation="hnsw")
    rng = np.random.default_rng(3)

    def chunk(parent, number, vector):
        vector = vector / np.linalg.norm(vector)
        text = f"Part {number} of {parent}."
        meta = {"parent_id": parent, "chunk_index": number, "chunk_start": 20 * number, "chunk_end": 20 * number + 15}
        return Document(id=chunk_id(parent, number), content=text, meta=meta, embedding=vector.tolist())

    near = [
        chunk(parent, number, unit_vectors[7] + 0.02 * rng.normal(size=384))
        for parent in ("long-a", "long-b", "long-c")
        for number in range(60)
    ]
    store.write_documents([*near, *(chunk(f"short-{number}", 0, unit_vectors[number + 20]) for number in range(20))])
    return MedTEEmbeddingRetriever(document_store=store, model="minilm")


def cosines(unit_vectors, query):
    return unit_vectors @ np.array(query)


class TestPrecision:
    def test_exact_gives_the_exact_cosines_of_a_quantised_index(self, quantised, query, unit_vectors):
        retriever = MedTEEmbeddingRetriever(document_store=quantised, exact=True, top_k=50)
        found = retriever.run(query)["documents"]
        best = np.argsort(-cosines(unit_vectors, query))[:50]
        assert [one.id for one in found] == [f"d{number}" for number in best]
        np.testing.assert_allclose([one.score for one in found], cosines(unit_vectors, query)[best], atol=1e-5)

    def test_exact_search_of_several_parts(self, quantised, query, monkeypatch, requests):
        whole = MedTEEmbeddingRetriever(document_store=quantised, exact=True).run(query)["documents"]
        monkeypatch.setattr(exact, "PART", 40)
        requests.clear()
        parts = MedTEEmbeddingRetriever(document_store=quantised, exact=True).run(query)["documents"]
        assert parts == whole
        (sent,) = (one for one in requests if "_msearch" in one.target)
        assert sent.body.count(b"_seq_no") == 4

    def test_exact_with_filters_and_a_least_cosine(self, quantised, query, unit_vectors):
        chosen = {"field": "meta.number", "operator": "<", "value": 100}
        found = MedTEEmbeddingRetriever(document_store=quantised, filters=chosen, top_k=100).run(
            query, exact=True, min_similarity=0.05
        )["documents"]
        near = np.flatnonzero(cosines(unit_vectors, query)[:100] >= 0.05)
        assert {one.id for one in found} == {f"d{number}" for number in near}
        nothing = {"field": "meta.number", "operator": ">", "value": 1000}
        assert MedTEEmbeddingRetriever(document_store=quantised).run(query, nothing, exact=True)["documents"] == []

    def test_oversampling_compares_floats_again(self, quantised, query, unit_vectors):
        retriever = MedTEEmbeddingRetriever(document_store=quantised, num_candidates=150)
        (best,) = retriever.run(query, top_k=1, oversample=10)["documents"]
        assert best.score == pytest.approx(cosines(unit_vectors, query)[7], abs=1e-6)
        (rough,) = retriever.run(query, top_k=1, oversample=0)["documents"]
        assert rough.score != pytest.approx(cosines(unit_vectors, query)[7], abs=1e-6)

    @pytest.mark.parametrize(
        ("quantisation", "asked"), [("int8", {"oversample": 2.0}), ("bbq", None), ("hnsw", None), ("flat", None)]
    )
    def test_an_int8_index_compares_twice_the_hits_unless_it_says_otherwise(
        self, make_store, documents, query, quantisation, asked
    ):
        store = make_store(model="minilm", quantisation=quantisation)
        store.write_documents(documents)
        retriever = MedTEEmbeddingRetriever(document_store=store, explain=True)
        (search,) = retriever.run(query)["explanation"]["searches"]
        assert search["request"]["query"]["knn"].get("rescore_vector") == asked
        assert len(retriever.run(query, top_k=10_000)["documents"]) == 150

    def test_an_index_that_says_how_much_it_compares_is_left_to_it(self, make_store, documents, query):
        options = {"type": "int8_hnsw", "rescore_vector": {"oversample": 3}}
        vector = {"type": "dense_vector", "dims": 384, "index_options": options}
        store = make_store(custom_mapping={"properties": {"content": {"type": "text"}, "embedding": vector}})
        store.write_documents(documents)
        retriever = MedTEEmbeddingRetriever(document_store=store, explain=True)
        (search,) = retriever.run(query)["explanation"]["searches"]
        assert "rescore_vector" not in search["request"]["query"]["knn"]

    def test_min_similarity(self, contract_store, documents, query, unit_vectors):
        contract_store.write_documents(documents)
        retriever = MedTEEmbeddingRetriever(document_store=contract_store, min_similarity=0.1, top_k=150)
        found = retriever.run(query)["documents"]
        assert len(found) == np.count_nonzero(cosines(unit_vectors, query) >= 0.1)
        assert len(retriever.run(query, min_similarity=-1)["documents"]) == 150

    def test_no_cosine_no_min_similarity(self, make_store):
        store = make_store(embedding_similarity_function="l2_norm")
        store.write_documents([Document(content="a", embedding=[1.0, 0.0])])
        with pytest.raises(IndexContractError, match="compares by l2_norm, so min_similarity, a cosine"):
            MedTEEmbeddingRetriever(document_store=store).run([1.0, 0.0], min_similarity=0.5)


class TestDocuments:
    def test_each_comes_once_with_its_best_chunk_and_as_many_as_asked_for(self, chunked, unit_vectors, requests):
        found = chunked.run(unit_vectors[7].tolist(), collapse=True)["documents"]
        assert len(found) == len({one.meta["parent_id"] for one in found}) == 10
        assert {one.meta["parent_id"] for one in found[:3]} == {"long-a", "long-b", "long-c"}
        # 40 chunks, then 160, are all of the three long documents; 640 are more than there are
        assert len([sent for sent in requests if "_search" in sent.target]) == 3
        chunks = chunked.run(unit_vectors[7].tolist(), top_k=180)["documents"]
        best = {one.meta["parent_id"]: one for one in reversed(chunks)}
        assert found[:3] == sorted((best[name] for name in best), key=lambda one: -one.score)
        assert found[0].content == f"Part {found[0].meta['chunk_index']} of {found[0].meta['parent_id']}."
        assert found[0].meta["chunk_end"] == 20 * found[0].meta["chunk_index"] + 15

    def test_there_are_no_more_than_there_are(self, chunked, unit_vectors, requests):
        assert len(chunked.run(unit_vectors[7].tolist(), top_k=100, collapse=True)["documents"]) == 23
        assert len([sent for sent in requests if "_search" in sent.target]) == 1  # 400 chunks asked for, 200 there

    def test_exact_and_filtered(self, chunked, unit_vectors):
        chosen = {"field": "meta.parent_id", "operator": "in", "value": ["long-b", "short-3"]}
        found = chunked.run(unit_vectors[7].tolist(), chosen, collapse=True, exact=True)["documents"]
        assert [one.meta["parent_id"] for one in found] == ["long-b", "short-3"]

    def test_neighbours(self, chunked, unit_vectors):
        (found,) = chunked.run(unit_vectors[7].tolist(), top_k=1, collapse=True, neighbours=2)["documents"]
        own, parent = found.meta["chunk_index"], found.meta["parent_id"]
        numbers = [one for one in range(own - 2, own + 3) if one != own and 0 <= one < 60]
        assert found.meta["retrieval"]["neighbours"] == [
            {
                "id": f"{parent}#{number}",
                "content": f"Part {number} of {parent}.",
                "chunk_index": number,
                "chunk_start": 20 * number,
                "chunk_end": 20 * number + 15,
            }
            for number in numbers
        ]
        (alone,) = chunked.run(unit_vectors[20].tolist(), top_k=1, neighbours=1)["documents"]
        assert alone.meta["retrieval"] == {"neighbours": []}

    def test_neighbours_of_many_hits(self, chunked, unit_vectors):
        found = chunked.run(unit_vectors[7].tolist(), top_k=180, neighbours=1)["documents"]
        for one in found:
            index = one.meta["chunk_index"]
            around = [near["chunk_index"] for near in one.meta["retrieval"]["neighbours"]]
            assert around == [number for number in (index - 1, index + 1) if 0 <= number < 60]

    def test_an_index_without_documents_says_so(self, make_store):
        store = make_store()
        store.write_documents([Document(id="a", content="a", embedding=[1.0, 0.0])])
        retriever = MedTEEmbeddingRetriever(document_store=store)
        with pytest.raises(IndexContractError, match=r"no keyword field 'parent_id', .* take collapse=False"):
            retriever.run([1.0, 0.0], collapse=True)
        with pytest.raises(IndexContractError, match="neighbours of a chunk cannot be found; take neighbours=0"):
            retriever.run([1.0, 0.0], neighbours=1)
        assert len(MedTEEmbeddingRetriever(document_store=store, collapse=None).run([1.0, 0.0])["documents"]) == 1


class TestMany:
    async def test_a_batch_gives_what_single_searches_give(self, chunked, unit_vectors, requests):
        vectors = unit_vectors[:30]
        single = [chunked.run(one.tolist(), collapse=True, top_k=3)["documents"] for one in vectors]
        requests.clear()
        assert chunked.run_batch(vectors, collapse=True, top_k=3) == {"documents": single}
        assert all("/_msearch" in sent.target for sent in requests)
        assert len(requests) <= 3  # those that need more chunks go again, together
        assert await chunked.run_batch_async(vectors.tolist(), collapse=True, top_k=3) == {"documents": single}
        await chunked.close_async()

    def test_exact(self, quantised, unit_vectors):
        found = MedTEEmbeddingRetriever(document_store=quantised, exact=True, top_k=1).run_batch(unit_vectors[:20])
        assert [one.id for (one,) in found["documents"]] == [f"d{number}" for number in range(20)]

    def test_none(self, quantised):
        assert MedTEEmbeddingRetriever(document_store=quantised).run_batch([]) == {"documents": []}


class TestExplanation:
    def test_says_what_was_asked_and_found(self, quantised, query):
        retriever = MedTEEmbeddingRetriever(document_store=quantised, model="minilm", explain=True)
        chosen = {"field": "meta.number", "operator": "<", "value": 100}
        told = retriever.run(query, chosen, top_k=3, oversample=4)["explanation"]
        assert (told["model"], told["quantisation"], told["requests"]) == (
            "sentence-transformers/all-MiniLM-L6-v2",
            "bbq",
            1,
        )
        assert (told["options"]["top_k"], told["options"]["oversample"]) == (3, 4)
        (search,) = told["searches"]
        knn = search["request"]["query"]["knn"]
        assert (knn["k"], knn["num_candidates"], knn["rescore_vector"]) == (3, 100, {"oversample": 4})
        assert knn["query_vector"].startswith("<vector of ")
        assert (search["hits"], search["shards"]["failed"]) == (3, 0)
        assert told["took_ms"] == search["took_ms"] >= 0
        assert "explanation" not in retriever.run(query, explain=False)


class TestFilters:
    def test_an_unknown_field_holds_for_none_and_is_warned_of_once(self, quantised, query, caplog):
        retriever = MedTEEmbeddingRetriever(document_store=quantised)
        unknown = {"field": "meta.nubmer", "operator": "==", "value": 3}
        assert retriever.run(query, unknown)["documents"] == []
        assert retriever.run(query, unknown)["documents"] == []
        assert caplog.text.count("Filter on 'nubmer': no document of") == 1
        assert "Like it: number" in caplog.text

    def test_a_field_that_came_since_is_known(self, quantised, query, documents, caplog):
        retriever = MedTEEmbeddingRetriever(document_store=quantised)
        retriever.run(query)
        new = Document(id="new", content="x", embedding=documents[0].embedding, meta={"fresh": "yes"})
        quantised.write_documents([new])
        found = retriever.run(query, {"field": "meta.fresh", "operator": "==", "value": "yes"})["documents"]
        assert [one.id for one in found] == ["new"]
        assert "Filter on" not in caplog.text

    def test_whether_a_field_is_there_may_be_asked_of_any(self, quantised, query, caplog):
        absent = {"field": "meta.nothing", "operator": "==", "value": None}
        assert len(MedTEEmbeddingRetriever(document_store=quantised).run(query, absent)["documents"]) == 10
        assert "Filter on" not in caplog.text

    @pytest.mark.parametrize("where", ["content", "meta.content"])
    def test_text_cannot_be_compared(self, quantised, query, where):
        nested = {
            "operator": "AND",
            "conditions": [
                {"field": "meta.number", "operator": ">", "value": 3},
                {"field": where, "operator": "==", "value": "Text number 7."},
            ],
        }
        with pytest.raises(FilterError, match=r"'content' of index .* is analysed text, which filters cannot compare"):
            MedTEEmbeddingRetriever(document_store=quantised).run(query, nested)

    def test_text_with_a_keyword_beside_it(self, make_store, query):
        text = {"type": "text", "fields": {"raw": {"type": "keyword"}}}
        vector = {"type": "dense_vector", "dims": 384}
        store = make_store(custom_mapping={"properties": {"note": text, "embedding": vector}})
        store.write_documents([Document(content="a")])
        chosen = {"field": "meta.note", "operator": "==", "value": "a"}
        with pytest.raises(FilterError, match=r"take 'note\.raw', which keeps it whole"):
            MedTEEmbeddingRetriever(document_store=store).run(query, chosen)

    def test_a_malformed_one(self, quantised, query):
        retriever = MedTEEmbeddingRetriever(document_store=quantised)
        with pytest.raises(FilterError, match="operator '~' is none of Haystack's filter language"):
            retriever.run(query, {"field": "meta.number", "operator": "~", "value": 3})
