"""Texts as words, and which of many texts are nearly the same as another."""

import math
import re
import unicodedata
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

NGRAM = 3
"""Words of an n-gram."""
THRESHOLD = 0.5
"""Share of two texts' n-grams, the Jaccard index, from which they count as nearly the same.

Texts with a tenth of their words changed have 0.5 to 0.65; see docs/training.md for what is found by chance.
"""

_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W_]+")  # scripts without blanks: a character a word
_BANDS = 32
_MISSED = 0.02  # most of the pairs exactly at the threshold that are no candidates; above it far fewer
_SEED = 1

Grams = NDArray[np.uint32]
"""The different n-grams of a text as hashes, sorted."""


def words_of(text: str) -> list[str]:
    """Return a text's words: without case, accents, punctuation and layout, compatible characters made one."""
    plain = text.casefold() if text.isascii() else _without_accents(text)
    return _WORD.findall(plain)


def grams_of(words: Sequence[str]) -> Grams:
    """Return the n-grams of words; of fewer than `NGRAM` all of them together."""
    last = max(1, len(words) - NGRAM + 1)
    hashes = [zlib.crc32(" ".join(words[at : at + NGRAM]).encode()) for at in range(last)]
    return np.unique(np.array(hashes, dtype=np.uint32))


def jaccard(first: Grams, second: Grams) -> float:
    """Return the share of the n-grams of either text that are n-grams of both."""
    both = len(np.intersect1d(first, second, assume_unique=True))
    return both / (len(first) + len(second) - both)


class NearTexts:
    """Texts of which those are found that are nearly the same as another.

    Candidates agree in a band of their MinHash signatures (datasketch), which is looked up in one sorted array: 0.4 kB
    a text, where the dictionaries of that package's `MinHashLSH` take 10. The exact Jaccard index of their n-grams
    decides, so what is found is always as near as it must be; of what is exactly that near, 98 in 100 are found.

    :param threshold: Least Jaccard index, above 0 and below 1.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        from datasketch import MinHash  # type: ignore[import-untyped]

        self.threshold = threshold
        # A candidate agrees in all rows of one band, with probability 1 - (1 - jaccard^rows)^bands.
        share = 1 - _MISSED ** (1 / _BANDS)
        rows = max(1, math.floor(math.log(share) / math.log(threshold)))
        self._empty = MinHash(rows * _BANDS, _SEED, hashfunc=int)
        self._factors = np.random.default_rng(_SEED).integers(2**63, size=(_BANDS, rows), dtype=np.uint64) * 2 + 1
        self._grams: list[Grams] = []
        self._added: list[NDArray[np.uint64]] = []
        self._keys = np.empty(0, dtype=np.uint64)  # of all bands of all texts, sorted
        self._owners = np.empty(0, dtype=np.uint32)

    def __len__(self) -> int:
        return len(self._grams)

    def add(self, grams: Grams) -> int:
        """Add a text and return its number: 0 for the first, then 1."""
        self._grams.append(grams)
        self._added.append(self._bands(grams))
        return len(self._grams) - 1

    def find(self, grams: Grams) -> list[int]:
        """Return the numbers of the texts that are nearly the same, in their order."""
        self._sort()
        bands = self._bands(grams)
        first, last = (np.searchsorted(self._keys, bands, side) for side in ("left", "right"))
        found = {int(one) for start, end in zip(first, last, strict=True) for one in self._owners[start:end]}
        return sorted(one for one in found if jaccard(self._grams[one], grams) >= self.threshold)

    def _bands(self, grams: Grams) -> NDArray[np.uint64]:
        """Return one number a band, which equal bands of two texts have in common."""
        minhash = self._empty.copy()
        minhash.update_batch(grams.tolist())
        signature = minhash.hashvalues.astype(np.uint64).reshape(self._factors.shape)
        bands: NDArray[np.uint64] = (signature * self._factors).sum(axis=1)
        return bands

    def _sort(self) -> None:
        """Put what was added since the last search into the array."""
        if not self._added:
            return
        before = len(self._grams) - len(self._added)
        owners = np.repeat(np.arange(before, len(self._grams), dtype=np.uint32), _BANDS)
        keys = np.concatenate([self._keys, *self._added])
        order = np.argsort(keys, kind="stable")
        self._keys, self._owners = keys[order], np.concatenate([self._owners, owners])[order]
        self._added = []


def _without_accents(text: str) -> str:
    parts = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(one for one in parts if not unicodedata.combining(one))
