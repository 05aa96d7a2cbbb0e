"""The texts that negatives are taken from: the different texts 2 of a source, on disk, and whose they are."""

import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b, sha256
from pathlib import Path

from medte_haystack.training.near import Grams, grams_of, words_of
from medte_haystack.training.pairs import Pair

_ROWS = 4096  # written at a time
_REMEMBERED = 65_536  # texts whose n-grams are


class Pool:
    """Texts by number, each once whatever its case and punctuation, in a mapped file that goes with the process.

    Add all pairs, then :meth:`close` it.

    :param folder: Where the file is.
    """

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa

        self.of_pair = array("i")
        """The number of each pair's text 2, in the order in which pairs were added."""
        self.most_positives = 1
        """Texts of the anchor or group that has most."""
        self._sha256 = sha256()
        self.grams = lru_cache(_REMEMBERED)(self._grams)
        """N-grams of a text by its number."""
        self._numbers: dict[bytes, int] = {}
        self._of_anchor: dict[bytes, set[int]] = {}
        self._of_group: dict[str, set[bytes]] = {}
        self._waiting: list[str] = []
        self._schema = pa.schema([("text", pa.string())])
        self._file = tempfile.NamedTemporaryFile(dir=folder, prefix=".texts-", suffix=".arrow")  # noqa: SIM115  closed by close()
        self._writer = pa.ipc.new_file(self._file, self._schema)
        self._texts: pa.ChunkedArray | None = None

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def sha256(self) -> str:
        """A hash over the texts of all pairs, in hex."""
        return self._sha256.hexdigest()

    def add(self, pair: Pair) -> None:
        """Take the next pair."""
        self._sha256.update(json.dumps([pair.anchor, pair.positive]).encode())
        key = _digest(pair.positive)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            self._waiting.append(pair.positive)
            if len(self._waiting) == _ROWS:
                self._write()
        self.of_pair.append(self._numbers[key])
        anchor = _digest(pair.anchor)
        own = self._of_anchor.setdefault(anchor, set())
        own.add(self._numbers[key])
        kin = self._of_group.setdefault(pair.group, set()) if pair.group else set()
        kin.update((anchor, key))
        self.most_positives = max(self.most_positives, len(own), len(kin))

    def close(self) -> None:
        """Make the texts readable; no more can be added."""
        import pyarrow as pa

        self._write()
        self._writer.close()
        self._file.flush()
        self._texts = pa.ipc.open_file(pa.memory_map(self._file.name)).read_all()["text"]
        self._file.close()

    def text(self, number: int) -> str:
        """Return a text."""
        assert self._texts is not None  # noqa: S101  closed first
        return str(self._texts[number].as_py())

    def texts(self, first: int = 0) -> Iterator[str]:
        """Stream the texts from a number on."""
        return (self.text(number) for number in range(first, len(self)))

    def positives(self, pair: Pair) -> set[int]:
        """Return the numbers of all texts 2 of a pair's anchor, and of all texts of its group."""
        kin = self._of_group.get(pair.group, ())
        return self._of_anchor[_digest(pair.anchor)].union(self._numbers[one] for one in kin if one in self._numbers)

    def known(self, pair: Pair, most: int = 32) -> Sequence[Grams]:
        """Return n-grams of what is no negative of a pair: its anchor, its text 2 and others of the anchor.

        :param most: Other texts 2 that are compared; they are left out as they stand in any case.
        """
        others: Iterable[int] = sorted(self.positives(pair))[:most]
        return [grams_of(words_of(pair.anchor)), grams_of(words_of(pair.positive)), *map(self.grams, others)]

    def _grams(self, number: int) -> Grams:
        return grams_of(words_of(self.text(number)))

    def _write(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._writer.write_batch(pa.record_batch({"text": self._waiting}, schema=self._schema))
            self._waiting = []


def _digest(text: str) -> bytes:
    """Return what texts have in common that differ in case and punctuation alone."""
    return blake2b((" ".join(words_of(text)) or text).encode(), digest_size=16).digest()
