"""Deletes an index of ours together with its ledger, so that the next run begins anew."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from elasticsearch import Elasticsearch

from es_ingest.indices.trial import try_out
from es_ingest.stream.ledger_file import check_index, locked
from es_ingest.stream.locking import alone, lock_of
from es_ingest.stream.target import ledger_path, target_of
from medte_haystack.errors import IndexContractError, IndexMissingError
from medte_haystack.index import IndexSpec, Server, describe_index, run

logger = logging.getLogger(__name__)


def make_room(client: Elasticsearch, index: str, ledger: Path | None, spec: IndexSpec, server: Server) -> None:
    """Delete an index and its ledgers, if a new one can be made in its place; see :func:`start_over`.

    :param ledger: The ledger that the new one will have, if it is not where ledgers are kept.
    :param spec: What the new one shall be.
    :raises IndexContractError: If it cannot be made, too.
    """
    start_over(client, index, ledger=ledger, first=partial(try_out, client, index, spec, server))


def start_over(
    client: Elasticsearch, index: str, *, ledger: Path | None = None, first: Callable[[], object] | None = None
) -> None:
    """Delete an index of ours and its ledger; one that is not there is no matter.

    :param ledger: Another ledger of it, besides the one that is kept for it.
    :param first: Is called when all else allows it, before anything is deleted; may raise to prevent it.
    :raises IndexContractError: If it was not made by this project, or the name is an alias.
    :raises LedgerError: If another process writes into it, or `ledger` is about another index.
    """
    try:
        info = run(client, describe_index(index))
    except IndexMissingError:
        return
    if info.fingerprint is None or info.name != index:
        what = "was not made by medte" if info.fingerprint is None else f"is an alias of {info.name}"
        raise IndexContractError(f"{index!r} {what}, so --fresh does not delete it; choose another name", index=index)
    kept = ledger_path(target_of(client, index))
    with ExitStack() as stack:
        stack.enter_context(alone(kept, f"the ledger {kept}"))
        files = [kept, *kept.parent.glob(f"{kept.name}-*")]  # SQLite's own companions
        if ledger is not None and lock_of(ledger).resolve() != lock_of(kept).resolve():
            stack.enter_context(locked(ledger))
            check_index(ledger, index)
            real = ledger.resolve()  # a link to it stays
            files += [real, *(real.with_name(f"{real.name}-{companion}") for companion in ("wal", "shm", "journal"))]
        if first is not None:
            first()
        client.indices.delete(index=index)
        for file in files:
            file.unlink(missing_ok=True)
    lock_of(kept).unlink(missing_ok=True)
    logger.info("deleted index %s and its ledger", index)
