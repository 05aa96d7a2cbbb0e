"""Conversations about many stored documents: writing, reading all that match, deleting and changing them.

Written once for the sync and the async store, in the sense of `medte_haystack.index.steps`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from elasticsearch import ApiError
from haystack import Document
from haystack.document_stores.errors import DocumentStoreError, DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy

from medte_haystack.errors import IndexContractError, MedTEError
from medte_haystack.index import (
    BulkResult,
    Failure,
    IndexInfo,
    Operation,
    Server,
    Steps,
    bulk,
    check_vector,
    operation,
    vector_json,
)
from medte_haystack.index.steps import Request

_PAGE = 1000
_KEEP_ALIVE = "2m"
_NAMED = 5  # documents that a message names; the exception carries all

# Overwrites the named metadata fields of a document.
_SET_FIELDS = "for (field in params.entrySet()) { ctx._source[field.getKey()] = field.getValue(); }"

# Settings that the server gives itself.
_GIVEN = (
    "index.uuid",
    "index.creation_date",
    "index.provided_name",
    "index.version",
    "index.routing.allocation.initial",
)

_TAKEN = "version_conflict_engine_exception"
_GONE = "document_missing_exception"


class DocumentsRejectedError(MedTEError, DocumentStoreError):
    """Some documents were refused; `written` counts the others, which are stored, `failures` says which and why."""

    written: int
    failures: tuple[Failure, ...]


def check_documents(documents: list[Document]) -> None:
    """Check the input of a store.

    :raises ValueError: If it is no list of Documents.
    """
    if not isinstance(documents, list) or not all(isinstance(one, Document) for one in documents):
        raise ValueError("param 'documents' must contain a list of objects of type Document")


def write_documents(
    index: str,
    documents: Sequence[Document],
    policy: DuplicatePolicy,
    *,
    refresh: bool,
    server: Server,
    info: IndexInfo,
    pipeline: str | None,
    prepare: Callable[[dict[str, Any], str], None],
) -> Steps[int]:
    """Write documents and return how many were written.

    :param refresh: Refresh the index once, at the end.
    :param info: What the index is; vectors are checked against it.
    :param pipeline: Ingest pipeline of the server.
    :param prepare: Last change to each document's body, given with its id.
    :raises DuplicateDocumentError: If ids are there already, under FAIL; the others are written.
    :raises DocumentsRejectedError: If documents were refused; the others are written.
    """
    action: Literal["index", "create"] = "index" if policy == DuplicatePolicy.OVERWRITE else "create"
    refused: list[Failure] = []

    def operations() -> Iterator[Operation]:
        for document in documents:
            try:
                body = _body(document, server, info, prepare)
                yield operation(action, document.id, body)
            except IndexContractError as error:
                refused.append(Failure(document.id, 400, type(error).__name__, str(error)))

    result: BulkResult = yield from bulk.write(index, operations(), pipeline=pipeline)
    if refresh:
        yield lambda client: client.indices.refresh(index=index)
    skips = policy == DuplicatePolicy.SKIP
    refused += [one for one in result.failures if not (skips and one.type == _TAKEN)]
    if refused and all(one.type == _TAKEN for one in refused):
        raise DuplicateDocumentError(
            f"{len(refused)} of {len(documents)} documents have ids that are in the index already"
            f" ({', '.join(f'{one.id!r:.60}' for one in refused[:_NAMED])}{', …' if len(refused) > _NAMED else ''});"
            " the others are written. To replace or keep what is there use DuplicatePolicy.OVERWRITE or SKIP"
        )
    _raise_if_refused(refused, result, len(documents))
    return result.written


def _raise_if_refused(refused: Sequence[Failure], result: BulkResult, total: int) -> None:
    if not refused:
        return
    first = "; ".join(f"{one.id!r:.60}: {one.reason or one.type}" for one in refused[:_NAMED])
    raise DocumentsRejectedError(
        f"{len(refused)} of {total} documents were refused, {result.written} are written. {first}",
        written=result.written,
        failures=tuple(refused),
    )


def _body(
    document: Document, server: Server, info: IndexInfo, prepare: Callable[[dict[str, Any], str], None]
) -> dict[str, Any]:
    body: dict[str, Any] = document.to_dict()
    for field in ("embedding", "blob", "score"):
        if body.get(field) is None:  # Elasticsearch takes no null in a typed field
            body.pop(field, None)
    prepare(body, document.id)
    if document.embedding is not None:
        try:
            vector = np.asarray(document.embedding, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise IndexContractError(f"the vector of document {document.id!r} does not hold numbers alone") from error
        if info.similarity == "dot_product":
            check_vector(vector, info.dim or vector.size, name=f"document {document.id!r}")
        if info.fingerprint is not None:
            body["embedding"] = vector_json(vector, base64_vectors=info.takes_base64(server))
    if info.fingerprint is not None and "parent_id" not in body:  # a document that was not split is its own chunk
        length = len(document.content or "")
        body |= {"parent_id": document.id, "chunk_index": 0, "chunk_start": 0, "chunk_end": length}
    return body


def all_hits(index: str, body: Mapping[str, Any]) -> Steps[list[dict[str, Any]]]:
    """Return every hit of a search, however many, as the index was when it began.

    :param body: Search body without size, sort and paging.
    """
    opened = yield lambda client: client.open_point_in_time(index=index, keep_alive=_KEEP_ALIVE)
    pit = opened["id"]
    hits: list[dict[str, Any]] = []
    after: list[Any] | None = None
    try:
        while True:
            answer = yield _page_request(body, pit, after)
            page = answer["hits"]["hits"]
            hits.extend(page)
            if len(page) < _PAGE:
                break
            pit, after = answer["pit_id"], page[-1]["sort"]
    except Exception:  # no `finally`: a conversation that was dropped (by a cancelled task) must not ask any more
        yield lambda client: client.close_point_in_time(id=pit)
        raise
    yield lambda client: client.close_point_in_time(id=pit)
    return hits


def delete_matching(index: str, query: Mapping[str, Any], *, refresh: bool) -> Steps[int]:
    """Delete what matches; through search and bulk where the server has no delete-by-query.

    :returns: How many documents were deleted.
    """
    try:
        answer = yield lambda client: client.delete_by_query(index=index, query=query, refresh=refresh)
        return int(answer["deleted"])
    except ApiError as error:
        if not _is_missing(error):
            raise
    hits = yield from all_hits(index, {"query": query, "_source": False})
    return (yield from _apply(index, [Operation("delete", hit["_id"]) for hit in hits], refresh=refresh))


def update_matching(index: str, query: Mapping[str, Any], meta: Mapping[str, Any], *, refresh: bool) -> Steps[int]:
    """Set metadata fields of what matches; through search and bulk where the server has no update-by-query or scripts.

    :returns: How many documents were changed.
    :raises DocumentsRejectedError: If documents could not take the fields; the others are changed.
    """
    script = {"source": _SET_FIELDS, "params": dict(meta), "lang": "painless"}
    try:
        answer = yield lambda client: client.update_by_query(index=index, query=query, script=script, refresh=refresh)
        return int(answer["updated"])
    except ApiError as error:
        if not _is_missing(error):
            raise
    hits = yield from all_hits(index, {"query": query, "_source": False})
    updates = [operation("update", hit["_id"], {"doc": dict(meta)}) for hit in hits]
    return (yield from _apply(index, updates, refresh=refresh))


def _apply(index: str, operations: list[Operation], *, refresh: bool) -> Steps[int]:
    result = yield from bulk.write(index, operations)
    if refresh:
        yield lambda client: client.indices.refresh(index=index)
    # what somebody else deleted meanwhile is no failure
    _raise_if_refused([one for one in result.failures if one.type != _GONE], result, len(operations))
    # an update that finds the document as it should be counts too, as it does in update-by-query
    return result.written


def recreate(index: str) -> Steps[None]:
    """Delete an index and make it again, empty, with its mapping and settings.

    :raises IndexContractError: If the name is an alias's.
    """
    answer = yield lambda client: client.indices.get(index=index, flat_settings=True)
    if index not in answer:
        raise IndexContractError(
            f"{index!r} is an alias of {', '.join(sorted(answer))}; name the index itself to make it anew", index=index
        )
    found = answer[index]
    settings = {name: value for name, value in found["settings"].items() if not name.startswith(_GIVEN)}
    yield lambda client: client.indices.delete(index=index)
    yield lambda client: client.indices.create(
        index=index, settings=settings, mappings=found["mappings"], aliases=found["aliases"]
    )


def _page_request(body: Mapping[str, Any], pit: str, after: list[Any] | None) -> Request:
    page = {
        **body,
        "size": _PAGE,
        "sort": [{"_shard_doc": "asc"}],
        "pit": {"id": pit, "keep_alive": _KEEP_ALIVE},
        "track_total_hits": False,
    }
    if after is not None:
        page["search_after"] = after
    return lambda client: client.search(body=page)


def _is_missing(error: ApiError) -> bool:
    text = str(error.body)
    return error.status_code in (400, 405) and (
        "no handler found" in text or "Incorrect HTTP method" in text or "script_lang not supported" in text
    )
