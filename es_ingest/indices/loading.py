"""What an index goes without while it is loaded: refreshes, replicas, and the graph of its vectors.

Only a new index is treated so: one that is searched already needs all of them. What it had is kept in the index's own
mapping until it is put back, so that after a crash any later run, from any machine, can do it.
"""

import logging
from typing import Any

from elasticsearch import Elasticsearch

from es_ingest.indices.graph import begin_graph, graph_postponed, postpone_graph, resume_graph
from es_ingest.indices.meta import keep_in_meta, read_meta

logger = logging.getLogger(__name__)

_KEY = "medte_loading"
_REFRESHING = 300.0  # seconds that all that was loaded may take to become searchable
_WHILE = {"refresh_interval": "-1", "number_of_replicas": "0"}


def begin_loading(client: Elasticsearch, index: str, *, new: bool) -> bool:
    """Take refresh, replicas and graph away from a new index, or from one whose loading was interrupted.

    :returns: Whether :func:`end_loading` must be called.
    """
    if being_loaded(client, index):
        return True
    if not new and not graph_postponed(client, index):
        resume_graph(client, index)
        return False
    found = client.indices.get_settings(index=index, flat_settings=True)[index]["settings"]
    had: dict[str, Any] = {name: found.get(f"index.{name}") for name in _WHILE}
    keep_in_meta(client, index, _KEY, had)
    client.indices.put_settings(index=index, settings={f"index.{name}": value for name, value in _WHILE.items()})
    postpone_graph(client, index)
    return True


def end_loading(client: Elasticsearch, index: str, *, whole: bool = True) -> bool:
    """Put back what an index had before it was loaded, refresh it, and have the server begin with its graph.

    :param whole: Whether all was written. If not, the graph stays postponed until a run comes to its end.
    :returns: Whether there was anything to put back.
    """
    kept = read_meta(client, index).get(_KEY)
    if kept is None:
        return False
    patient = client.options(request_timeout=_REFRESHING)
    patient.indices.put_settings(index=index, settings={f"index.{name}": value for name, value in kept.items()})
    patient.indices.refresh(index=index)
    if whole and graph_postponed(client, index):
        begin_graph(client, index)
    keep_in_meta(client, index, _KEY, None)
    logger.info("index %s: refresh and replicas are as they were before loading", index)
    return True


def being_loaded(client: Elasticsearch, index: str) -> bool:
    """Tell whether an index is without what loading takes away: a run into it goes on, or has ended by a crash."""
    return _KEY in read_meta(client, index)
