"""Hybrid search over a real Elasticsearch: vectors and words in one request, each document once, reranked if you like.

Run it:  .venv/bin/python examples/hybrid.py [CROSS_ENCODER]
CROSS_ENCODER is a folder or a hub id, such as cross-encoder/ms-marco-MiniLM-L6-v2; it wants the package
sentence-transformers-haystack. Elasticsearch is found as in `pipelines.py`.
"""

import sys

from haystack import Pipeline
from pipelines import MODEL, indexing_pipeline, sample

from es_ingest.cluster import open_cluster
from medte_haystack import MedTEDocumentStore, MedTEHybridRetriever, MedTETextEmbedder


def query_pipeline(store: MedTEDocumentStore, cross_encoder: str | None) -> Pipeline:
    """Embed the question, search by its vector and its words, and let a cross-encoder order the best twenty."""
    top_k = 20 if cross_encoder else 5
    pipeline = Pipeline()
    pipeline.add_component("embedder", MedTETextEmbedder(model=MODEL))
    pipeline.add_component("retriever", MedTEHybridRetriever(document_store=store, model=MODEL, top_k=top_k))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    if cross_encoder:
        from haystack_integrations.components.rankers.sentence_transformers import SentenceTransformersSimilarityRanker

        ranker = SentenceTransformersSimilarityRanker(model=cross_encoder, top_k=5, meta_fields_to_embed=["title"])
        pipeline.add_component("ranker", ranker)
        pipeline.connect("retriever.documents", "ranker.documents")
    return pipeline


def main() -> None:
    """Index a hundred answers and ask a question."""
    cross_encoder = sys.argv[1] if len(sys.argv) > 1 else None
    with open_cluster() as connection:
        store = MedTEDocumentStore(**connection.client_options(), index="hybrid-example", model=MODEL)
        written = indexing_pipeline(store).run({"splitter": {"documents": sample(100)}})["writer"]["documents_written"]
        print(f"{written} passages written")
        question = "what tests show acromegaly?"
        asked = {"embedder": {"text": question}, "retriever": {"query": question}}
        if cross_encoder:
            asked["ranker"] = {"query": question}
        found = query_pipeline(store, cross_encoder).run(asked)
        for one in found["ranker" if cross_encoder else "retriever"]["documents"]:
            sides = one.meta["retrieval"]
            ranks = ", ".join(f"{side} {sides[side]['rank']}" for side in ("dense", "lexical") if side in sides)
            print(f"{one.score:.3f}  {one.meta['title']}  ({ranks})")
        store.close()


if __name__ == "__main__":
    main()
