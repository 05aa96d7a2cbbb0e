"""A drop-in `ElasticsearchDocumentStore` that writes by the index contract."""

import os
from collections.abc import Sequence
from typing import Any, Literal, Self
from urllib.parse import urlsplit, urlunsplit

from elasticsearch import AsyncElasticsearch, Elasticsearch
from haystack import Document, default_from_dict
from haystack.document_stores.types import DuplicatePolicy
from haystack.utils import Secret

from medte_haystack.components.filters import filter_query
from medte_haystack.components.scriptless_store import ScriptlessDocumentStore
from medte_haystack.components.stored_documents import all_hits, check_documents, write_documents
from medte_haystack.errors import IndexContractError, IndexMissingError
from medte_haystack.index import (
    DEFAULT_QUANTISATION,
    IndexInfo,
    IndexSpec,
    Server,
    Steps,
    describe_index,
    detect_server,
    index_options,
    knn_body,
    open_index,
    run,
    run_async,
)
from medte_haystack.index.queries import source_filter
from medte_haystack.index.serialisers import serialisers
from medte_haystack.index.steps import has_ended
from medte_haystack.model_identity import fingerprint_of_model

Refresh = Literal["wait_for", True, False]


class MedTEDocumentStore(ScriptlessDocumentStore):
    """Documents in Elasticsearch, one a chunk, by the index contract.

    A drop-in for `ElasticsearchDocumentStore`: the same parameters and methods. What is different: the vector index
    type is always spelled out; requests are bounded and only what the server had no room for is sent again; refused
    documents are reported one by one while the others are written; results of any number come without gaps; no script
    and no by-query API of the server is needed.

    With `model` the index follows the contract whole: fixed dimensions, unit vectors, and a fingerprint that
    `es-ingest` and the retrievers check. Without, it takes any embedder's vectors, as the stock store does.

    A copy or a pickle leaves the connections behind and connects at its first use. A key or password that was given in
    plain text, by `Secret.from_token` too, stands in the pickle as it is; of one from the environment the name does.

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

        :param hosts: Where Elasticsearch is; None takes the URL in the environment variable ``ES_URL``, at first use.
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
        :raises IndexContractError: If the quantisation is unknown, or both a model and a whole mapping are given.
        """
        index_options(quantisation, None)
        if model and custom_mapping:
            raise IndexContractError("model and custom_mapping exclude each other: the model decides the mapping")
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

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled or copied: all but the connections, and what they were told of the index."""
        return {**self.__dict__, "_client": None, "_async_client": None, "_opened": None}

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
            self._client = Elasticsearch(**self._client_options())
        return self._client

    @property
    def async_client(self) -> AsyncElasticsearch:
        """Return the async client, made anew where its event loop has ended, as each `asyncio.run` has its own."""
        if self._async_client is None or has_ended(self._async_client):
            self._async_client = self._create_async_client()
        return self._async_client

    def _create_async_client(self) -> AsyncElasticsearch:
        return AsyncElasticsearch(**self._client_options())

    def _client_options(self) -> dict[str, Any]:
        own = {"hosts": self._address(), "api_key": self._handle_auth(), "headers": self._headers}
        return {"serializers": serialisers(), **own, **self._kwargs}

    def _address(self) -> Any:
        if self._hosts is not None or "cloud_id" in self._kwargs:
            return self._hosts
        url = os.environ.get("ES_URL")
        if not url:
            raise ValueError("no server is named: give hosts, or set the environment variable ES_URL")
        if urlsplit(url).port is None:  # the client asks for a port
            parts = urlsplit(url)
            url = urlunsplit(parts._replace(netloc=f"{parts.netloc}:{443 if parts.scheme == 'https' else 9200}"))
        return url

    def _ensure_initialized(self) -> None:
        client = self.connect()
        if self._opened is None:
            self._opened = run(client, self._open())

    async def _ensure_initialized_async(self) -> None:
        client = self.async_client
        if self._opened is None:
            self._opened = await run_async(client, self._open())

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
        return self._ask(self._write(documents, policy, refresh))

    async def write_documents_async(
        self,
        documents: list[Document],
        policy: DuplicatePolicy = DuplicatePolicy.NONE,
        refresh: Refresh = "wait_for",
    ) -> int:
        """Write documents; see :meth:`write_documents`."""
        check_documents(documents)
        return await self._ask_async(self._write(documents, policy, refresh))

    def _write(self, documents: Sequence[Document], policy: DuplicatePolicy, refresh: Refresh) -> Steps[int]:
        server, info = yield from self._as_it_is()
        return (
            yield from write_documents(
                self._index,
                documents,
                policy,
                refresh=bool(refresh),
                server=server,
                info=info,
                pipeline=self._ingest_pipeline,
                prepare=self._handle_sparse_embedding,
            )
        )

    def _as_it_is(self) -> Steps[tuple[Server, IndexInfo]]:
        """Return the index, opened again if it has changed: of one that was deleted the server would make another."""
        opened = self._opened
        assert opened is not None  # noqa: S101  a conversation begins when the index is open
        try:
            if (yield from describe_index(self._index)) == opened[1]:
                return opened
        except IndexMissingError:
            pass
        self._opened = opened = yield from self._open()
        return opened

    # -- reading --------------------------------------------------------------------------------------------------

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return all documents that match, with their embeddings.

        :param filters: Haystack filters.
        :raises ValueError: If they are not of Haystack's filter language.
        """
        return self._ask(self._all(filter_query(filters)))

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return all documents that match, with their embeddings; see :meth:`filter_documents`."""
        return await self._ask_async(self._all(filter_query(filters)))

    def _all(self, query: dict[str, Any] | None) -> Steps[list[Document]]:
        assert self._opened is not None  # noqa: S101  a conversation begins when the index is open
        server, _ = self._opened
        asked = source_filter(return_embedding=True, excludes_vectors=server.gives_vectors_on_request)
        if self._ingest_pipeline and self._sparse_vector_field:
            asked["fields"] = [self._sparse_vector_field]
        hits = yield from all_hits(self._index, {"query": query or {"match_all": {}}, **asked})
        return [self._deserialize_document(hit) for hit in hits]

    def _embedding_retrieval(
        self,
        query_embedding: list[float],
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        num_candidates: int | None = None,
    ) -> list[Document]:
        return self._ask(self._nearest(query_embedding, filters, top_k, num_candidates))

    async def _embedding_retrieval_async(
        self,
        query_embedding: list[float],
        *,
        filters: dict[str, Any] | None = None,
        top_k: int = 10,
        num_candidates: int | None = None,
    ) -> list[Document]:
        return await self._ask_async(self._nearest(query_embedding, filters, top_k, num_candidates))

    def _nearest(
        self, vector: list[float], filters: dict[str, Any] | None, top_k: int, num_candidates: int | None
    ) -> Steps[list[Document]]:
        if not vector:
            raise ValueError("query_embedding must be a non-empty list of floats")
        assert self._opened is not None  # noqa: S101  a conversation begins when the index is open
        server, info = self._opened
        body = knn_body(
            vector,
            top_k=top_k,
            num_candidates=num_candidates,
            filters=filter_query(filters),
            return_embedding=info.fingerprint is None,  # as the stock store does; the contract's readers ask for them
            excludes_vectors=server.gives_vectors_on_request,
        )
        answer = yield lambda client: client.search(index=self._index, body=body)
        return [self._deserialize_document(hit) for hit in answer["hits"]["hits"]]
