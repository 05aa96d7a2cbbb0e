"""The suites that Haystack gives to document stores, those that elasticsearch-haystack passes, on the real server."""

import dataclasses

import pytest
import pytest_asyncio
from haystack import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from haystack.testing.document_store import (
    CountDocumentsByFilterTest,
    CountUniqueMetadataByFilterTest,
    DocumentStoreBaseExtendedTests,
    GetMetadataFieldMinMaxTest,
    GetMetadataFieldsInfoTest,
    GetMetadataFieldUniqueValuesTest,
)
from haystack.testing.document_store_async import (
    CountDocumentsAsyncTest,
    CountDocumentsByFilterAsyncTest,
    CountUniqueMetadataByFilterAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    DeleteDocumentsAsyncTest,
    FilterDocumentsAsyncTest,
    GetMetadataFieldMinMaxAsyncTest,
    GetMetadataFieldsInfoAsyncTest,
    GetMetadataFieldUniqueValuesAsyncTest,
    UpdateByFilterAsyncTest,
    WriteDocumentsAsyncTest,
)

from medte_haystack import MedTEDocumentStore

# One field cannot hold an integer, a string and a boolean in Elasticsearch: the first decides the field's type.
ONE_FIELD_A_TYPE = {"priority_int": 1, "priority_str": "1", "priority_float": 1.5, "priority_bool": True}


def without_score(documents: list[Document]) -> list[Document]:
    return [dataclasses.replace(one, score=None) for one in documents]


class TestSync(
    DocumentStoreBaseExtendedTests,
    CountDocumentsByFilterTest,
    CountUniqueMetadataByFilterTest,
    GetMetadataFieldsInfoTest,
    GetMetadataFieldMinMaxTest,
    GetMetadataFieldUniqueValuesTest,
):
    @pytest.fixture
    def document_store(self, connection, index):
        store = MedTEDocumentStore(hosts=connection.url, index=index)
        yield store
        store.close()

    def assert_documents_are_equal(self, received, expected):
        super().assert_documents_are_equal(without_score(received), expected)

    def test_write_documents(self, document_store):
        documents = [Document(id="1")]
        assert document_store.write_documents(documents) == 1
        with pytest.raises(DuplicateDocumentError):
            document_store.write_documents(documents, DuplicatePolicy.FAIL)

    def test_get_metadata_field_unique_values_distinct_types(self, document_store):
        document_store.write_documents([Document(content=key, meta={key: v}) for key, v in ONE_FIELD_A_TYPE.items()])
        for key, value in ONE_FIELD_A_TYPE.items():
            values, count = document_store.get_metadata_field_unique_values(metadata_field=key)
            assert (values, count) == ([value], 1)
            assert type(values[0]) is type(value)


class TestAsync(
    CountDocumentsAsyncTest,
    WriteDocumentsAsyncTest,
    DeleteDocumentsAsyncTest,
    DeleteAllAsyncTest,
    DeleteByFilterAsyncTest,
    FilterDocumentsAsyncTest,
    UpdateByFilterAsyncTest,
    CountDocumentsByFilterAsyncTest,
    CountUniqueMetadataByFilterAsyncTest,
    GetMetadataFieldsInfoAsyncTest,
    GetMetadataFieldMinMaxAsyncTest,
    GetMetadataFieldUniqueValuesAsyncTest,
):
    @pytest_asyncio.fixture
    async def document_store(self, connection, index):
        store = MedTEDocumentStore(hosts=connection.url, index=index)
        yield store
        await store.close_async()

    def assert_documents_are_equal(self, received, expected):
        super().assert_documents_are_equal(without_score(received), expected)

    async def test_count_not_empty_async(self, document_store):  # the suite's own is a static method
        await document_store.write_documents_async([Document(content=f"test doc {n}") for n in range(3)])
        assert await document_store.count_documents_async() == 3

    async def test_write_documents_async(self, document_store):
        documents = [Document(id="1", content="test")]
        assert await document_store.write_documents_async(documents) == 1
        with pytest.raises(DuplicateDocumentError):
            await document_store.write_documents_async(documents, policy=DuplicatePolicy.FAIL)

    async def test_get_metadata_field_unique_values_distinct_types_async(self, document_store):
        documents = [Document(content=key, meta={key: value}) for key, value in ONE_FIELD_A_TYPE.items()]
        await document_store.write_documents_async(documents)
        for key, value in ONE_FIELD_A_TYPE.items():
            values, count = await document_store.get_metadata_field_unique_values_async(metadata_field=key)
            assert (values, count) == ([value], 1)
            assert type(values[0]) is type(value)
