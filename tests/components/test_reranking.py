"""Haystack's rankers behind our retrievers."""

import torch
from haystack import Document, Pipeline
from haystack.utils import ComponentDevice

from medte_haystack import MedTEHybridRetriever


def test_a_cross_encoder_orders_what_was_found(contract_store, documents, unit_vectors, cross_encoder):
    from haystack_integrations.components.rankers.sentence_transformers import SentenceTransformersSimilarityRanker
    from sentence_transformers import CrossEncoder

    contract_store.write_documents(documents)
    pipeline = Pipeline()
    pipeline.add_component("find", MedTEHybridRetriever(document_store=contract_store, model="minilm", top_k=20))
    ranker = SentenceTransformersSimilarityRanker(
        model=cross_encoder, device=ComponentDevice.from_str("cpu"), top_k=5, scale_score=False
    )
    pipeline.add_component("rank", ranker)
    pipeline.connect("find.documents", "rank.documents")
    query = "text number 42"
    found = pipeline.run(
        {"find": {"query": query, "query_embedding": unit_vectors[7].tolist()}, "rank": {"query": query}},
        include_outputs_from={"find"},
    )
    first: list[Document] = found["find"]["documents"]
    with torch.inference_mode():
        scores = CrossEncoder(str(cross_encoder), device="cpu").predict([(query, one.content) for one in first])
    best = sorted(zip(scores.tolist(), [one.id for one in first], strict=True), reverse=True)[:5]
    assert [one.id for one in found["rank"]["documents"]] == [name for _, name in best]
    assert all("retrieval" in one.meta for one in found["rank"]["documents"])
