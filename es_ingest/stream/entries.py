"""A record on its way to the index: what is left to do until the server has all of it."""

from dataclasses import dataclass, field

from es_ingest.records import Record
from es_ingest.stream.ledger import Acknowledged
from medte_haystack.index import Operation

_GONE = Record("", "", "", {}, "")


@dataclass(slots=True, eq=False)
class Entry:
    """A record that is to be written.

    :param record: The record.
    :param hash: Hash of its content.
    :param before: How many chunks of an earlier version the index may hold.
    :param uncertain: Whether it may hold any part of that, and of others.
    :param earlier: The same record earlier in this run: this one must come after it.
    """

    record: Record
    hash: bytes
    before: int = 0
    uncertain: bool = False
    earlier: "Entry | None" = None
    chunks: int = 0  # how many it has now
    unanswered: int = 0  # operations that the server has not answered
    requests: "tuple[BulkRequest, ...]" = ()  # that hold them
    reasons: tuple[str, ...] = ()  # why operations were refused
    settled: bool = False  # whether the ledger has it, or the dead letters

    def begin(self, chunks: int) -> None:
        """Take note of how many chunks it has."""
        self.chunks = chunks
        self.unanswered = self.most

    def let_go(self) -> None:
        """Give the record's memory back: the entry itself is kept for a while, since later records may have its id."""
        self.record = _GONE

    @property
    def surplus(self) -> range:
        """Numbers of the chunks that an earlier version had and this one has not."""
        return range(self.chunks, self.most)

    @property
    def most(self) -> int:
        """How many chunks the index may hold while this is under way."""
        return max(self.chunks, self.before)

    @property
    def partly_there(self) -> bool:
        """Whether the index may hold some of it, or of several versions, although it was refused."""
        return self.uncertain or len(self.reasons) < self.most

    def acknowledged(self) -> Acknowledged:
        """Return it as the ledger keeps it."""
        return Acknowledged(self.record.id, self.hash, self.chunks, self.record.position)


@dataclass(slots=True, eq=False)
class BulkRequest:
    """Operations that are sent together.

    :param owners: The entry of each operation.
    :param entries: The entries, each once.
    :param size: Bytes.
    :param unsettled: How many of the entries are not settled.
    :param note: What the ledger noted it under.
    """

    operations: list[Operation] = field(default_factory=list)
    owners: list[Entry] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    size: int = 0
    unsettled: int = 0
    note: int = 0

    def add(self, entry: Entry, operation: Operation) -> None:
        """Take one more operation; those of an entry come one after another."""
        if not self.owners or self.owners[-1] is not entry:
            self.entries.append(entry)
            self.unsettled += 1
            entry.requests += (self,)
        self.operations.append(operation)
        self.owners.append(entry)
        self.size += operation.size
