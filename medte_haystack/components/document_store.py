"""A drop-in `ElasticsearchDocumentStore` that writes by the index contract."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from elasticsearch import Elasticsearch
from haystack import Document, default_from_dict
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils import Secret
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from medte_haystack.components.filters import filter_query
from medte_haystack.components.metadata_values import unique_values
from medte_haystack.components.model_identity import fingerprint_of_model
from medte_haystack.components.stored_documents import (
    all_hits,
    check_documents,
    delete_matching,
    update_matching,
    write_documents,
)
from medte_haystack.index import (
    DEFAULT_QUANTISATION,
    IndexInfo,
    IndexSpec,
    Server,
    Steps,
    detect_server,
    index_options,
    knn_body,
    open_index,
    run,
    run_async,
)
from medte_haystack.index.queries import source_filter

Refresh = Literal["wait_for", True, False]


class MedTEDocumentStore(ElasticsearchDocumentStore):
    """Documents in Elasticsearch, one a chunk, by the index contract.

    A drop-in for `ElasticsearchDocumentStore`: the same parameters and methods. What is different: the vector index
    type is always spelled out; requests are bounded and only what the server had no room for is sent again; refused
    documents are reported one by one while the others are written; results of any number come without gaps; no script
    and no by-query API of the server is needed.

    With `model` the index follows the contract whole: fixed dimensions, unit vectors, and a fingerprint that
    `es-ingest` and the retrievers check. Without, it takes any embedder's vectors, as the stock store does.

    ```python
    from medte_haystack import MedTEDocumentStore

    store = MedTEDocumentStore(hosts="http://localhost:9200", index="articles", model="medte", quantisation="bbq")
    ```
    """

    def __init__(
        self,
        *,
        hosts: Any = None,
        custom_mapping: dict[str, Any] | None = None,
        index: str = "default",
        api_key: Secret | str | None = Secret.from_env_var("ELASTIC_API_KEY", strict=False),  # noqa: B008
        api_key_id: Secret | str | None = Secret.from_env_var("ELASTIC_API_KEY_ID", strict=False),  # noqa: B008
        embedding_similarity_function: Literal["cosine", "dot_product", "l2_norm", "max_inner_product"] | None = None,
        sparse_vector_field: str | None = None,
        ingest_pipeline: str | None = None,
        model: str | None = None,
        quantisation: str = DEFAULT_QUANTISATION,
        analyzer: str = "auto",
        shards: int = 1,
        replicas: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Store the parameters; nothing is asked of the server before the first use.

        :param hosts: Where Elasticsearch is.
        :param custom_mapping: A whole mapping instead of the contract's.
        :param index: Name of the index; it is made when it is missing.
        :param api_key: API key, alone as base64 of ``id:key`` or with `api_key_id`.
        :param api_key_id: Id of the API key.
        :param embedding_similarity_function: Similarity of a new index. None takes ``dot_product`` with `model`,
            ``cosine`` without.
        :param sparse_vector_field: Field for sparse embeddings, if they shall be kept.
        :param ingest_pipeline: Ingest pipeline of the server that documents pass.
        :param model: Whose vectors the index holds: registry name, hub id or local folder.
        :param quantisation: Vector index type of a new index: ``hnsw``, ``int8``, ``int4``, ``bbq``, ``flat``.
        :param analyzer: Of a new index's text; ``auto`` takes ``english`` where the server has it, else ``standard``.
        :param shards: Primary shards of a new index.
        :param replicas: Copies of each; None leaves it to the server.
        :param kwargs: Passed to the Elasticsearch client.
        :raises IndexContractError: If the quantisation is unknown.
        """
        index_options(quantisation, None)
        super().__init__(
            hosts=hosts,
            custom_mapping=custom_mapping,
            index=index,
            api_key=api_key,
            api_key_id=api_key_id,
            embedding_similarity_function=embedding_similarity_function or ("dot_product" if model else "cosine"),
            sparse_vector_field=sparse_vector_field,
            ingest_pipeline=ingest_pipeline,
            **kwargs,
        )
        self._own: dict[str, Any] = {
            "embedding_similarity_function": embedding_similarity_function,
            "model": model,
            "quantisation": quantisation,
            "analyzer": analyzer,
            "shards": shards,
            "replicas": replicas,
        }
        self._opened: tuple[Server, IndexInfo] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the store as a dictionary."""
        data: dict[str, Any] = super().to_dict()
        data["init_parameters"].update(self._own)
        return data

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Return the store that a dictionary describes."""
        found: Self = default_from_dict(cls, data)
        return found

    # -- connecting -----------------------------------------------------------------------------------------------

    def connect(self) -> Elasticsearch:
        """Return the blocking client without looking at the index, which need not be there."""
        if self._client is None:
            self._client = Elasticsearch(
                self._hosts, api_key=self._handle_auth(), headers=self._headers, **self._kwargs
            )
        return self._client

    def _ensure_initialized(self) -> None:
        client = self.connect()
        if self._opened is None:
            self._opened = run(client, self._open())

    async def _ensure_initialized_async(self) -> None:
        if self._async_client is None:
            self._async_client = self._create_async_client()
        if self._opened is None:
            self._opened = await run_async(self._async_client, self._open())

    def close(self) -> None:
        """Release the blocking client; the next use makes a new one."""
        super().close()
        self._opened = None

    async def close_async(self) -> None:
        """Release the async client; the next use makes a new one."""
        await super().close_async()
        self._opened = None

    def _open(self) -> Steps[tuple[Server, IndexInfo]]:
        server = yield from detect_server()
        spec = IndexSpec(
            fingerprint=fingerprint_of_model(self._own["model"]),
            quantisation=self._own["quantisation"],
            similarity=self._embedding_similarity_function,
            analyzer=self._own["analyzer"],
            shards=self._own["shards"],
            replicas=self._own["replicas"],
            body=self._custom_mapping,
            sparse_field=self._sparse_vector_field,
        )
        return server, (yield from open_index(self._index, spec, server))

    # -- writing --------------------------------------------------------------------------------------------------

    def write_documents(
        self,
        documents: list[Document],
        policy: DuplicatePolicy = DuplicatePolicy.NONE,
        refresh: Refresh = "wait_for",
    ) -> int:
        """Write documents.

        :param documents: The documents, with or without embeddings.
        :param policy: What to do with an id that is there: FAIL (and NONE), SKIP or OVERWRITE.
        :param refresh: Whether the documents can be found when this returns; ``"wait_for"`` and True both refresh the
            index once, at the end.
        :returns: How many were written.
        :raises ValueError: If the input is no list of Documents.
        :raises DuplicateDocumentError: If ids are there already, under FAIL; the others are written.
        :raises DocumentsRejectedError: If documents were refused; the others are written.
        :raises BulkWriteError: If the server stays unreachable.
        """
        check_documents(documents)
        self._ensure_initialized()
        return run(self._client, self._write(documents, policy, refresh))

    async def write_documents_async(
        self,
        documents: list[Document],
        policy: DuplicatePolicy = DuplicatePolicy.NONE,
        refresh: Refresh = "wait_for",
    ) -> int:
        """Write documents; see :meth:`write_documents`."""
        check_documents(documents)
        await self._ensure_initialized_async()
        return await run_async(self._async_client, self._write(documents, policy, refresh))

    def _write(self, documents: Sequence[Document], policy: DuplicatePolicy, refresh: Refresh) -> Steps[int]:
        assert self._opened is not None  # noqa: S101  every caller has opened the index
        server, info = self._opened
        return write_documents(
            self._index,
            documents,
            policy,
            refresh=bool(refresh),
            server=server,
            info=info,
            pipeline=self._ingest_pipeline,
            prepare=self._handle_sparse_embedding,
        )

    # -- reading --------------------------------------------------------------------------------------------------

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return all documents that match, with their embeddings.

        :param filters: Haystack filters.
        :raises ValueError: If they are not of Haystack's filter language.
        """
        query = filter_query(filters)
        self._ensure_initialized()
        hits = run(self._client, all_hits(self._index, self._all_body(query)))
        return [self._deserialize_document(hit) for hit in hits]

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return all documents that match, with their embeddings; see :meth:`filter_documents`."""
        query = filter_query(filters)
        await self._ensure_initialized_async()
        hits = await run_async(self._async_client, all_hits(self._index, self._all_body(query)))
        return [self._deserialize_document(hit) for hit in hits]

    def _all_body(self, query: dict[str, Any] | None) -> dict[str, Any]:
        assert self._opened is not None  # noqa: S101  every caller has opened the index
        server, _ = self._opened
        asked = source_filter(return_embedding=True, excludes_vectors=server.excludes_vectors)
        if self._ingest_pipeline and self._sparse_vector_field:
            asked["fields"] = [self._sparse_vector_field]
        return {"query": query or {"match_all": {}}, **asked}

    def _embedding_retrieval(
        self,
        query_embedding: list[float],
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        num_candidates: int | None = None,
    ) -> list[Document]:
        body = self._knn_body(query_embedding, filters, top_k, num_candidates)
        hits = self.client.search(index=self._index, body=body)["hits"]["hits"]
        return [self._deserialize_document(hit) for hit in hits]

    async def _embedding_retrieval_async(
        self,
        query_embedding: list[float],
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        num_candidates: int | None = None,
    ) -> list[Document]:
        await self._ensure_initialized_async()
        body = self._knn_body(query_embedding, filters, top_k, num_candidates)
        hits = (await self.async_client.search(index=self._index, body=body))["hits"]["hits"]
        return [self._deserialize_document(hit) for hit in hits]

    def _knn_body(
        self, vector: list[float], filters: dict[str, Any] | None, top_k: int, num_candidates: int | None
    ) -> dict[str, Any]:
        if not vector:
            raise ValueError("query_embedding must be a non-empty list of floats")
        return knn_body(vector, top_k=top_k, num_candidates=num_candidates, filters=filter_query(filters))

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """Return distinct values of a metadata field, and how many there are.

        :param metadata_field: Its name, with or without ``meta.``.
        :param search_term: Keep values that contain it, whatever its case.
        :param from_: Values to leave out at the start.
        :param size: Values to return.
        :param filters: Restrict the documents.
        """
        if not search_term:
            plain: tuple[list[Any], int] = super().get_metadata_field_unique_values(
                metadata_field, None, from_, size, filters
            )
            return plain
        self._ensure_initialized()
        field = metadata_field.removeprefix("meta.")
        steps = unique_values(self._index, field, search_term, filter_query(filters), offset=from_, size=size)
        return run(self._client, steps)

    async def get_metadata_field_unique_values_async(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """Return distinct values of a metadata field; see :meth:`get_metadata_field_unique_values`."""
        if not search_term:
            plain: tuple[list[Any], int] = await super().get_metadata_field_unique_values_async(
                metadata_field, None, from_, size, filters
            )
            return plain
        await self._ensure_initialized_async()
        field = metadata_field.removeprefix("meta.")
        steps = unique_values(self._index, field, search_term, filter_query(filters), offset=from_, size=size)
        return await run_async(self._async_client, steps)

    # -- changing many --------------------------------------------------------------------------------------------

    def delete_by_filter(self, filters: dict[str, Any], refresh: bool = False) -> int:
        """Delete what matches the filters and return how many that were."""
        query = _required(filters)
        self._ensure_initialized()
        return run(self._client, delete_matching(self._index, query, refresh=refresh))

    async def delete_by_filter_async(self, filters: dict[str, Any], refresh: bool = False) -> int:
        """Delete what matches the filters and return how many that were."""
        query = _required(filters)
        await self._ensure_initialized_async()
        return await run_async(self._async_client, delete_matching(self._index, query, refresh=refresh))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any], refresh: bool = False) -> int:
        """Set metadata fields of what matches the filters and return how many documents that were."""
        query = _required(filters)
        self._ensure_initialized()
        return run(self._client, update_matching(self._index, query, meta, refresh=refresh))

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any], refresh: bool = False) -> int:
        """Set metadata fields of what matches the filters and return how many documents that were."""
        query = _required(filters)
        await self._ensure_initialized_async()
        return await run_async(self._async_client, update_matching(self._index, query, meta, refresh=refresh))

    def delete_all_documents(self, recreate_index: bool = False, refresh: bool = True) -> None:
        """Delete all documents; with `recreate_index` by making the index anew, which is faster."""
        if recreate_index:
            super().delete_all_documents(recreate_index=True, refresh=refresh)
            return
        self._ensure_initialized()
        run(self._client, delete_matching(self._index, {"match_all": {}}, refresh=refresh))

    async def delete_all_documents_async(self, recreate_index: bool = False, refresh: bool = True) -> None:
        """Delete all documents; see :meth:`delete_all_documents`."""
        if recreate_index:
            await super().delete_all_documents_async(recreate_index=True, refresh=refresh)
            return
        await self._ensure_initialized_async()
        await run_async(self._async_client, delete_matching(self._index, {"match_all": {}}, refresh=refresh))


def _required(filters: dict[str, Any]) -> dict[str, Any]:
    query = filter_query(filters)
    if query is None:
        raise ValueError("filters are empty; to take all documents use delete_all_documents")
    return query
