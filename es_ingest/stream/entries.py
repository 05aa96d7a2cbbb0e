"""A record on its way to the index: what is left to do until the server has all of it."""

from dataclasses import dataclass, field

from es_ingest.records import Record
from es_ingest.stream.ledger import Acknowledged
from medte_haystack.index import Chunk


@dataclass(slots=True, eq=False)
class Entry:
    """A record that is to be written.

    :param record: The record.
    :param hash: Hash of its content.
    :param before: How many chunks of an earlier version the index may hold.
    """

    record: Record
    hash: bytes
    before: int = 0
    chunks: int = 0  # how many it has now
    unanswered: int = 0  # operations that the server has not answered
    reasons: list[str] = field(default_factory=list)  # why operations were refused
    settled: bool = False  # whether the ledger has it, or the dead letters

    def begin(self, chunks: int) -> None:
        """Take note of how many chunks it has."""
        self.chunks = chunks
        self.unanswered = chunks + len(self.surplus)

    @property
    def surplus(self) -> range:
        """Numbers of the chunks that an earlier version had and this one has not."""
        return range(self.chunks, max(self.chunks, self.before))

    @property
    def most(self) -> int:
        """How many chunks the index may hold while this is under way."""
        return max(self.chunks, self.before)

    def acknowledged(self) -> Acknowledged:
        """Return it as the ledger keeps it."""
        return Acknowledged(self.record.id, self.hash, self.chunks, self.record.position)


@dataclass(frozen=True, slots=True)
class PlacedChunk:
    """A chunk and the entry it belongs to."""

    entry: Entry
    chunk: Chunk
