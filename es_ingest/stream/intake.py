"""What every run's stream begins with: rows read, compared with the ledger, and what is to be done for each record."""

import logging
import time
from collections.abc import Iterable, Iterator, Sequence

from es_ingest.records import Deleted, Item, Malformed, ReadError, Record
from es_ingest.stream.content import content_hash, weight
from es_ingest.stream.dead_letters import DeadLetters
from es_ingest.stream.entries import Entry
from es_ingest.stream.ledger import Known, Ledger
from es_ingest.stream.making import Making
from es_ingest.stream.settling import Written
from es_ingest.stream.summary import Summary
from medte_haystack.errors import IndexContractError
from medte_haystack.index import check_vector, chunk_id
from medte_haystack.index.contract import check_id

logger = logging.getLogger(__name__)

_TOGETHER = 2048  # records that are compared with the ledger, and split, in one go
_WEIGHT_TOGETHER = 1 << 18
_REPORTED = 20  # failures that are logged one by one; the rest is counted


class Intake:
    """Leaves out what the index has as it is, and what does not fit.

    :param making: How vectors will be made.
    :param ledger: What has been acknowledged before.
    :param dead: Takes what does not get into the index.
    :param summary: Is kept up to date.
    :ivar unfit: Records that cannot be stored, so far.
    :ivar unsettled: Records that may be there in part: of an interrupted run and not met by this one, or refused by the
        server; and how many chunks of each at most.
    :ivar deleted: Records that the sources say are no more, so far, and that did not come again.
    """

    def __init__(self, making: Making, ledger: Ledger, dead: DeadLetters, summary: Summary) -> None:
        self.unfit = 0
        self.unsettled = ledger.unsettled()
        self.deleted: set[str] = set()
        self._making = making
        self._ledger = ledger
        self._dead = dead
        self._summary = summary
        self._started = time.perf_counter()
        self._preparing: dict[str, Entry] = {}  # not settled: the ledger does not know them yet
        self._sweep_at = _TOGETHER

    def groups(self, items: Iterable[Item]) -> Iterator[list[Record]]:
        """Put records together that differ in their ids; they weigh little, but for the last one perhaps.

        :raises ReadError: If a source cannot be read; what came before is given.
        """
        group: list[Record] = []
        ids: set[str] = set()
        weighs = 0
        try:
            for item in items:
                if isinstance(item, Deleted):
                    self.deleted.add(item.id)
                    continue
                self._summary.read += 1
                if isinstance(item, Malformed):
                    self._malformed(item)
                    continue
                full = len(group) == _TOGETHER or weighs > _WEIGHT_TOGETHER
                if full or item.id in ids:  # a later version of a record is compared with the earlier one
                    yield group
                    group, ids, weighs = [], set(), 0
                if self.deleted:
                    self.deleted.discard(item.id)
                group.append(item)
                ids.add(item.id)
                weighs += weight(item)
        except ReadError:
            yield group
            raise
        yield group

    def entries(self, records: Iterable[Record]) -> list[Entry]:
        """Return what is to be done for records that differ in their ids."""
        here = list(records)
        known = self._ledger.known([record.id for record in here])  # what no longer fits is not missing for that
        fit = [record for record in here if self._fits(record)]
        return [entry for record in fit if (entry := self._entry(record, known.get(record.id)))]

    def keep(self, entry: Entry) -> None:
        """Remember an entry until it is settled: later records of its id are compared with it."""
        self._preparing[entry.record.id] = entry
        if len(self._preparing) >= self._sweep_at:
            self._preparing = {name: one for name, one in self._preparing.items() if not one.settled}
            self._sweep_at = 2 * len(self._preparing) + _TOGETHER

    def under_way(self, ids: Sequence[str]) -> list[Entry]:
        """Return the entries of these ids that were kept and may not be settled."""
        return [self._preparing[name] for name in ids if name in self._preparing]

    def refused(self, entry: Entry) -> None:
        """Take an entry that the server has refused; from any thread."""
        if entry.partly_there:
            self.unsettled[entry.record.id] = entry.most
        self._refuse(entry.record, "; ".join(dict.fromkeys(entry.reasons)))
        entry.let_go()

    def take(self, done: Written, requests_at_once: int) -> None:
        """Take over into the summary what the server has answered.

        :param done: The answers so far.
        :param requests_at_once: The most requests that were under way at a time.
        """
        summary = self._summary
        summary.created, summary.updated, summary.written = done.created, done.updated, done.created + done.updated
        summary.records, summary.refused, summary.retried = done.records, done.refused + self.unfit, done.retried
        summary.failed = summary.malformed + summary.refused
        summary.requests_at_once = requests_at_once
        summary.seconds = time.perf_counter() - self._started

    def _malformed(self, item: Malformed) -> None:
        self._summary.malformed += 1
        self._summary.gaps += item.gap
        _report(self._summary.malformed, "%s: not a record: %s", item.position, item.reason)
        self._dead.put(item, item.reason)

    def _refuse(self, record: Record, reason: str) -> None:
        _report(self._dead.count + 1, "%s: record %s refused: %s", record.position, record.id, reason)
        self._dead.put(record, reason)

    def _fits(self, record: Record) -> bool:
        if unfit := _unfit(record, self._making):
            self.unfit += 1
            self._refuse(record, unfit)
        return not unfit

    def _entry(self, record: Record, known: Known | None) -> Entry | None:
        """Return what is to be done for a record, None if nothing is."""
        digest = content_hash(record)
        earlier = self._preparing.get(record.id)
        partly = self.unsettled.pop(record.id, 0)
        self._summary.repeated += earlier is not None or bool(known and known.repeated)
        if known and known.hash == digest and not partly and not earlier:
            self._summary.unchanged += 1
            return None
        before = max(partly, known.chunks if known else 0, earlier.most if earlier else 0)
        return Entry(record, digest, before, uncertain=partly > 0, earlier=earlier)


def _unfit(record: Record, making: Making) -> str | None:
    """Return why a record cannot be stored, None if nothing is known against it."""
    if making.encoder is None and record.vector is None:
        return "it brings no vector"
    if making.splitter is not None and not record.text.strip():
        return "its text is blank"
    try:
        check_id(chunk_id(record.id, 0))
        if making.encoder is None and record.vector is not None:
            check_vector(record.vector, making.dim, name=f"record {record.id!r}")
    except IndexContractError as error:
        return str(error)
    return None


def _report(number: int, message: str, *values: str) -> None:
    """Log one of many failures; from a certain number on they are counted only."""
    if number <= _REPORTED:
        logger.warning(message, *values)
    elif number == _REPORTED + 1:
        logger.warning("more of the same kind are counted, and kept with the dead letters, but not named")
