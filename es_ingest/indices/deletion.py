"""Deletes an index of ours together with its ledger, so that the next run begins anew."""

import logging

from elasticsearch import Elasticsearch

from es_ingest.stream.locking import alone, lock_of
from es_ingest.stream.target import ledger_path, target_of
from medte_haystack.errors import IndexContractError, IndexMissingError
from medte_haystack.index import describe_index, run

logger = logging.getLogger(__name__)


def start_over(client: Elasticsearch, index: str) -> None:
    """Delete an index of ours and its ledger; one that is not there is no matter.

    :raises IndexContractError: If it was not made by this project, or the name is an alias.
    :raises LedgerError: If another process writes into it.
    """
    try:
        info = run(client, describe_index(index))
    except IndexMissingError:
        return
    if info.fingerprint is None or info.name != index:
        what = "was not made by medte" if info.fingerprint is None else f"is an alias of {info.name}"
        raise IndexContractError(f"{index!r} {what}, so --fresh does not delete it; choose another name", index=index)
    path = ledger_path(target_of(client, index))
    with alone(path, f"the ledger {path}"):
        client.indices.delete(index=index)
        for file in (path, *path.parent.glob(f"{path.name}-*")):  # SQLite's own companions
            file.unlink(missing_ok=True)
    lock_of(path).unlink(missing_ok=True)
    logger.info("deleted index %s and its ledger", index)
