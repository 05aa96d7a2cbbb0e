"""The distinct values of a metadata field, searched without scripts."""

from collections.abc import Mapping
from typing import Any

from medte_haystack.index import Steps

_PAGE = 1000


def unique_values(
    index: str, field: str, search_term: str, query: Mapping[str, Any] | None, *, offset: int, size: int
) -> Steps[tuple[list[Any], int]]:
    """Return the distinct values that contain a term, whatever its case, and how many there are.

    All distinct values of the field pass through here, so the cost grows with their number, not with that of the
    documents.

    :param field: Name of the field in the index.
    :param query: Restricts the documents.
    :param offset: Values to leave out at the start.
    :param size: Values to return.
    """
    wanted = search_term.lower()
    values: list[Any] = []
    after: Mapping[str, Any] | None = None
    while True:
        composite: dict[str, Any] = {"size": _PAGE, "sources": [{field: {"terms": {"field": field}}}]}
        if after is not None:
            composite["after"] = after
        body = {"size": 0, "query": query or {"match_all": {}}, "aggs": {"values": {"composite": composite}}}
        answer = yield lambda client, body=body: client.search(index=index, body=body)  # type: ignore[misc]
        found = answer["aggregations"]["values"]
        values += [bucket["key"][field] for bucket in found["buckets"]]
        after = found.get("after_key")
        if after is None or len(found["buckets"]) < _PAGE:
            break
    matching = [value for value in values if wanted in str(value).lower()]
    return matching[offset : offset + size], len(matching)
