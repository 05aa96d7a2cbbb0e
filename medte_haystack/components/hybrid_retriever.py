"""Finds documents by their vectors and by their words."""

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from haystack import Document, component
from haystack.document_stores.types import FilterPolicy
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from medte_haystack.components.retriever import Found, FoundMany, Overrides, Retriever
from medte_haystack.errors import IndexContractError
from medte_haystack.index import Steps
from medte_haystack.retrieval import (
    DEFAULT_FUSION,
    Hit,
    HybridOptions,
    Log,
    Question,
    Target,
    checked_fields,
    checked_vector,
    find_hybrid,
    searchable,
    text_fields,
)


class HybridOverrides(Overrides, total=False):
    """What a single search may ask for otherwise than the component."""

    fusion: str | None
    weights: Sequence[float] | None
    window: int | None


@component
class MedTEHybridRetriever(Retriever):
    """Finds Documents by the query's vector and by its words (BM25 over title and content), in one round trip.

    The vector may come from any embedder here; nothing is embedded on the server. By default each source document
    comes once, with its best chunk. ``meta["retrieval"]`` says which side found it (``dense``, ``lexical``), at what
    ``rank``, with what ``score`` (cosine, BM25) and in which chunk (``id``).

    ```python
    from medte_haystack import MedTEDocumentStore, MedTEHybridRetriever, MedTETextEmbedder

    store = MedTEDocumentStore(hosts="http://localhost:9200", index="articles")
    retriever = MedTEHybridRetriever(document_store=store, model="medte")
    query = "HMG-CoA reductase inhibitors and CYP3A4"
    vector = MedTETextEmbedder(model="medte").run(query)["embedding"]
    documents = retriever.run(query, vector, top_k=5)["documents"]
    ```

    Ways of fusion:

    - ``min_max`` (default), ``distribution``, ``rrf``: two searches in one request, fused in the client: by scores
      moved to [0, 1], by scores in terms of their mean and deviation, or by ranks alone (k = 60).
    - ``weighted``: one search, whose score is the weighted sum of (1 + cosine) / 2 and BM25. The fastest, but the
      weights depend on the model and the texts, and what only the words find has no part of the vectors' score, so it
      comes late. Ranks of a side are those among the documents that came back.
    - ``server_rrf``, ``server_linear``: the server's own retrievers, from 8.16 and 8.18 on under an Enterprise licence.
      It does not say which side found a document.

    nDCG@10 on SciFact with minilm, analyzer ``standard``, default weights (``bench.search --parts quality``): 0.660 by
    vectors alone, 0.654 by words alone, 0.711 min_max, 0.708 distribution, 0.707 weighted, 0.693 rrf.

    The query's text is matched as text: no character of it has a meaning to the server. BM25 gets it without English
    stop words, and of more than 256 words the first 256. A query without any word is answered by the vectors alone.
    """

    def __init__(
        self,
        *,
        document_store: ElasticsearchDocumentStore,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        num_candidates: int | None = None,
        filter_policy: str | FilterPolicy = FilterPolicy.REPLACE,
        return_embedding: bool = False,
        model: str | None = None,
        fusion: str = DEFAULT_FUSION,
        weights: list[float] | None = None,
        window: int | None = None,
        lexical_fields: list[str] | None = None,
        oversample: float | None = None,
        min_similarity: float | None = None,
        collapse: bool | None = None,
        neighbours: int = 0,
        explain: bool = False,
    ) -> None:
        """Store the parameters; nothing is asked of the server before the first `run`.

        :param document_store: A :class:`MedTEDocumentStore` or a stock `ElasticsearchDocumentStore`.
        :param filters: Haystack filters, applied to both sides during the search.
        :param top_k: Documents wanted, 1 to 10,000.
        :param num_candidates: Candidates that a shard looks at; see :class:`MedTEEmbeddingRetriever`.
        :param filter_policy: How filters given to `run` go together with these.
        :param return_embedding: Whether Documents come with their vectors.
        :param model: The model that embeds the queries. If given, an index of another model is an error.
        :param fusion: ``min_max``, ``distribution``, ``rrf``, ``weighted``, ``server_rrf`` or ``server_linear``.
        :param weights: Of the dense and the lexical side; None takes the fusion's default: (0.6, 0.4) for scores in
            [0, 1], (0.5, 0.5) for ranks, (250, 1) for ``weighted``, whose BM25 scores have no upper bound.
        :param window: Hits that each side gives to the fusion, `top_k` to 10,000; None takes `top_k` of the words, at
            least 10, and ten more of the vectors.
        :param lexical_fields: Analysed fields for BM25, all of one analyzer, each perhaps with a boost of at least 1
            (``title.text^2``); None takes content and, where it is analysed, the title.
        :param oversample: See :class:`MedTEEmbeddingRetriever`.
        :param min_similarity: Least cosine of what the dense side finds.
        :param collapse: Give each source document once, with its best chunk; False gives chunks; None collapses where
            the index knows documents (a keyword field `parent_id`).
        :param neighbours: See :class:`MedTEEmbeddingRetriever`.
        :param explain: Give what was asked of the server as a second output, ``explanation``.
        :raises TypeError: If the store is no `ElasticsearchDocumentStore`.
        :raises IndexContractError: If a number is out of range or the fusion unknown.
        """
        Retriever.__init__(self, document_store, filters, filter_policy, model, explain)  # see Embedder's subclasses
        self.lexical_fields = lexical_fields
        self.options = HybridOptions(
            top_k=top_k,
            num_candidates=num_candidates,
            oversample=oversample,
            min_similarity=min_similarity,
            return_embedding=return_embedding,
            collapse=collapse,
            neighbours=neighbours,
            fusion=fusion,
            weights=weights,
            window=window,
        )

    def to_dict(self, **more: Any) -> dict[str, Any]:
        """Return the component as a dictionary."""
        return Retriever.to_dict(self, lexical_fields=self.lexical_fields, **more)

    @component.output_types(documents=list[Document], explanation=dict[str, Any])
    def run(
        self,
        query: str,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        num_candidates: int | None = None,
        fusion: str | None = None,
        weights: list[float] | None = None,
        window: int | None = None,
        oversample: float | None = None,
        min_similarity: float | None = None,
        return_embedding: bool | None = None,
        collapse: bool | None = None,
        neighbours: int | None = None,
        explain: bool | None = None,
    ) -> Found:
        """Find documents. Parameters beside the first three stand for this search in the place of the component's.

        None keeps the component's, so what was set there cannot be unset here.

        :param query: The query's text.
        :param query_embedding: The query's vector.
        :param filters: Haystack filters; `filter_policy` says how they go together with the component's.
        :returns: ``documents``: the best first, with the fusion's scores. With `explain` also ``explanation``; see
            :meth:`MedTEEmbeddingRetriever.run`.
        :raises IndexContractError: If the query is blank, or for the reasons of :meth:`MedTEEmbeddingRetriever.run`.
        :raises SearchError: If the server refuses the search, lacks the fusion, or does not answer a second attempt
            either. The other errors are those of :meth:`MedTEEmbeddingRetriever.run`.
        """
        found: Found = self._ask(self._steps((query, query_embedding), locals()))
        return found

    @component.output_types(documents=list[Document], explanation=dict[str, Any])
    async def run_async(
        self,
        query: str,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        num_candidates: int | None = None,
        fusion: str | None = None,
        weights: list[float] | None = None,
        window: int | None = None,
        oversample: float | None = None,
        min_similarity: float | None = None,
        return_embedding: bool | None = None,
        collapse: bool | None = None,
        neighbours: int | None = None,
        explain: bool | None = None,
    ) -> Found:
        """Find documents; see :meth:`run`."""
        found: Found = await self._ask_async(self._steps((query, query_embedding), locals()))
        return found

    def run_batch(
        self,
        queries: Sequence[str],
        query_embeddings: Sequence[Sequence[float]],
        filters: dict[str, Any] | None = None,
        explain: bool | None = None,
        **options: Unpack[HybridOverrides],
    ) -> FoundMany:
        """Find documents for many queries in few requests of bounded size.

        :param queries: Their texts.
        :param query_embeddings: Their vectors, as many.
        :param filters: For all of them; see :meth:`run`.
        :param explain: See :meth:`run`.
        :param options: The other parameters of :meth:`run`.
        :returns: ``documents``: those of each query, in the queries' order.
        :raises IndexContractError: If there are not as many texts as vectors.
        :raises SearchError: If one fails; its `failures` has the reason by the number of the query.
        """
        found: FoundMany = self._ask(self._batch(queries, query_embeddings, filters, explain, options))
        return found

    async def run_batch_async(
        self,
        queries: Sequence[str],
        query_embeddings: Sequence[Sequence[float]],
        filters: dict[str, Any] | None = None,
        explain: bool | None = None,
        **options: Unpack[HybridOverrides],
    ) -> FoundMany:
        """Find documents for many queries; see :meth:`run_batch`."""
        found: FoundMany = await self._ask_async(self._batch(queries, query_embeddings, filters, explain, options))
        return found

    def _batch(
        self,
        queries: Sequence[str],
        vectors: Sequence[Sequence[float]],
        filters: dict[str, Any] | None,
        explain: bool | None,
        options: HybridOverrides,
    ) -> Steps[FoundMany]:
        if len(queries) != len(vectors):
            raise IndexContractError(f"there are {len(queries)} queries but {len(vectors)} vectors")
        asked = list(zip(queries, vectors, strict=True))
        return (yield from self._many(asked, filters, explain, self.options.overridden(**options)))

    def _find(
        self,
        target: Target,
        questions: Sequence[Any],
        filters: Mapping[str, Any] | None,
        options: HybridOptions,
        log: Log | None,
    ) -> Steps[list[list[Hit]]]:
        asked = [Question(searchable(text), checked_vector(vector, target.info)) for text, vector in questions]
        named = self.lexical_fields
        fields = checked_fields(named, target.info) if named else text_fields(target.info)
        return (yield from find_hybrid(target, asked, filters, options, fields, log))
