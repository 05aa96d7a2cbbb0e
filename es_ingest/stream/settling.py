"""What becomes of records that the server has answered: entered in the ledger, or kept as dead letters."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from es_ingest.stream.entries import Entry
from es_ingest.stream.ledger import Ledger
from medte_haystack.index import BulkResult


@dataclass(slots=True)
class Written:
    """What a writer did.

    :param created: Chunks that were new.
    :param updated: Chunks that replaced one of the same id.
    :param removed: Chunks removed because their record has fewer now.
    :param records: Records of which the server has acknowledged all chunks.
    :param refused: Records of which a chunk was refused.
    :param retried: How many times a rejected chunk was sent again.
    """

    created: int = 0
    updated: int = 0
    removed: int = 0
    records: int = 0
    refused: int = 0
    retried: int = 0

    def add(self, result: BulkResult) -> None:
        """Take note of the answers to some operations."""
        self.created += result.created
        self.updated += result.updated
        self.removed += result.deleted
        self.retried += result.retried


def settle(
    entries: Sequence[Entry], notes: Iterable[int], ledger: Ledger, written: Written, dead: Callable[[Entry], None]
) -> None:
    """Settle records all of whose operations have been answered: first the good ones, since dead ones may end the run.

    :param notes: Of the ledger, about requests of which nothing more is open.
    :param dead: Takes an entry that was refused.
    :raises LedgerError: If the ledger cannot be written.
    :raises DeadLetterError: If dead letters cannot be kept, or are more than allowed.
    """
    refused = [entry for entry in entries if entry.reasons]
    done = [entry for entry in entries if not entry.reasons]
    if partly := [(entry.record.id, entry.most) for entry in refused if entry.partly_there]:
        ledger.sending(partly)  # what is there of them must not be taken for the whole
    ledger.landed(notes, [entry.acknowledged() for entry in done])
    written.records += len(done)
    for entry in done:
        entry.settled = True
        entry.let_go()
    for entry in refused:
        entry.settled = True
        written.refused += 1
        dead(entry)
