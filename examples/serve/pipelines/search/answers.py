"""What a search answers, as the API declares it."""

from typing import Annotated, Any, Literal

from haystack import Document
from pydantic import Field
from typing_extensions import TypedDict

from medte_haystack.index.contract import CHUNK_END, CHUNK_INDEX, CHUNK_START, OWN_FIELDS, PARENT_ID, RETRIEVAL, TITLE

Mode = Literal["hybrid", "dense", "lexical"]


class Place(TypedDict):
    """Where one side of a search ranked a document."""

    rank: Annotated[int, Field(description="From 1.")]
    score: Annotated[float, Field(description="Cosine of the dense side, BM25 of the lexical side.")]


class Neighbour(TypedDict):
    """A passage before or after the one that was found."""

    start: int | None
    end: int | None
    content: str


class Passage(TypedDict):
    """A document and its best passage."""

    document_id: Annotated[str, Field(description="Id of the source document, for GET /document.")]
    title: str
    content: Annotated[str, Field(description="The best passage.")]
    start: Annotated[int | None, Field(description="Its first character in the source document.")]
    end: Annotated[int | None, Field(description="One past its last character.")]
    score: Annotated[float, Field(description="Of the mode: fused, cosine, or BM25.")]
    found_by: Annotated[
        dict[Literal["dense", "lexical"], Place], Field(description="Which sides found it, and at what rank.")
    ]
    meta: Annotated[dict[str, Any], Field(description="Metadata of the source document.")]
    neighbours: Annotated[list[Neighbour], Field(description="Passages around it, if asked for.")]


class Answer(TypedDict):
    """What a search found."""

    mode: Mode
    documents: Annotated[list[Passage], Field(description="The best first.")]
    took_ms: Annotated[
        float, Field(description="Milliseconds of the whole pipeline, with the embedding where there is one.")
    ]


def passage(document: Document, rank: int, mode: Mode) -> Passage:
    """Return a retriever's Document as the API gives it.

    :param rank: From 1.
    """
    meta = document.meta
    found = meta.get(RETRIEVAL, {})
    sides: dict[Any, Place] = {
        side: {"rank": found[side]["rank"], "score": found[side]["score"]}
        for side in ("dense", "lexical")
        if side in found
    }
    score = document.score or 0.0
    return {
        "document_id": meta.get(PARENT_ID, document.id),
        "title": meta.get(TITLE) or "",
        "content": document.content or "",
        "start": meta.get(CHUNK_START),
        "end": meta.get(CHUNK_END),
        "score": score,
        "found_by": {"dense": {"rank": rank, "score": score}} if mode == "dense" else sides,
        "meta": own_meta(meta),
        "neighbours": [
            {"start": one.get(CHUNK_START), "end": one.get(CHUNK_END), "content": one["content"]}
            for one in sorted(found.get("neighbours", ()), key=lambda one: one[CHUNK_INDEX])
        ],
    }


def own_meta(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the source document's own metadata, without what the index adds."""
    return {name: value for name, value in fields.items() if name not in OWN_FIELDS and name != RETRIEVAL}
