"""What the page shows of an index beside search results: facets, whole documents, and what it holds."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from elasticsearch import AsyncElasticsearch
from pipelines.search.answers import own_meta
from pydantic import Field
from typing_extensions import TypedDict

from medte_haystack.index.contract import (
    CHUNK_END,
    CHUNK_INDEX,
    CHUNK_START,
    CONTENT,
    EMBEDDING,
    OWN_FIELDS,
    PARENT_ID,
    TITLE,
)

_MOST_FIELDS = 100  # looked at
_MOST_FACETS = 5
_MOST_VALUES = 30  # of a field that is a facet


class Value(TypedDict):
    """A value of a facet."""

    value: str
    documents: Annotated[int, Field(description="That have it, under what is chosen in the other facets.")]


class Facet(TypedDict):
    """A metadata field to filter by."""

    field: str
    values: Annotated[list[Value], Field(description="The most frequent first.")]


class Chunk(TypedDict):
    """A passage of a document."""

    start: Annotated[int | None, Field(description="Its first character in the source document.")]
    end: Annotated[int | None, Field(description="One past its last character.")]
    content: str


class WholeDocument(TypedDict):
    """A source document."""

    document_id: str
    title: str
    meta: dict[str, Any]
    chunks: Annotated[list[Chunk], Field(description="In the order of the text; neighbours may overlap.")]


class IndexViews:
    """Reads an index through the client of the search.

    :param client: The client.
    :param index: Name of the index or of an alias.
    """

    def __init__(self, client: AsyncElasticsearch, index: str) -> None:
        self.client = client
        self.index = index
        self._fields: list[str] | None = None
        self._documents: dict[str, Any] = {"match_all": {}}  # matches one chunk of each document

    async def count(self) -> int:
        """Return how many source documents there are."""
        await self._look()
        answer = await self.client.count(index=self.index, query=self._documents)
        return int(answer["count"])

    async def facets(self, selected: Mapping[str, Sequence[str]]) -> list[Facet]:
        """Return the values to filter by; each field's are counted among what the other fields leave.

        :param selected: Field -> values of which a document must have one.
        """
        fields = await self._look()
        chosen = {field: {"terms": {field: list(values)}} for field, values in selected.items() if values}
        counts = {
            field: {
                "filter": {"bool": {"filter": [one for name, one in chosen.items() if name != field]}},
                "aggs": {"values": {"terms": {"field": field, "size": _MOST_VALUES, "min_doc_count": 0}}},
            }
            for field in fields
        }
        if not counts:
            return []
        answer = await self.client.search(index=self.index, size=0, query=self._documents, aggs=counts)
        return [
            {
                "field": field,
                "values": [
                    {"value": one["key"], "documents": one["doc_count"]}
                    for one in answer["aggregations"][field]["values"]["buckets"]
                ],
            }
            for field in fields
        ]

    async def document(self, document_id: str) -> WholeDocument | None:
        """Return a source document, None if there is none of this id."""
        answer = await self.client.search(
            index=self.index,
            query={"bool": {"should": [{"term": {PARENT_ID: document_id}}, {"ids": {"values": [document_id]}}]}},
            size=10_000,
            sort=[{CHUNK_INDEX: {"order": "asc", "unmapped_type": "integer"}}],
            source_excludes=[EMBEDDING],
        )
        chunks = [hit["_source"] for hit in answer["hits"]["hits"]]
        if not chunks:
            return None
        return {
            "document_id": document_id,
            "title": chunks[0].get(TITLE) or "",
            "meta": own_meta(chunks[0]),
            "chunks": [
                {"start": one.get(CHUNK_START), "end": one.get(CHUNK_END), "content": one.get(CONTENT) or ""}
                for one in chunks
            ],
        }

    async def _look(self) -> list[str]:
        """Return the fields that are facets: keywords of few values, the fewest first. They are found out once."""
        if self._fields is None:
            answer = await self.client.field_caps(index=self.index, fields="*", filters="-metadata")
            kinds = answer["fields"]
            if CHUNK_INDEX in kinds:
                self._documents = {"term": {CHUNK_INDEX: 0}}
            names = [name for name, kind in kinds.items() if "keyword" in kind and name not in OWN_FIELDS]
            self._fields = await self._with_few_values(sorted(names)[:_MOST_FIELDS])
        return self._fields

    async def _with_few_values(self, names: Sequence[str]) -> list[str]:
        if not names:
            return []
        counts = {name: {"cardinality": {"field": name}} for name in names}
        answer = await self.client.search(index=self.index, size=0, aggs=counts)
        values = {name: answer["aggregations"][name]["value"] for name in names}
        few = sorted((name for name in names if 1 < values[name] <= _MOST_VALUES), key=lambda name: values[name])
        return few[:_MOST_FACETS]
