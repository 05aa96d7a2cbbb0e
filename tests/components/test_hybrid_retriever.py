"""MedTEHybridRetriever over indices of the contract and of a stock store."""

import numpy as np
import pytest
from haystack import Document

from es_ingest.cluster.node import InfoNode
from medte_haystack import MedTEHybridRetriever
from medte_haystack.errors import FingerprintMismatchError, IndexContractError, SearchError
from medte_haystack.index import chunk_id
from medte_haystack.retrieval import FUSIONS, Weights, fuse
from medte_haystack.retrieval.fusion import METHODS

HERE = [one for one in FUSIONS if not one.startswith("server_")]
SERVERS = [one for one in FUSIONS if one.startswith("server_")]

# what the words find counts more than documents at right angles to the query's vector
BY_WORDS = {one: [0.3, 0.7] for one in METHODS} | {"weighted": [1, 10]}

TEXTS = {
    "insulin": "Insulin lowers the glucose of the blood.",
    "bones": "Broken bones heal in about six weeks.",
    "measles": "Measles spreads through the air and brings a rash.",
    "statins": "Statins inhibit HMG-CoA reductase and lower cholesterol.",
    "rash": "A rash of the skin may itch.",
}


@pytest.fixture
def axes():
    """Vectors at right angles."""
    return np.eye(384, dtype=np.float32)


@pytest.fixture
def store(make_store, axes):
    store = make_store(model="minilm", quantisation="hnsw")
    filler = [
        Document(id=f"filler-{number}", content="Nothing of note.", embedding=axes[200 + number].tolist())
        for number in range(60)
    ]
    store.write_documents(
        [
            *filler,
            *(
                Document(
                    id=name, content=text, embedding=axes[number].tolist(), meta={"title": name.title(), "n": number}
                )
                for number, (name, text) in enumerate(TEXTS.items())
            ),
        ]
    )
    return store


@pytest.fixture
def retriever(store):
    return MedTEHybridRetriever(document_store=store, model="minilm", top_k=4, num_candidates=100)


def near(axes, *shares):
    """A unit vector between the first axes."""
    vector = sum(share * axes[number] for number, share in enumerate(shares))
    return (vector / np.linalg.norm(vector)).tolist()


class TestFusion:
    @pytest.mark.parametrize("fusion", HERE)
    async def test_both_sides_find_and_say_so(self, retriever, axes, fusion, requests):
        vector = near(axes, 0.2, 1.0)  # bones, then insulin
        options = {"fusion": fusion, "weights": BY_WORDS[fusion]}
        found = retriever.run("what brings a rash?", vector, **options)["documents"]
        assert len([sent for sent in requests if "search" in sent.target]) == 1
        by_id = {one.id: one for one in found}
        told = {name: one.meta["retrieval"] for name, one in by_id.items()}
        assert told["bones"]["dense"] == {
            "rank": 1,
            "score": pytest.approx(1 / 1.04**0.5, abs=1e-4),
            "id": "bones",
        }
        assert "lexical" not in told["bones"]
        best = max(("measles", "rash"), key=lambda name: told[name]["lexical"]["score"] if name in told else 0)
        assert told[best]["lexical"]["rank"] == 1
        assert told[best]["fusion"] == fusion
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert (await retriever.run_async("what brings a rash?", vector, **options))["documents"] == found
        await retriever.close_async()

    @pytest.mark.parametrize("fusion", METHODS)
    def test_the_client_fuses_as_the_pure_function_does(self, retriever, axes, fusion):
        vector = near(axes, 1.0, 0.8, 0.6, 0.4, 0.2)
        found = retriever.run("rash of measles", vector, fusion=fusion, window=5, top_k=5, weights=[0.3, 0.7])[
            "documents"
        ]
        sides = [
            sorted(
                ((one.id, one.meta["retrieval"][side]["score"]) for one in found if side in one.meta["retrieval"]),
                key=lambda pair: -pair[1],
            )
            for side in ("dense", "lexical")
        ]
        assert len(sides[0]) == 5
        again = fuse(fusion, *sides, Weights(0.3, 0.7))
        assert [(one.item, pytest.approx(one.score)) for one in again] == [(one.id, one.score) for one in found]

    def test_the_weighted_score_is_the_weighted_sum(self, retriever, axes):
        for one in retriever.run("rash", near(axes, 1, 1, 1, 1, 1), fusion="weighted", weights=[10, 3])["documents"]:
            sides = one.meta["retrieval"]
            dense = 10 * (1 + sides["dense"]["score"]) / 2 if "dense" in sides else 0
            lexical = 3 * sides["lexical"]["score"] if "lexical" in sides else 0
            assert one.score == pytest.approx(dense + lexical, rel=1e-4)

    @pytest.mark.parametrize("fusion", HERE)
    def test_a_side_without_weight_decides_nothing(self, retriever, axes, fusion):
        vector = near(axes, 0.2, 1.0)
        by_words = retriever.run("rash", vector, fusion=fusion, weights=[0, 1])["documents"]
        assert by_words[0].id in {"rash", "measles"}
        by_vector = retriever.run("rash", vector, fusion=fusion, weights=[1, 0])["documents"]
        assert [one.id for one in by_vector[:2]] == ["bones", "insulin"]

    def test_words_of_the_title_count(self, retriever, axes):
        found = retriever.run("statins", near(axes, 0, 1), weights=[0, 1])["documents"]
        assert found[0].id == "statins"
        only = MedTEHybridRetriever(document_store=retriever.document_store, lexical_fields=["content"], weights=[0, 1])
        assert "insulin" in {one.id for one in only.run("Insulin", near(axes, 0, 1))["documents"]}

    @pytest.mark.parametrize("fusion", SERVERS)
    def test_what_this_server_cannot_fuse_is_an_error_that_says_what_can(self, retriever, axes, fusion):
        with pytest.raises(
            SearchError, match=r"unknown retriever .* Enterprise licence or a trial\. fusion='(rrf|min_max)'"
        ):
            retriever.run("rash", near(axes, 1), fusion=fusion)


class TestDocumentsAndChunks:
    @pytest.fixture
    def chunked(self, make_store, axes):
        """Ten documents of twenty chunks; `d0`'s chunk 3 has the vector, its chunk 11 the word."""
        store = make_store(model="minilm", quantisation="hnsw")
        rng = np.random.default_rng(5)

        def chunk(parent, number):
            vector = axes[0] + (0.01 if (parent, number) == (0, 3) else 0.05) * rng.normal(size=384)
            vector = (vector / np.linalg.norm(vector)).tolist()
            text = f"Chunk {number} of {parent}" + (" names tularaemia." if (parent, number) == (0, 11) else ".")
            meta = {"parent_id": f"d{parent}", "chunk_index": number, "chunk_start": number, "chunk_end": number + 1}
            return Document(id=chunk_id(f"d{parent}", number), content=text, meta=meta, embedding=vector)

        store.write_documents([chunk(parent, number) for parent in range(10) for number in range(20)])
        return MedTEHybridRetriever(document_store=store, model="minilm", num_candidates=200)

    @pytest.mark.parametrize("fusion", HERE)
    def test_each_document_once_as_many_as_asked_for(self, chunked, axes, fusion):
        found = chunked.run("tularaemia", axes[0].tolist(), fusion=fusion)["documents"]
        assert sorted(one.meta["parent_id"] for one in found) == sorted(f"d{number}" for number in range(10))
        chunks = chunked.run("tularaemia", axes[0].tolist(), fusion=fusion, collapse=False)["documents"]
        assert len(chunks) == len({one.id for one in chunks}) == 10
        assert len({one.meta["parent_id"] for one in chunks}) < 10

    @pytest.mark.parametrize("fusion", METHODS)
    def test_each_side_names_its_best_chunk(self, chunked, axes, fusion):
        first = chunked.run("tularaemia", axes[0].tolist(), fusion=fusion, neighbours=1)["documents"][0]
        told = first.meta["retrieval"]
        assert (told["dense"]["id"], told["lexical"]["id"]) == ("d0#3", "d0#11")
        assert (first.id, first.content) == ("d0#3", "Chunk 3 of 0.")
        assert [one["chunk_index"] for one in told["neighbours"]] == [2, 4]

    async def test_a_batch_gives_what_single_searches_give(self, chunked, axes, requests):
        queries, vectors = ["tularaemia", "chunk 3", "of"], axes[:3]
        for fusion in HERE:
            single = [
                chunked.run(query, vector.tolist(), fusion=fusion)["documents"]
                for query, vector in zip(queries, vectors, strict=True)
            ]
            requests.clear()
            assert chunked.run_batch(queries, vectors, fusion=fusion) == {"documents": single}
            assert len(requests) <= 3
            assert (await chunked.run_batch_async(queries, vectors, fusion=fusion))["documents"] == single
        await chunked.close_async()
        with pytest.raises(IndexContractError, match="there are 3 queries but 2 vectors"):
            chunked.run_batch(queries, vectors[:2])


class TestQueries:
    @pytest.mark.parametrize("fusion", HERE)
    @pytest.mark.parametrize(
        "query",
        [
            'HMG-CoA AND (reductase OR [x TO *] {y^2 ~3 "unbalanced \\ /re+/ && || ! title:rash',
            "\x00\x01\x1f reductase \x7f \u200b\ufeff",
            "reductase \ud800",
            "reductase " + "lorem ipsum " * 4_200,
        ],
        ids=["lucene", "control", "surrogate", "50,000 characters"],
    )
    def test_any_text_is_harmless(self, retriever, axes, query, fusion):
        found = retriever.run(query, near(axes, 0, 1), fusion=fusion, weights=BY_WORDS[fusion])["documents"]
        assert {"bones", "statins"} <= {one.id for one in found}

    @pytest.mark.parametrize("fusion", HERE)
    def test_without_a_word_the_vectors_answer(self, retriever, axes, fusion):
        found = retriever.run("?!", near(axes, 0, 1), fusion=fusion)["documents"]
        assert found[0].id == "bones"
        assert len(found) == 4

    async def test_blank_is_an_error(self, retriever, axes):
        for blank in ("", " \n"):
            with pytest.raises(IndexContractError, match="the query is empty"):
                retriever.run(blank, near(axes, 1))
            with pytest.raises(IndexContractError, match="the query is empty"):
                await retriever.run_async(blank, near(axes, 1))
        with pytest.raises(TypeError, match="the query is a NoneType"):
            retriever.run(None, near(axes, 1))
        await retriever.close_async()

    @pytest.mark.parametrize("fusion", HERE)
    def test_filters_hold_for_both_sides(self, retriever, axes, fusion):
        chosen = {"field": "meta.n", "operator": "in", "value": [0, 4]}
        found = retriever.run("rash", near(axes, 0.5, 1), chosen, fusion=fusion)["documents"]
        assert {one.id for one in found} == {"insulin", "rash"}
        least = retriever.run("rash", near(axes, 0.5, 1), fusion=fusion, min_similarity=0.8, weights=[1, 0])[
            "documents"
        ]
        assert [one.id for one in least if "dense" in one.meta["retrieval"]] == ["bones"]


class TestLimits:
    @pytest.mark.parametrize(
        ("options", "why"),
        [
            ({"fusion": "best"}, "fusion 'best' is unknown; there are weighted, "),
            ({"weights": [0, 0]}, "weights are .*; give two numbers"),
            ({"weights": [1]}, "weights are .*; give two numbers"),
            ({"weights": [-1, 1]}, "weights are .*; give two numbers"),
            ({"weights": ["a", 1]}, "weights are .*; give two numbers"),
            ({"weights": 0.5}, "weights are 0.5; give two numbers"),
            ({"window": 3}, "window is 3; with top_k 4 it takes 4 to 10000"),
            ({"top_k": 0}, "top_k is 0"),
            ({"oversample": 11}, "oversample is 11"),
            ({"min_similarity": 2}, "min_similarity is 2; a cosine is -1 to 1"),
            ({"neighbours": 11}, "neighbours is 11; there are 0 to 10"),
        ],
    )
    def test_out_of_range(self, retriever, axes, options, why):
        with pytest.raises(IndexContractError, match=why):
            retriever.run("rash", near(axes, 1), **options)
        with pytest.raises(IndexContractError, match=why):
            MedTEHybridRetriever(document_store=retriever.document_store, **{"top_k": 4, **options})

    @pytest.mark.parametrize("fusion", ["min_max", "rrf"])
    def test_the_first_of_few_are_the_first_of_more(self, retriever, axes, fusion):
        more = retriever.run("rash", near(axes, 1), top_k=10, fusion=fusion)["documents"]
        for top_k in (1, 2, 5):
            few = retriever.run("rash", near(axes, 1), top_k=top_k, fusion=fusion)["documents"]
            assert [one.id for one in few] == [one.id for one in more[:top_k]]

    @pytest.mark.parametrize("field", ["nope", "content_type", "nope^2"])
    def test_fields_without_analysed_text(self, retriever, axes, field):
        chosen = MedTEHybridRetriever(document_store=retriever.document_store, lexical_fields=["content^2", field])
        with pytest.raises(IndexContractError, match=r"BM25 searches analysed text: .*content"):
            chosen.run("rash", near(axes, 1))

    def test_exact_is_an_option_of_the_dense_search_alone(self, retriever, axes):
        with pytest.raises(TypeError, match="exact"):
            retriever.run_batch(["rash"], axes[:1], exact=True)
        assert "exact" not in retriever.run("rash", near(axes, 1), explain=True)["explanation"]["options"]

    def test_a_vector_that_is_none(self, retriever):
        with pytest.raises(IndexContractError, match="has 3 dimensions"):
            retriever.run("rash", [1.0, 0.0, 0.0])
        with pytest.raises(IndexContractError, match="has length 2"):
            retriever.run("rash", [2.0, *[0.0] * 383])
        with pytest.raises(IndexContractError, match="has length nan"):
            retriever.run("rash", [float("nan")] * 384)

    def test_an_index_of_another_model(self, store, axes):
        with pytest.raises(FingerprintMismatchError):
            MedTEHybridRetriever(document_store=store, model="bge-small").run("rash", near(axes, 1))


class TestStockStore:
    @pytest.fixture
    def stock(self, connection, index):
        from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

        store = ElasticsearchDocumentStore(hosts=connection.url, index=index, node_class=InfoNode)
        store.write_documents(
            [
                Document(id=name, content=text, embedding=np.eye(8)[number].tolist(), meta={"title": name})
                for number, (name, text) in enumerate(TEXTS.items())
            ]
        )
        yield store
        store.close()

    @pytest.mark.parametrize("fusion", HERE)
    def test_is_searched_by_vectors_and_content(self, stock, fusion):
        retriever = MedTEHybridRetriever(document_store=stock, fusion=fusion)
        found = {one.id: one for one in retriever.run("reductase", np.eye(8)[1].tolist())["documents"]}
        assert found["bones"].meta["retrieval"]["dense"]["score"] == pytest.approx(1, abs=0.02)
        assert found["statins"].meta["retrieval"]["lexical"]["rank"] == 1

    def test_says_that_it_knows_no_documents(self, stock):
        with pytest.raises(IndexContractError, match="no keyword field 'parent_id'"):
            MedTEHybridRetriever(document_store=stock, collapse=True).run("rash", np.eye(8)[1].tolist())
