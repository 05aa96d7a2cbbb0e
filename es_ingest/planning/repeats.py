"""How many records repeat an id, in bounded memory."""

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_MOST = 1 << 21
_BYTES = 8


class Repeats:
    """Counts records whose id came before.

    Of each id a hash of 8 bytes is kept and how often it came. Beyond a number of ids only every second hash stays,
    then every fourth, and so on, and the count is estimated from those: all records of an id go or stay together.

    :param most: Ids that are kept, and up to which the count is exact. 2,097,152 of them take 32 MiB, and about three
        times as much for the moments of putting new ones among them.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._halvings = 0
        self._hashes: NDArray[np.uint64] = np.empty(0, np.uint64)  # sorted
        self._times: NDArray[np.int64] = np.empty(0, np.int64)
        self._new = bytearray()

    @property
    def exact(self) -> bool:
        """Whether the count is exact, rather than estimated from a part of the ids."""
        self._merge()
        return self._halvings == 0

    @property
    def count(self) -> int:
        """Records whose id came before."""
        self._merge()
        return int((self._times - 1).sum()) << self._halvings

    def add(self, name: str) -> None:
        """Take the id of the next record."""
        self._new += blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_BYTES).digest()
        if len(self._new) >= self._most * _BYTES // 8:
            self._merge()

    def _merge(self) -> None:
        new = np.frombuffer(bytes(self._new), np.uint64)
        self._new.clear()
        new, times = np.unique(new[self._stay(new)], return_counts=True)
        places = np.searchsorted(self._hashes, new)
        known = np.append(self._hashes, np.uint64(0))[places] == new
        known &= places < len(self._hashes)
        self._times[places[known]] += times[known]
        self._hashes = np.insert(self._hashes, places[~known], new[~known])
        self._times = np.insert(self._times, places[~known], times[~known])
        while len(self._hashes) > self._most:
            self._halvings += 1
            stay = self._stay(self._hashes)
            self._hashes, self._times = self._hashes[stay], self._times[stay]

    def _stay(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        low_bits = np.uint64((1 << self._halvings) - 1)
        stay: NDArray[np.bool_] = hashes & low_bits == 0
        return stay
