"""Reads an index of any size page by page, as it was when the reading began."""

from collections.abc import Iterator
from typing import Any

from elasticsearch import Elasticsearch

_KEEP_ALIVE = "5m"


def pages(
    client: Elasticsearch, index: str, *, size: int, refresh: bool = True, **search: Any
) -> Iterator[list[dict[str, Any]]]:
    """Yield the hits of a search in pages.

    :param refresh: See what was written before it began; where an index is only read, as searches see it.
    :param size: Most hits of a page, at most 10,000.
    :param search: What `Elasticsearch.search` takes beside index and paging; without `sort` the order is the server's.
    """
    if refresh:
        client.indices.refresh(index=index)
    pit = client.open_point_in_time(index=index, keep_alive=_KEEP_ALIVE)["id"]
    after: list[Any] | None = None
    try:
        while True:
            answer = client.search(
                **{"sort": ["_shard_doc"], **search},
                pit={"id": pit, "keep_alive": _KEEP_ALIVE},
                size=size,
                search_after=after,
                track_total_hits=False,
            )
            pit, hits = answer["pit_id"], answer["hits"]["hits"]
            if hits:
                yield hits
            if len(hits) < size:
                return
            after = hits[-1]["sort"]
    finally:
        client.options(ignore_status=404).close_point_in_time(id=pit)  # it may have run out
