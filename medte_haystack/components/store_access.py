"""A retriever's store, ours or a stock one: connected without making its index, and copied without its connections."""

import copy
from typing import Any

from elasticsearch import Elasticsearch
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from medte_haystack.components.document_store import MedTEDocumentStore
from medte_haystack.index.steps import has_ended


def blocking_client(store: ElasticsearchDocumentStore) -> Any:
    """Return the store's blocking client; a missing index is not made by it, for a search should report it."""
    if isinstance(store, MedTEDocumentStore):
        return store.connect()
    if type(store) is ElasticsearchDocumentStore and store._client is None:
        # as the store does itself, without the request for the server's banner, and as its async client is made
        store._client = Elasticsearch(
            store._hosts, api_key=store._handle_auth(), headers=store._headers, **store._kwargs
        )
    return store.client


def async_client(store: ElasticsearchDocumentStore) -> Any:
    """Return the store's async client, which makes no index either."""
    if store._async_client is not None and has_ended(store._async_client):
        store._async_client = None
    return store.async_client


def portable(store: ElasticsearchDocumentStore) -> ElasticsearchDocumentStore:
    """Return a store that can be pickled and copied: ours can, a stock one while it has no clients."""
    if isinstance(store, MedTEDocumentStore) or (store._client is None and store._async_client is None):
        return store
    found = copy.copy(store)
    found._client = found._async_client = None
    return found
