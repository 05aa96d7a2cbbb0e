"""The chunks around those that were found."""

from collections.abc import Sequence
from typing import Any

from medte_haystack.errors import IndexContractError
from medte_haystack.index import Steps
from medte_haystack.index.contract import CHUNK_END, CHUNK_INDEX, CHUNK_START, CONTENT, ID, PARENT_ID
from medte_haystack.retrieval.asking import Log, ask
from medte_haystack.retrieval.target import Hit, Target

_CHUNKS_A_SEARCH = 100  # whose neighbours are searched at once: each is three clauses, of 1024 that a server takes
_SHOWN = (ID, PARENT_ID, CHUNK_INDEX, CHUNK_START, CHUNK_END, CONTENT)


def neighbours(target: Target, hits: Sequence[Hit], reach: int, log: Log | None) -> Steps[list[list[dict[str, Any]]]]:
    """Return for each hit the chunks before and after it, in the order of the text, itself not among them.

    :param reach: How many on each side.
    :returns: Each with id, chunk_index, chunk_start, chunk_end and content.
    :raises IndexContractError: If the index does not number the chunks of a document.
    """
    if target.info.fields.get(PARENT_ID) != "keyword" or CHUNK_INDEX not in target.info.fields:
        raise IndexContractError(
            f"index {target.info.name!r} lacks the keyword field {PARENT_ID!r} or {CHUNK_INDEX!r}, so neighbours of a"
            " chunk cannot be found; take neighbours=0, or split with MedTEDocumentSplitter or es-ingest",
            index=target.info.name,
        )
    wanted = [_around(hit["_source"], reach) for hit in hits]
    some = [one for one in wanted if one]
    bodies = [_body(some[start : start + _CHUNKS_A_SEARCH]) for start in range(0, len(some), _CHUNKS_A_SEARCH)]
    answers = yield from ask(target.index, bodies, log)
    chunks = {
        (source[PARENT_ID], source[CHUNK_INDEX]): {name: source.get(name) for name in _SHOWN if name != PARENT_ID}
        for answer in answers
        for source in (hit["_source"] for hit in answer["hits"]["hits"])
    }
    return [[chunks[place] for place in places if place in chunks] for places in wanted]


def _around(source: dict[str, Any], reach: int) -> list[tuple[str, int]]:
    parent, index = source.get(PARENT_ID), source.get(CHUNK_INDEX)
    if parent is None or index is None:
        return []
    numbers = range(max(0, index - reach), index + reach + 1)
    return [(parent, number) for number in numbers if number != index]


def _body(wanted: Sequence[Sequence[tuple[str, int]]]) -> dict[str, Any]:
    clauses = [
        {"bool": {"filter": [{"term": {PARENT_ID: some[0][0]}}, {"terms": {CHUNK_INDEX: [one for _, one in some]}}]}}
        for some in wanted
    ]
    return {
        "query": {"bool": {"filter": [{"bool": {"should": clauses}}]}},
        "size": sum(map(len, wanted)),
        "track_total_hits": False,
        "_source": list(_SHOWN),
    }
