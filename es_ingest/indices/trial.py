"""Finds out whether an index can be made, before another one is deleted for it."""

import logging
import signal
from dataclasses import replace

from elasticsearch import Elasticsearch

from es_ingest.stream.stopping import Stop
from medte_haystack.errors import IndexContractError
from medte_haystack.index import IndexSpec, Server, create_index, run

logger = logging.getLogger(__name__)

KEY = "medte_trial"  # in the mapping's `_meta`


def try_out(client: Elasticsearch, index: str, spec: IndexSpec, server: Server) -> None:
    """Make an empty index as a new one shall be, and delete it again: only the server can tell whether it takes it.

    A signal is heeded once it is deleted; what a killed process left of it is deleted by the next call.

    :param index: Name of the new index, or what that begins with; the empty one is called so with ``_trial`` behind.
    :param spec: What the new one shall be.
    :raises IndexContractError: If it cannot be made.
    """
    name = f"{index}_trial"  # no hyphen, with which it might fit the pattern of a data stream, such as logs-*-*
    with Stop() as stop:
        _delete(client, name)
        try:
            made = run(client, create_index(name, replace(spec, meta={KEY: True}), server))
        except IndexContractError as error:
            raise IndexContractError(
                f"nothing was deleted, since no index can be made in the place of what is there: {error}", index=index
            ) from error
        finally:
            _delete(client, name)
    if stop.signal is not None:
        signal.raise_signal(stop.signal)
    if not made:
        raise IndexContractError(
            f"nothing was deleted: index {name!r} is in the way, by which is tried whether {index!r} can be made;"
            " another process may be at it, else delete it",
            index=index,
        )
    logger.info("index %s can be made: %s was, and is deleted again", index, name)


def _delete(client: Elasticsearch, name: str) -> None:
    """Delete an index if it was made here."""
    patient = client.options(ignore_status=404)
    if patient.indices.get_mapping(index=name, filter_path=f"*.mappings._meta.{KEY}").body:
        patient.indices.delete(index=name)
