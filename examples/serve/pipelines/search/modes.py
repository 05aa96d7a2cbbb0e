"""The Haystack pipelines behind the API: one for each way to search, over one store and so one client."""

from haystack import Pipeline

from medte_haystack import MedTEDocumentStore, MedTEEmbeddingRetriever, MedTEHybridRetriever, MedTETextEmbedder

from .answers import Mode


def search_pipeline(store: MedTEDocumentStore, model: str, mode: Mode) -> Pipeline:
    """Search by the query's vector, by its words, or by both; each source document comes once.

    For words alone nothing is embedded: the retriever's `query_embedding` may be any unit vector.
    """
    pipeline = Pipeline()
    pipeline.add_component("retriever", _retriever(store, model, mode))
    if mode != "lexical":
        pipeline.add_component("embedder", MedTETextEmbedder(model=model))
        pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return pipeline


def _retriever(store: MedTEDocumentStore, model: str, mode: Mode) -> MedTEEmbeddingRetriever | MedTEHybridRetriever:
    match mode:
        case "dense":
            return MedTEEmbeddingRetriever(document_store=store, model=model, collapse=None)
        case "lexical":  # BM25 as the hybrid search has it: a weighted sum in which the vectors count nothing
            return MedTEHybridRetriever(document_store=store, model=model, fusion="weighted", weights=[0.0, 1.0])
        case "hybrid":
            return MedTEHybridRetriever(document_store=store, model=model)
