"""One pass over a corpus: everything is read, split and counted, nothing is kept but counts and a sample of chunks."""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from es_ingest.planning.lengths import Lengths
from es_ingest.planning.repeats import Repeats
from es_ingest.planning.speed import Sample
from es_ingest.progress import Shown
from es_ingest.records import Deleted, Item, Malformed, Record
from es_ingest.stream.content import weight
from es_ingest.stream.making import chunks_of
from medte_haystack.encoder import TokenSplitter
from medte_haystack.errors import IndexContractError
from medte_haystack.index import Chunk, operation, source

_TOGETHER = 256  # records that are split in one go
_WEIGHT_TOGETHER = 1 << 20
_NAMED = 5  # malformed rows


@dataclass(slots=True)
class Survey:
    """What there is in a corpus.

    :param records: Records read.
    :param refused: Records that cannot be stored, e.g. for a lone surrogate in their metadata.
    :param malformed: Rows that are no records; the first are named in `first_malformed`, by position and reason.
    :param deletions: Records that the sources say are no more; those that they have as well are counted as records.
    :param text_bytes: Bytes of the chunks' documents as JSON, without vectors.
    :param of_records: Lengths of records as they would be encoded whole: prefix, title, text, special tokens.
    :param of_chunks: Lengths of chunks in the same way; the encoder cuts them at what the model takes.
    :param repeats: Counts repeated ids.
    :param sample: Chunks as they are encoded, from all over the corpus.
    :param complete: Whether the corpus was read to its end.
    :param seconds: Time it took.
    """

    records: int = 0
    refused: int = 0
    malformed: int = 0
    first_malformed: list[tuple[str, str]] = field(default_factory=list)
    deletions: int = 0
    text_bytes: int = 0
    of_records: Lengths = field(default_factory=Lengths)
    of_chunks: Lengths = field(default_factory=Lengths)
    repeats: Repeats = field(default_factory=Repeats)
    sample: Sample = field(default_factory=Sample)
    complete: bool = True
    seconds: float = 0.0


@dataclass(slots=True)
class _Measured:
    """A group of records: their lengths, their chunks and the chunks' lengths."""

    of_records: list[int] = field(default_factory=list)
    of_chunks: list[int] = field(default_factory=list)
    chunks: list[Chunk] = field(default_factory=list)
    text_bytes: int = 0
    refused: int = 0


def survey(
    items: Iterable[Item],
    splitter: TokenSplitter,
    prefix: str = "",
    *,
    most: int | None = None,
    threads: int = 1,
    progress: Shown | None = None,
) -> Survey:
    """Read a corpus as a run would.

    :param items: Records, rows that are none, and deletions.
    :param splitter: How texts are split.
    :param prefix: What the model wants before a passage.
    :param most: Most records to read.
    :param threads: How many split; memory grows with them, not with the corpus.
    :param progress: Is told the totals.
    :raises ReadError: If a source cannot be read.
    """
    found = Survey()
    started = time.perf_counter()
    running: deque[Future[_Measured]] = deque()
    tokens = 0
    with ThreadPoolExecutor(threads, "split") as pool:
        for group in _groups(items, found, most):
            running.append(pool.submit(_measure, group, splitter, prefix))
            if len(running) <= 2 * threads:
                continue
            tokens += _take(found, running.popleft().result())
            if progress is not None:
                progress.update(records=found.of_records.number, chunks=found.sample.seen, tokens=tokens)
        for one in running:
            _take(found, one.result())
    found.seconds = time.perf_counter() - started
    return found


def _groups(items: Iterable[Item], found: Survey, most: int | None) -> Iterator[list[Record]]:
    group: list[Record] = []
    weighs = 0
    for item in items:
        if isinstance(item, Malformed):
            found.malformed += 1
            if len(found.first_malformed) < _NAMED:
                found.first_malformed.append((item.position, item.reason))
            continue
        if isinstance(item, Deleted):
            found.deletions += 1
            continue
        if found.records == most:
            found.complete = False
            break
        found.records += 1
        found.repeats.add(item.id)
        group.append(item)
        weighs += weight(item)
        if len(group) == _TOGETHER or weighs > _WEIGHT_TOGETHER:
            yield group
            group, weighs = [], 0
    if group:
        yield group


def _measure(group: list[Record], splitter: TokenSplitter, prefix: str) -> _Measured:
    """Split some records. A title's tokens and a text's add up: no token of BERT's reaches over a blank."""
    count = splitter.tokeniser.count
    texts, titles = [record.text for record in group], [record.title for record in group]
    lengths = count(texts)
    frame = splitter.tokeniser.special_tokens + sum(count([prefix]))
    before = [frame + tokens for tokens in count(titles)]
    pieces = list(splitter.split_many(texts, titles=titles, lengths=lengths))
    of_pieces = iter(count([piece.text for some in pieces if len(some) > 1 for piece in some]))
    found = _Measured([sum(both) for both in zip(lengths, before, strict=True)])
    for record, whole, more, some in zip(group, found.of_records, before, pieces, strict=True):
        chunks = chunks_of(record, some)
        found.of_chunks += [whole] if len(some) == 1 else [more + next(of_pieces) for _ in some]
        found.chunks += chunks
        try:
            found.text_bytes += sum(len(operation("index", one.id, source(one, "")).body or b"") for one in chunks)
        except IndexContractError:
            found.refused += 1
    return found


def _take(found: Survey, group: _Measured) -> int:
    """Add a group to the rest and return its tokens."""
    found.of_records.add(group.of_records)
    found.of_chunks.add(group.of_chunks)
    found.text_bytes += group.text_bytes
    found.refused += group.refused
    for chunk in group.chunks:  # one at a time: each text repeats its title
        found.sample.add(chunk.embedded_text)
    return sum(group.of_chunks)
