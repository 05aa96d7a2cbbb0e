"""The pairs of a run on disk, row by row, and what decides which of them may share a batch."""

import hashlib
import json
import tempfile
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medte_haystack.errors import TrainingDataError, TrainingOutputError
from medte_haystack.training.pairs import Pair

if TYPE_CHECKING:
    import pyarrow as pa

_CHUNK = 4096  # rows written at a time


class Row(NamedTuple):
    """The texts of one pair."""

    anchor: str
    positive: str
    negatives: list[str]


@dataclass(slots=True)
class SourceRows:
    """A source's pairs in the table, and what was left out of it.

    :param name: Of the source.
    :param rows: Row numbers, int64.
    :param read: Pairs read.
    :param repeated: Left out since their text 1 came before.
    :param same: Left out since both texts are the same.
    :param with_negatives: Kept pairs that have hard negatives.
    :param incomplete: Left out since they have fewer hard negatives than each must have.
    """

    name: str
    rows: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64), repr=False)
    read: int = 0
    repeated: int = 0
    same: int = 0
    with_negatives: int = 0
    incomplete: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as JSON-able values."""
        return {
            "source": self.name,
            "pairs": len(self.rows),
            "read": self.read,
            "repeated": self.repeated,
            "same": self.same,
            "with_negatives": self.with_negatives,
            "incomplete": self.incomplete,
        }


class PairTable:
    """Pairs in a memory-mapped file without a name, which goes with the process.

    Texts count as the same whatever their case and white space. Of pairs of one source with the same text 1 the first
    is kept. Hard negatives that are one of the pair's own texts are left out.

    :param pairs: The pairs; streamed.
    :param folder: Where the file is.
    :param negatives: Most hard negatives kept of a pair.
    :raises TrainingDataError: If there is no pair, or a source has none left that could share a batch.
    :raises TrainingOutputError: If the file cannot be written.
    """

    def __init__(self, pairs: Iterable[Pair], folder: Path, *, negatives: int = 0) -> None:
        self.sources: list[SourceRows] = []
        self._most = negatives
        self.unused = 0
        """Pairs whose hard negatives are not asked for."""
        self._own = array("q")
        self._negatives, self._starts = array("q"), array("q", [0])
        self._hash = hashlib.sha256()
        self._table = self._write(iter(pairs), folder)
        self.fingerprint = self._hash.hexdigest()
        """A sha256 over all that is used of the pairs, in hex."""
        self._own_ids = np.frombuffer(self._own, np.int64).reshape(-1, 3)
        if not len(self):
            raise TrainingDataError("there is no pair to train on; make some with: medte-train pairs")
        for source in self.sources:
            self._check(source)

    def __len__(self) -> int:
        return len(self._starts) - 1

    def __getitem__(self, row: int) -> Row:
        return Row(*(self._table[name][row].as_py() for name in Row._fields))

    def positives(self, rows: Iterable[int]) -> Iterable[str]:
        """Stream texts 2."""
        column = self._table["positive"]
        return (column[int(row)].as_py() for row in rows)

    def own_ids(self, row: int) -> list[int]:
        """Return ids of text 1, text 2 and their group; the same text or group has the same one."""
        ids: list[int] = self._own_ids[row].tolist()
        return ids

    def negative_ids(self, row: int) -> Sequence[int]:
        """Return ids of the hard negatives."""
        return self._negatives[self._starts[row] : self._starts[row + 1]]

    def keep_complete(self, *, together: bool) -> None:
        """Leave out pairs with fewer hard negatives than were asked for, of sources in which any pair has some.

        :param together: Whether all sources count as one.
        :raises TrainingDataError: If a source has none left that could share a batch.
        """
        complete = np.diff(np.asarray(self._starts)) == self._most
        anywhere = together and any(source.with_negatives for source in self.sources)
        for source in self.sources:
            if anywhere or source.with_negatives:
                kept = source.rows[complete[source.rows]]
                source.incomplete = len(source.rows) - len(kept)
                source.rows, source.with_negatives = kept, len(kept)
                self._check(source)

    def _write(self, pairs: Iterable[Pair], folder: Path) -> "pa.Table":
        import pyarrow as pa

        schema = pa.schema([("anchor", pa.string()), ("positive", pa.string()), ("negatives", pa.list_(pa.string()))])
        rows = self._kept(pairs)
        try:
            with tempfile.NamedTemporaryFile(dir=folder, prefix=".pairs-", suffix=".arrow") as file:
                with pa.OSFile(file.name, "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                    while chunk := list(islice(rows, _CHUNK)):
                        columns = dict(zip(Row._fields, zip(*chunk, strict=True), strict=True))
                        writer.write_batch(pa.record_batch(columns, schema=schema))
                return pa.ipc.open_file(pa.memory_map(file.name)).read_all()
        except OSError as error:
            raise TrainingOutputError(
                f"the pairs cannot be laid out in {folder}: {error.strerror or error}; free space, or name another"
                " folder",
                path=str(folder),
            ) from error

    def _kept(self, pairs: Iterable[Pair]) -> Iterable[Row]:
        """Stream the rows, and take note of them."""
        numbers: dict[str, tuple[SourceRows, array[int], set[int]]] = {}
        for pair in pairs:
            source, rows, seen = numbers.setdefault(pair.source, (SourceRows(pair.source), array("q"), set()))
            source.read += 1
            first, second = text_id(pair.anchor), text_id(pair.positive)
            if first in seen:
                source.repeated += 1
            elif first == second:
                source.same += 1
            else:
                seen.add(first)
                rows.append(len(self))
                yield self._note(pair, source, first, second)
        for source, rows, _ in numbers.values():
            source.rows = np.array(rows, np.int64)
            self.sources.append(source)

    def _note(self, pair: Pair, source: SourceRows, first: int, second: int) -> Row:
        every = {text_id(text): text for text in pair.negatives} if self._most else {}
        others = dict(islice(((one, text) for one, text in every.items() if one not in (first, second)), self._most))
        self._own.extend((first, second, text_id(f"\0{pair.group}") if pair.group else first))
        self._negatives.extend(others)
        self._starts.append(len(self._negatives))
        source.with_negatives += bool(others)
        self.unused += not self._most and bool(pair.negatives)
        row = Row(pair.anchor, pair.positive, list(others.values()))
        self._hash.update(json.dumps([pair.source, pair.group, *row]).encode())
        return row

    def _check(self, source: SourceRows) -> None:
        different = len(np.unique(self._own_ids[source.rows, 1]))
        if different < 2:
            raise TrainingDataError(
                f"source {source.name!r} cannot be trained on: of {source.read:,} pairs {source.repeated:,} repeat a"
                f" text 1, {source.same:,} have twice the same text, {source.incomplete:,} have too few hard negatives"
                f" for several devices, and the {len(source.rows):,} others have"
                f" {different} different text 2; a batch takes two. Leave the source out",
                source=source.name,
                pairs=source.read,
            )


def text_id(text: str) -> int:
    """Return a number that texts share if they differ in case and white space alone, and others do not."""
    digest = hashlib.blake2b(" ".join(text.casefold().split()).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)
