"""Finds documents by their vectors."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict, Unpack

from haystack import Document, component
from haystack.document_stores.types import FilterPolicy
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from medte_haystack.components.retriever import Found, FoundMany, Retriever, checked_vector
from medte_haystack.index import Steps
from medte_haystack.retrieval import Hit, Log, SearchOptions, Target, find_dense


class Overrides(TypedDict, total=False):
    """What a single search may ask for otherwise than the component."""

    top_k: int | None
    num_candidates: int | None
    oversample: float | None
    min_similarity: float | None
    exact: bool | None
    return_embedding: bool | None
    collapse: bool | None
    neighbours: int | None


@component
class MedTEEmbeddingRetriever(Retriever):
    """Finds the Documents whose vectors are nearest to a query's, all of them in one request.

    Works over an index that `es-ingest` or :class:`MedTEDocumentStore` made, and over one of a stock
    `ElasticsearchDocumentStore`. Scores are cosines in [-1, 1] where the index compares by cosine or dot product.

    ```python
    from medte_haystack import MedTEDocumentStore, MedTEEmbeddingRetriever, MedTETextEmbedder

    store = MedTEDocumentStore(hosts="http://localhost:9200", index="articles")
    retriever = MedTEEmbeddingRetriever(document_store=store, model="medte")
    vector = MedTETextEmbedder(model="medte").run("What causes acromegaly?")["embedding"]
    documents = retriever.run(vector, top_k=5)["documents"]
    ```
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
        oversample: float | None = None,
        min_similarity: float | None = None,
        exact: bool = False,
        collapse: bool | None = False,
        neighbours: int = 0,
        explain: bool = False,
    ) -> None:
        """Store the parameters; nothing is asked of the server before the first `run`.

        :param document_store: A :class:`MedTEDocumentStore` or a stock `ElasticsearchDocumentStore`.
        :param filters: Haystack filters, applied during the search. A filter on a field that no document has holds for
            none of them, with a warning.
        :param top_k: Documents wanted, 1 to 10,000.
        :param num_candidates: Candidates that a shard looks at, `top_k` to 10,000; None takes ten a document, at least
            100. More find more and take longer.
        :param filter_policy: How filters given to `run` go together with these.
        :param return_embedding: Whether Documents come with their vectors.
        :param model: The model that embeds the queries. If given, an index of another model is an error.
        :param oversample: In a quantised index, how many times `top_k` hits are compared again as floats, 1 to 10; 0
            compares none; None leaves it to the index (3 for bbq), and takes 2 for int8 if it says nothing.
        :param min_similarity: Least cosine, -1 to 1; in a quantised index it is the quantised vectors' cosine.
        :param exact: Compare with every vector that the filters leave, as floats, instead of searching the graph. It
            needs no script: the index is searched in parts of 10,000 documents (by sequence number), each of which
            Elasticsearch then compares one by one. It takes tens of milliseconds a part, and one small request more;
            `num_candidates` and `oversample` have no effect.
        :param collapse: Give each source document once, with its best chunk (`chunk_start` and `chunk_end` in the
            metadata are its place in the document `parent_id`), and search among more chunks until `top_k` documents
            are there. None does so where the index knows documents (a keyword field `parent_id`).
        :param neighbours: Give so many chunks before and after each hit, 0 to 10, under ``meta["retrieval"]``; one
            request more.
        :param explain: Give what was asked of the server as a second output, ``explanation``.
        :raises TypeError: If the store is no `ElasticsearchDocumentStore`.
        :raises IndexContractError: If a number is out of range.
        """
        Retriever.__init__(self, document_store, filters, filter_policy, model, explain)  # see Embedder's subclasses
        self.options = SearchOptions(
            top_k=top_k,
            num_candidates=num_candidates,
            oversample=oversample,
            min_similarity=min_similarity,
            exact=exact,
            return_embedding=return_embedding,
            collapse=collapse,
            neighbours=neighbours,
        )

    @component.output_types(documents=list[Document], explanation=dict[str, Any])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        num_candidates: int | None = None,
        oversample: float | None = None,
        min_similarity: float | None = None,
        exact: bool | None = None,
        return_embedding: bool | None = None,
        collapse: bool | None = None,
        neighbours: int | None = None,
        explain: bool | None = None,
    ) -> Found:
        """Find documents. Parameters beside the first two stand for this search in the place of the component's.

        :param query_embedding: The query's vector.
        :param filters: Haystack filters; `filter_policy` says how they go together with the component's.
        :returns: ``documents``: the best first, with cosines as scores. With `explain` also ``explanation``: index,
            model, options, the searches sent with their vectors elided, shards, milliseconds on the server, requests.
        :raises IndexMissingError: If the index does not exist.
        :raises IndexContractError: If a number is out of range, the vector is not one for the index, or the index does
            not know documents and `collapse` or `neighbours` want them.
        :raises FingerprintMismatchError: If the index was made with another model than `model`, or another version of
            the contract.
        :raises FilterError: If a filter is malformed or compares analysed text.
        :raises SearchError: If the server refuses the search, or does not answer a second attempt either.
        """
        found: Found = self._ask(self._steps(query_embedding, locals()))
        return found

    @component.output_types(documents=list[Document], explanation=dict[str, Any])
    async def run_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        num_candidates: int | None = None,
        oversample: float | None = None,
        min_similarity: float | None = None,
        exact: bool | None = None,
        return_embedding: bool | None = None,
        collapse: bool | None = None,
        neighbours: int | None = None,
        explain: bool | None = None,
    ) -> Found:
        """Find documents; see :meth:`run`."""
        found: Found = await self._ask_async(self._steps(query_embedding, locals()))
        return found

    def run_batch(
        self,
        query_embeddings: Sequence[Sequence[float]],
        filters: dict[str, Any] | None = None,
        explain: bool | None = None,
        **options: Unpack[Overrides],
    ) -> FoundMany:
        """Find documents for many queries in few requests of bounded size.

        :param query_embeddings: The queries' vectors; a numpy array of shape (queries, dim) is taken too.
        :param filters: For all of them; see :meth:`run`.
        :param explain: See :meth:`run`.
        :param options: The other parameters of :meth:`run`.
        :returns: ``documents``: those of each query, in the queries' order.
        :raises SearchError: If one fails; its `failures` has the reason by the number of the query.
        """
        steps = self._many(query_embeddings, filters, explain, self.options.overridden(**options))
        found: FoundMany = self._ask(steps)
        return found

    async def run_batch_async(
        self,
        query_embeddings: Sequence[Sequence[float]],
        filters: dict[str, Any] | None = None,
        explain: bool | None = None,
        **options: Unpack[Overrides],
    ) -> FoundMany:
        """Find documents for many queries; see :meth:`run_batch`."""
        steps = self._many(query_embeddings, filters, explain, self.options.overridden(**options))
        found: FoundMany = await self._ask_async(steps)
        return found

    def _find(
        self,
        target: Target,
        questions: Sequence[Any],
        filters: Mapping[str, Any] | None,
        options: SearchOptions,
        log: Log | None,
    ) -> Steps[list[list[Hit]]]:
        vectors = [checked_vector(one, target.info) for one in questions]
        return (yield from find_dense(target, vectors, filters, options, log))
