"""Finds documents by their vectors."""

from dataclasses import replace
from typing import Any, Self

from haystack import Document, component, default_from_dict, default_to_dict, logging
from haystack.document_stores.types import FilterPolicy
from haystack.document_stores.types.filter_policy import apply_filter_policy
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from medte_haystack.components.document_store import MedTEDocumentStore
from medte_haystack.components.filters import filter_query
from medte_haystack.errors import IndexContractError
from medte_haystack.index import (
    IndexInfo,
    Server,
    Steps,
    cosine_from_score,
    describe_index,
    detect_server,
    knn_body,
    run,
    run_async,
)
from medte_haystack.model_identity import fingerprint_of_model

logger = logging.getLogger(__name__)

_COSINE = ("cosine", "dot_product")


@component
class MedTEEmbeddingRetriever:
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
    ) -> None:
        """Store the parameters; nothing is asked of the server before the first `run`.

        :param document_store: A :class:`MedTEDocumentStore` or a stock `ElasticsearchDocumentStore`.
        :param filters: Haystack filters, applied during the search.
        :param top_k: Documents wanted, 1 to 10,000.
        :param num_candidates: Candidates that a shard looks at, `top_k` to 10,000; None takes ten a document, at least
            100. More find more and take longer.
        :param filter_policy: How filters given to `run` go together with these.
        :param return_embedding: Whether Documents come with their vectors.
        :param model: The model that embeds the queries. If given, an index of another model is an error.
        :raises TypeError: If the store is no `ElasticsearchDocumentStore`.
        """
        if not isinstance(document_store, ElasticsearchDocumentStore):
            raise TypeError(
                f"document_store is a {type(document_store).__name__}; it must be a MedTEDocumentStore or an"
                " ElasticsearchDocumentStore"
            )
        self.document_store = document_store
        self.filters = filters or {}
        self.top_k = top_k
        self.num_candidates = num_candidates
        self.filter_policy = FilterPolicy.from_str(filter_policy) if isinstance(filter_policy, str) else filter_policy
        self.return_embedding = return_embedding
        self.model = model
        self._known: tuple[Server, IndexInfo] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the component as a dictionary."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            filters=self.filters,
            top_k=self.top_k,
            num_candidates=self.num_candidates,
            filter_policy=self.filter_policy.value,
            return_embedding=self.return_embedding,
            model=self.model,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the component that a dictionary describes."""
        found: Self = default_from_dict(cls, data)
        return found

    def close(self) -> None:
        """Release the store's blocking client."""
        self.document_store.close()
        self._known = None

    async def close_async(self) -> None:
        """Release the store's async client."""
        await self.document_store.close_async()
        self._known = None

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        num_candidates: int | None = None,
    ) -> dict[str, list[Document]]:
        """Find documents.

        :param query_embedding: The query's vector.
        :param filters: Haystack filters; `filter_policy` says how they go together with the component's.
        :param top_k: Documents wanted, instead of the component's number.
        :param num_candidates: Candidates that a shard looks at, instead of the component's number.
        :returns: ``documents``: the best first, with cosines as scores.
        :raises IndexMissingError: If the index does not exist.
        :raises IndexContractError: If a number is out of range or the vector has other dimensions than the index.
        :raises FingerprintMismatchError: If the index was made with another model than `model`.
        """
        client = _blocking_client(self.document_store)
        return {"documents": run(client, self._search(query_embedding, filters, top_k, num_candidates))}

    @component.output_types(documents=list[Document])
    async def run_async(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        num_candidates: int | None = None,
    ) -> dict[str, list[Document]]:
        """Find documents; see :meth:`run`."""
        client = self.document_store.async_client
        return {"documents": await run_async(client, self._search(query_embedding, filters, top_k, num_candidates))}

    def _search(
        self, vector: list[float], filters: dict[str, Any] | None, top_k: int | None, num_candidates: int | None
    ) -> Steps[list[Document]]:
        while True:
            if self._known is None:
                self._known = yield from self._look_at_index()
            found = yield from self._search_in(*self._known, vector, filters, top_k, num_candidates)
            if found is not None:
                return found
            self._known = None  # the name is an alias that was set on another index since

    def _search_in(
        self,
        server: Server,
        info: IndexInfo,
        vector: list[float],
        filters: dict[str, Any] | None,
        top_k: int | None,
        num_candidates: int | None,
    ) -> Steps[list[Document] | None]:
        """Search; None if another index than `info`'s answered."""
        if info.dim not in (None, len(vector)):
            raise IndexContractError(
                f"the query's vector has {len(vector)} dimensions, index {info.name!r} has {info.dim}; embed queries"
                f" with {info.fingerprint.model if info.fingerprint else 'the model the index was made with'}",
                found=len(vector),
                expected=info.dim,
            )
        body = knn_body(
            vector,
            top_k=self.top_k if top_k is None else top_k,
            num_candidates=self.num_candidates if num_candidates is None else num_candidates,
            filters=filter_query(apply_filter_policy(self.filter_policy, self.filters, filters)),
            return_embedding=self.return_embedding,
            excludes_vectors=server.gives_vectors_on_request,
        )
        answer = yield lambda client: client.search(index=self.document_store._index, body=body)
        hits = answer["hits"]["hits"]
        if any(hit["_index"] != info.name for hit in hits):
            return None
        found = [self.document_store._deserialize_document(hit) for hit in hits]
        if info.similarity not in _COSINE:
            return found
        return [replace(one, score=cosine_from_score(one.score or 0.0)) for one in found]

    def _look_at_index(self) -> Steps[tuple[Server, IndexInfo]]:
        server = yield from detect_server()
        info = yield from describe_index(self.document_store._index)
        queries = fingerprint_of_model(self.model)
        if queries is not None and info.fingerprint is not None:
            info.fingerprint.check_reader(queries, index=info.name)
        elif queries is not None:
            logger.warning(
                "Index {index} does not say which model made it; whether that is {model} cannot be checked",
                index=info.name,
                model=queries.model,
            )
        elif info.fingerprint is not None:
            logger.warning(
                "Index {index} was made with {model}; give the retriever model=… to have queries of others refused",
                index=info.name,
                model=info.fingerprint.model,
            )
        return server, info


def _blocking_client(store: ElasticsearchDocumentStore) -> Any:
    if isinstance(store, MedTEDocumentStore):
        return store.connect()  # without making a missing index, which a search should report
    return store.client
