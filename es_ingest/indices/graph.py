"""The graph of an index's vectors, built once after loading instead of again and again during it.

A server builds a graph for each small segment that it writes, and another whenever it merges some. Without them it
takes vectors several times faster, and a graph that is built of all vectors at once finds more of the nearest. Until it
is there, searches compare with every vector: slower, and exact.
"""

import logging
import re
import time
import uuid
from contextlib import suppress
from typing import Any

from elasticsearch import ApiError, Elasticsearch, TransportError

from es_ingest.indices.meta import keep_in_meta, read_meta
from medte_haystack.errors import IndexContractError
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
_MERGE_TASKS = "/_tasks?actions=indices:admin/forcemerge*&detailed=true"
_PATIENCE = 30.0  # seconds without a merge after which the server must have forgotten it, e.g. by a restart
_AWAY = 600.0  # seconds for which shards may be missing
_LOOK = 0.5  # seconds between looks at what it does


def postpone_graph(client: Elasticsearch, index: str) -> None:
    """Have a server that can do so take vectors into an index without building graphs of few of them."""
    if run(client, detect_server()).postpones_graphs:
        _set_threshold(client, index, _WHILE_LOADING)


def graph_postponed(client: Elasticsearch, index: str) -> bool:
    """Tell whether an index takes vectors without building graphs."""
    return bool(_vector_field(client, index).get("index_options", {}).get(_THRESHOLD) == _WHILE_LOADING)


def begin_graph(client: Elasticsearch, index: str, tries: int = 1) -> bool:
    """Have the server build the graph of an index that was loaded without; it is not waited for.

    :param tries: How often it was begun, this time included.
    :returns: Whether it builds one.
    """
    shards = _segments(client, index)
    most = 1 + min(sum(one > _MANY for one in sizes) for sizes in shards)
    few = max(map(sum, shards)) <= _FEW
    keep_in_meta(client, index, _KEY, None if few else {"segments": most, "tries": tries})
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


def resume_graph(client: Elasticsearch, index: str) -> None:
    """Begin again with a graph that the server has forgotten; called before anything else is written.

    What is written later makes an index look like one whose graph is not whole, so a graph that is, or that was begun
    often enough, is forgotten here too.
    """
    kept = read_meta(client, index).get(_KEY)
    if kept is None:
        return
    if kept["tries"] >= _TRIES or not graph_pending(client, index):
        keep_in_meta(client, index, _KEY, None)
    elif not _merging(client, index):
        begin_graph(client, index, kept["tries"] + 1)


def await_graph(client: Elasticsearch, index: str) -> bool:
    """Wait until the graph of an index that was loaded is whole; begin again with one that a restart has ended.

    :returns: Whether it is.
    """
    busy = time.monotonic()
    while graph_pending(client, index):
        if _merging(client, index):
            busy = time.monotonic()
        elif time.monotonic() - busy > _PATIENCE:
            tries, busy = read_meta(client, index)[_KEY]["tries"] + 1, time.monotonic()
            if tries > _TRIES or not begin_graph(client, index, tries):
                logger.warning("index %s has no whole graph of its vectors, so searches take longer", index)
                return False
        time.sleep(_LOOK)
    if _KEY in read_meta(client, index):
        keep_in_meta(client, index, _KEY, None)
    return True


def _merging(client: Elasticsearch, index: str) -> bool:
    """Tell whether the server merges an index, or will when it has done with others."""
    stats = client.indices.stats(index=index, metric="merge")
    if stats["_all"]["primaries"]["merges"]["current"]:
        return True
    with suppress(ApiError):  # who may not see tasks
        tasks = client.perform_request("GET", _MERGE_TASKS, headers={"accept": "application/json"})
        nodes = tasks.body["nodes"].values()
        named = [one.get("description", "") for node in nodes for one in node["tasks"].values()]
        return any(index in re.split(r"[\[\], ]+", one) for one in named)
    return False


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
    """Return the documents of each segment, by shard; wait for shards that are not there after a restart.

    :raises IndexContractError: If they do not come.
    """
    until = time.monotonic() + _AWAY
    while time.monotonic() < until:
        with suppress(TransportError):
            (settings,) = client.indices.get_settings(index=index, flat_settings=True).values()
            found = client.indices.segments(index=index)["indices"].get(index, {}).get("shards", {})
            copies = [one for of_shard in found.values() for one in of_shard if one["routing"]["primary"]]
            if len(copies) == int(settings["settings"]["index.number_of_shards"]):
                return [[segment["num_docs"] for segment in one["segments"].values()] for one in copies]
        time.sleep(_LOOK)
    raise IndexContractError(f"shards of index {index!r} are not there; run the same command again", index=index)


def _give_each_shard_a_segment(client: Elasticsearch, index: str, shards: int) -> None:
    """Have each shard write a segment without documents: one that is alone would be as it should be, and be left so.

    The server keeps a note of each document that is deleted, also of one that was never there.
    """
    some = [{"delete": {"_id": f"none-{uuid.uuid4()}"}} for _ in range(8 * shards)]
    client.bulk(index=index, operations=some, refresh=True)
