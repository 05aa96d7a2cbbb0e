"""The groups of records that are with the workers, and what has become of those that came back."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from es_ingest.distributed.desk import TRIES
from es_ingest.distributed.errors import EngineError
from es_ingest.distributed.messages import Done, Made
from es_ingest.stream.entries import Entry
from es_ingest.stream.ledger import Ledger
from es_ingest.stream.settling import Written, settle
from medte_haystack.encoder import EncodeStats


@dataclass(slots=True)
class _Group:
    entries: Sequence[Entry]
    notes: list[int] = field(default_factory=list)  # what the ledger noted it under: again, if a worker died


class Groups:
    """Book of the groups that have been given out. Threads may share it.

    :param ledger: Where acknowledged records are entered.
    :param dead: Takes an entry that was refused.
    :ivar written: What the server has answered so far.
    :ivar stats: What the workers' encoders have done for it.
    :ivar chunks: Chunks made so far.
    :ivar waited: Seconds for which encoders had nothing to do.
    :ivar changed: Is told whenever a group has been settled.
    """

    def __init__(self, ledger: Ledger, dead: Callable[[Entry], None]) -> None:
        self.written = Written()
        self.stats = EncodeStats()
        self.chunks = 0
        self.waited = 0.0
        self.changed = threading.Condition()
        self._ledger = ledger
        self._dead = dead
        self._out: dict[int, _Group] = {}
        self._given = 0
        self._at_once: dict[str, int] = {}  # requests, by worker

    def __len__(self) -> int:
        return len(self._out)

    @property
    def requests_at_once(self) -> int:
        """The most requests that each worker had under way at a time, together."""
        return sum(self._at_once.values())

    def give(self, entries: Sequence[Entry]) -> int:
        """Enter a group that is to be given out; return its number, which count from 0."""
        with self.changed:
            number = self._given
            self._given += 1
            self._out[number] = _Group(entries)
        return number

    def made(self, message: Made) -> bool:
        """Note in the ledger that a group is about to be sent; tell whether it may be.

        :raises LedgerError: If the ledger cannot be written.
        :raises EngineError: If the workers that wrote it have died too often.
        """
        with self.changed:
            group = self._out.get(message.number)
            if group is None:
                return False  # settled: a worker died after it had done its work
            if not group.notes:
                for entry, chunks in zip(group.entries, message.chunks, strict=True):
                    entry.begin(chunks)
                self.chunks += sum(message.chunks)
            if len(group.notes) == TRIES:
                raise EngineError(f"{TRIES} workers died while they wrote the same records; look at Ray's logs")
            group.notes.append(self._ledger.sending((entry.record.id, entry.most) for entry in group.entries))
            return True

    def done(self, message: Done) -> None:
        """Settle a group that the server has answered.

        :raises LedgerError: If the ledger cannot be written.
        :raises DeadLetterError: If dead letters cannot be kept, or are more than allowed.
        """
        with self.changed:
            group = self._out.get(message.number)
            if group is None:
                return
            self.written.add(message.result)
            self.stats += message.stats
            self.waited += message.waited
            self._at_once[message.writer] = max(message.at_once, self._at_once.get(message.writer, 0))
            for entry, reasons in zip(group.entries, message.reasons, strict=True):
                entry.reasons += tuple(reasons)
            del self._out[message.number]
            self.changed.notify_all()
            settle(group.entries, group.notes, self._ledger, self.written, self._dead)
