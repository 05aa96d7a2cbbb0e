"""The stock store's operations on many documents, without scripts and by-query APIs of the server."""

from typing import Any, TypeVar

from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

from medte_haystack.components.filters import filter_query
from medte_haystack.components.metadata_values import unique_values
from medte_haystack.components.stored_documents import delete_matching, recreate, update_matching
from medte_haystack.index import Steps, run, run_async

Result = TypeVar("Result")


class ScriptlessDocumentStore(ElasticsearchDocumentStore):
    """An `ElasticsearchDocumentStore` whose deletions, updates and value lists work on servers without scripts.

    Each operation is one conversation (see `medte_haystack.index.steps`), carried out by either client.
    """

    def _ask(self, steps: Steps[Result]) -> Result:
        self._ensure_initialized()
        return run(self._client, steps)

    async def _ask_async(self, steps: Steps[Result]) -> Result:
        await self._ensure_initialized_async()
        return await run_async(self._async_client, steps)

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
        return self._ask(self._unique_values(metadata_field, search_term, from_, size, filters))

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
        return await self._ask_async(self._unique_values(metadata_field, search_term, from_, size, filters))

    def _unique_values(
        self, metadata_field: str, search_term: str, offset: int, size: int, filters: dict[str, Any] | None
    ) -> Steps[tuple[list[Any], int]]:
        field = metadata_field.removeprefix("meta.")
        return unique_values(self._index, field, search_term, filter_query(filters), offset=offset, size=size)

    def delete_by_filter(self, filters: dict[str, Any], refresh: bool = False) -> int:
        """Delete what matches the filters and return how many that were."""
        return self._ask(delete_matching(self._index, _required(filters), refresh=refresh))

    async def delete_by_filter_async(self, filters: dict[str, Any], refresh: bool = False) -> int:
        """Delete what matches the filters and return how many that were."""
        return await self._ask_async(delete_matching(self._index, _required(filters), refresh=refresh))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any], refresh: bool = False) -> int:
        """Set metadata fields of what matches the filters and return how many documents that were."""
        return self._ask(update_matching(self._index, _required(filters), meta, refresh=refresh))

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any], refresh: bool = False) -> int:
        """Set metadata fields of what matches the filters and return how many documents that were."""
        return await self._ask_async(update_matching(self._index, _required(filters), meta, refresh=refresh))

    def delete_all_documents(self, recreate_index: bool = False, refresh: bool = True) -> None:
        """Delete all documents; with `recreate_index` by making the index anew, which is faster."""
        self._ask(self._delete_all(recreate_index, refresh))

    async def delete_all_documents_async(self, recreate_index: bool = False, refresh: bool = True) -> None:
        """Delete all documents; see :meth:`delete_all_documents`."""
        await self._ask_async(self._delete_all(recreate_index, refresh))

    def _delete_all(self, recreate_index: bool, refresh: bool) -> Steps[None]:
        if recreate_index:
            yield from recreate(self._index)
        else:
            yield from delete_matching(self._index, {"match_all": {}}, refresh=refresh)


def _required(filters: dict[str, Any]) -> dict[str, Any]:
    query = filter_query(filters)
    if query is None:
        raise ValueError("filters are empty; to take all documents use delete_all_documents")
    return query
