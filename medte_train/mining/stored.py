"""Rows of numbers in a file that grows as they are made, so that what was killed goes on behind the last whole one."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray


class StoredRows:
    """Rows of one shape, appended to a file.

    :param path: The file; it is made when it is missing. What there is of a row that is not whole is cut off.
    :param shape: Of a row.
    :param dtype: Of a number.
    :raises OSError: If it cannot be written.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self._path, self._shape, self._dtype = path, shape, np.dtype(dtype)
        self._bytes = self._dtype.itemsize * math.prod(shape)
        with path.open("ab") as file:
            file.truncate(len(self) * self._bytes)

    def __len__(self) -> int:
        return self._path.stat().st_size // self._bytes

    def fill(self, rows: int, make: Callable[[int], Iterable[NDArray[Any]]]) -> NDArray[Any]:
        """Append rows until there are so many.

        :param make: Given the number of the first row that is missing, gives blocks of rows from there on.
        :returns: All of them, mapped from the file.
        :raises OSError: If it cannot be written.
        """
        if len(self) < rows:
            with self._path.open("ab") as file:
                for block in make(len(self)):
                    file.write(np.ascontiguousarray(block, self._dtype).tobytes())
                    file.flush()
        return np.memmap(self._path, self._dtype, "r", shape=(rows, *self._shape))
