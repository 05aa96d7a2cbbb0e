"""The ways to search an index, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from haystack import Document
from haystack_integrations.components.retrievers.elasticsearch import (
    ElasticsearchBM25Retriever,
    ElasticsearchEmbeddingRetriever,
)
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from bench.search.corpus import Corpus
from es_ingest.cluster import Connection
from es_ingest.cluster.node import AsyncInfoNode, InfoNode
from medte_haystack import MedTEDocumentStore, MedTEEmbeddingRetriever, MedTEHybridRetriever
from medte_haystack.retrieval import FUSIONS

Search = Callable[[int], list[Document]]
"""Number of a question -> what is found."""

STOCK, DENSE = "ElasticsearchEmbeddingRetriever", "MedTEEmbeddingRetriever"
STOCK_WORDS, WORDS = "ElasticsearchBM25Retriever", "BM25 alone"
HYBRID = "MedTEHybridRetriever"
DOCUMENTS = f"{DENSE}, documents"

BESIDE = {"stock": STOCK, "dense chunks": DENSE, "dense documents": DOCUMENTS}
"""What others are held against; the hybrid retriever gives documents unless it is asked for chunks."""


@dataclass(frozen=True)
class Retrievers:
    """Haystack's retrievers and ours over one index.

    :param stock_async: As `stock`; a store's two clients want different nodes where the server is a local one.
    """

    corpus: Corpus
    stock: ElasticsearchEmbeddingRetriever
    stock_async: ElasticsearchEmbeddingRetriever
    stock_words: ElasticsearchBM25Retriever
    dense: MedTEEmbeddingRetriever
    hybrid: MedTEHybridRetriever

    @classmethod
    def over(
        cls, connection: Connection, index: str, corpus: Corpus, num_candidates: int | None = None
    ) -> "Retrievers":
        """Open an index.

        :param num_candidates: Of all of them; None leaves each its default.
        """
        where = {**connection.client_options(), "index": index}
        theirs = ElasticsearchDocumentStore(**where, node_class=InfoNode)
        theirs_async = ElasticsearchDocumentStore(**where, node_class=AsyncInfoNode)
        ours = MedTEDocumentStore(**where)
        return cls(
            corpus,
            ElasticsearchEmbeddingRetriever(document_store=theirs, num_candidates=num_candidates),
            ElasticsearchEmbeddingRetriever(document_store=theirs_async, num_candidates=num_candidates),
            ElasticsearchBM25Retriever(document_store=theirs),
            MedTEEmbeddingRetriever(document_store=ours, num_candidates=num_candidates),
            MedTEHybridRetriever(document_store=ours, num_candidates=num_candidates),
        )

    def ways(self, top_k: int) -> dict[str, Search]:
        """Return every way to search, with so many hits; vectors and texts are ready."""
        vectors, texts = self.corpus.asked.tolist(), self.corpus.questions

        def dense(**options: Any) -> Search:
            return lambda number: self.dense.run(vectors[number], top_k=top_k, **options)["documents"]

        def hybrid(**options: Any) -> Search:
            return lambda number: self.hybrid.run(texts[number], vectors[number], top_k=top_k, **options)["documents"]

        return {
            STOCK: lambda number: self.stock.run(vectors[number], top_k=top_k)["documents"],
            DENSE: dense(),
            DOCUMENTS: dense(collapse=True),
            STOCK_WORDS: lambda number: self.stock_words.run(texts[number], top_k=top_k)["documents"],
            WORDS: hybrid(fusion="weighted", weights=[0, 1]),
            **{f"{HYBRID}, {fusion}": hybrid(fusion=fusion) for fusion in FUSIONS},
            f"{HYBRID}, min_max, chunks": hybrid(collapse=False),
            f"{HYBRID}, weighted, chunks": hybrid(fusion="weighted", collapse=False),
        }

    def close(self) -> None:
        """Release the connections."""
        self.stock.close()
        self.dense.close()
