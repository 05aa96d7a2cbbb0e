"""Scores of vectors are cosines, whichever way documents or chunks are found."""

import numpy as np
import pytest
from haystack import Document

from medte_haystack import MedTEEmbeddingRetriever, MedTEHybridRetriever
from medte_haystack.index import chunk_id
from medte_haystack.retrieval import FUSIONS

HERE = [one for one in FUSIONS if not one.startswith("server_")]


@pytest.fixture(params=["dot_product", "cosine"])
def chunked(request, make_store, unit_vectors):
    """Six documents of five chunks: a store, a query's vector, and the cosines to it by the chunks' ids."""
    query = unit_vectors[7] + 0.5 * unit_vectors[8]
    query /= np.linalg.norm(query)
    ours = request.param == "dot_product"
    store = make_store(quantisation="hnsw", **({"model": "minilm"} if ours else {}))
    places = [(f"p{number // 5}", number % 5) for number in range(30)]
    store.write_documents(
        [
            Document(
                id=chunk_id(parent, number),
                content=f"Part {number} of {parent}.",
                meta={"parent_id": parent, "chunk_index": number, "chunk_start": 0, "chunk_end": 1},
                embedding=vector.tolist(),
            )
            for (parent, number), vector in zip(places, unit_vectors, strict=False)
        ]
    )
    cosines = {chunk_id(*place): float(one @ query) for place, one in zip(places, unit_vectors, strict=False)}
    return store, (query if ours else 3 * query).tolist(), cosines  # of a cosine the length does not matter


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("collapse", [False, True])
def test_of_a_dense_search(chunked, exact, collapse):
    store, query, cosines = chunked
    retriever = MedTEEmbeddingRetriever(document_store=store, exact=exact, collapse=collapse, top_k=30)
    found = retriever.run(query)["documents"]
    assert len(found) == (6 if collapse else 30)
    assert [one.score for one in found] == pytest.approx([cosines[one.id] for one in found], abs=1e-4)
    assert retriever.run_batch([query, query])["documents"] == [found, found]
    near = retriever.run(query, min_similarity=0.3)["documents"]
    assert (
        [one.id for one in near] == [one.id for one in found if cosines[one.id] >= 0.3] == ["p1#2", "p1#3"][: len(near)]
    )
    assert len(near) == (1 if collapse else 2)


@pytest.mark.parametrize("fusion", HERE)
@pytest.mark.parametrize("collapse", [False, True])
def test_of_the_dense_side_of_a_hybrid_search(chunked, fusion, collapse):
    store, query, cosines = chunked
    retriever = MedTEHybridRetriever(document_store=store, fusion=fusion, collapse=collapse, top_k=6)
    found = retriever.run("part 2", query)["documents"]
    told = [one.meta["retrieval"]["dense"] for one in found if "dense" in one.meta["retrieval"]]
    assert len(told) >= 3
    assert [one["score"] for one in told] == pytest.approx([cosines[one["id"]] for one in told], abs=1e-3)
    near = retriever.run("part 2", query, min_similarity=0.3)["documents"]
    assert {one.meta["retrieval"]["dense"]["id"] for one in near if "dense" in one.meta["retrieval"]} <= {
        "p1#2",
        "p1#3",
    }
    assert len(near) == 6  # what the words find stays
