"""How records become chunks, and chunks vectors."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from es_ingest.records import Record
from medte_haystack.encoder import Encoder, Piece, TokenSplitter
from medte_haystack.index import Chunk


@dataclass(frozen=True, slots=True)
class Making:
    """How vectors are made: by an encoder from split texts, or not at all.

    :param dim: Dimensions of a vector.
    :param encoder: The model; None if the records bring their vectors, one for each whole text.
    :param splitter: How texts are split, with an encoder.
    """

    dim: int
    encoder: Encoder | None = None
    splitter: TokenSplitter | None = None

    def chunks(self, records: Sequence[Record]) -> Iterator[list[Chunk]]:
        """Yield the chunks of each record; without a splitter that is its whole text."""
        if self.splitter is None:
            for one in records:
                yield [Chunk(one.id, one.text, 0, 0, len(one.text), one.title, one.meta)]
            return
        texts, titles = [one.text for one in records], [one.title for one in records]
        for one, pieces in zip(records, self.splitter.split_many(texts, titles=titles), strict=True):
            yield chunks_of(one, pieces)


def chunks_of(record: Record, pieces: Iterable[Piece]) -> list[Chunk]:
    """Return the chunks that a record's pieces are stored as."""
    return [
        Chunk(record.id, piece.text, number, piece.start, piece.end, record.title, record.meta)
        for number, piece in enumerate(pieces)
    ]
