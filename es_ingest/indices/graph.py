"""The graph of an index's vectors, built once after loading instead of again and again during it.

A server builds a graph for each small segment that it writes, and another whenever it merges some. Without them it
takes vectors several times faster, and a graph that is built of all vectors at once finds more of the nearest. Until it
is there, searches compare with every vector: slower, and exact.
"""

import logging
import time
import uuid
from typing import Any

from elasticsearch import ApiError, Elasticsearch

from es_ingest.indices.meta import keep_in_meta, read_meta
from medte_haystack.index import detect_server, run
from medte_haystack.index.contract import EMBEDDING
from medte_haystack.index.server_errors import cause_of

logger = logging.getLogger(__name__)

_KEY = "medte_graph"
_THRESHOLD = "flat_index_threshold"
# A segment of n vectors gets a graph if n > threshold x ln n. While loading that is one of some 250,000 vectors, which
# the server has merged of many: so the graphs of a large index are built beside its loading.
_WHILE_LOADING = 20_000
_MANY = 250_000
_AS_THE_SERVER_DOES = -1
_FEW = 1_000  # vectors, for which the server builds no graph in any case
_TRIES = 3
_PATIENCE = 30.0  # seconds without a merge after which the server must have forgotten it, e.g. by a restart
_LOOK = 0.5  # seconds between looks at what it does


def postpone_graph(client: Elasticsearch, index: str) -> None:
    """Have a server that can do so take vectors into an index without building graphs of few of them."""
    if run(client, detect_server()).postpones_graphs:
        _set_threshold(client, index, _WHILE_LOADING)


def begin_graph(client: Elasticsearch, index: str) -> bool:
    """Have the server build the graph that was postponed, if one was; it is not waited for.

    :returns: Whether it builds one.
    """
    postponed = _vector_field(client, index).get("index_options", {}).get(_THRESHOLD) == _WHILE_LOADING
    if not postponed and not graph_pending(client, index):
        return False
    shards = _segments(client, index)
    most = 1 + min(sum(one > _MANY for one in sizes) for sizes in shards)
    few = max(map(sum, shards)) <= _FEW
    keep_in_meta(client, index, _KEY, None if few else {"segments": most})
    _set_threshold(client, index, _AS_THE_SERVER_DOES)
    if few:
        return False
    try:
        _give_each_shard_a_segment(client, index, len(shards))
        client.indices.forcemerge(index=index, max_num_segments=most, wait_for_completion=False)
    except ApiError as error:
        logger.warning(
            "index %s has no graph of its vectors, so searches compare with each (%s); the next run tries again",
            index,
            cause_of(error),
        )
        return False
    logger.info("index %s: the server builds the graph of its vectors; until then searches compare with each", index)
    return True


def graph_pending(client: Elasticsearch, index: str) -> bool:
    """Tell whether the graph of an index that was loaded is not whole yet."""
    kept = read_meta(client, index).get(_KEY)
    return kept is not None and any(len(sizes) > kept["segments"] for sizes in _segments(client, index))


def await_graph(client: Elasticsearch, index: str) -> bool:
    """Wait until the graph of an index that was loaded is whole; begin again with one that a restart has ended.

    :returns: Whether it is.
    """
    tries, busy = 0, time.monotonic()
    while graph_pending(client, index):
        if _merging(client, index):
            busy = time.monotonic()
        elif time.monotonic() - busy > _PATIENCE:
            tries, busy = tries + 1, time.monotonic()
            if tries > _TRIES or not begin_graph(client, index):
                return False
        time.sleep(_LOOK)
    if _KEY in read_meta(client, index):
        keep_in_meta(client, index, _KEY, None)
    return True


def resume_graph(client: Elasticsearch, index: str) -> None:
    """Begin again with a graph that the server has forgotten."""
    if graph_pending(client, index) and not _merging(client, index):
        begin_graph(client, index)


def _merging(client: Elasticsearch, index: str) -> bool:
    stats = client.indices.stats(index=index, metric="merge")
    return bool(stats["_all"]["primaries"]["merges"]["current"])


def _vector_field(client: Elasticsearch, index: str) -> dict[str, Any]:
    (answer,) = client.indices.get_mapping(index=index).values()
    return dict(answer["mappings"].get("properties", {}).get(EMBEDDING, {}))


def _set_threshold(client: Elasticsearch, index: str, threshold: int) -> None:
    field = _vector_field(client, index)
    options = field.get("index_options", {})
    if "m" in options:  # else it is flat
        field["index_options"] = {**options, _THRESHOLD: threshold}
        client.indices.put_mapping(index=index, properties={EMBEDDING: field})


def _segments(client: Elasticsearch, index: str) -> list[list[int]]:
    """Return the documents of each segment, by shard."""
    (found,) = client.indices.segments(index=index)["indices"].values()
    primaries = [next(one for one in copies if one["routing"]["primary"]) for copies in found["shards"].values()]
    return [[segment["num_docs"] for segment in one["segments"].values()] for one in primaries]


def _give_each_shard_a_segment(client: Elasticsearch, index: str, shards: int) -> None:
    """Have each shard write a segment without documents: one that is alone would be as it should be, and be left so.

    The server keeps a note of each document that is deleted, also of one that was never there.
    """
    some = [{"delete": {"_id": f"none-{uuid.uuid4()}"}} for _ in range(8 * shards)]
    client.bulk(index=index, operations=some, refresh=True)
