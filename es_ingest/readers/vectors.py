"""Ready-made vectors: of a field of each row, or of a .npy file beside the sources. Needs numpy, imported when used.

A .npy file holds the vectors of all sources together, shape (rows, dim), in floats of any size: its row n belongs to
the n-th row that the sources give, malformed ones counted and deletions not. It is read in blocks, never held whole.
"""

import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from es_ingest.readers.streams import reason_of
from es_ingest.records import Deleted, Item, Malformed, ReadError, Record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

T = TypeVar("T")

_BLOCK_BYTES = 2**22
_TOO_LATE = ". Records that are written already may have vectors of others: mend this and begin again with --fresh"


@dataclass(frozen=True, slots=True)
class VectorFile:
    """A .npy file of vectors.

    :param path: The file.
    :param rows: How many vectors it holds.
    :param dim: Dimensions of each.
    :param dtype: Their type, as numpy spells it: `<f4`.
    :param by_columns: Whether it is in Fortran's order.
    :param start: Where the first number stands, in bytes.
    :param written: When it was written last, in nanoseconds.
    """

    path: Path
    rows: int
    dim: int
    dtype: str
    by_columns: bool
    start: int
    written: int

    @classmethod
    def of(cls, path: Path) -> "VectorFile":
        """Read what a file says of itself.

        :raises ReadError: If it cannot be opened, is no .npy file of shape (rows, dim) and floats, or is cut short.
        """
        try:
            with path.open("rb") as file:
                return cls._of(path, file)
        except OSError as error:
            raise ReadError(str(path), f"cannot be opened: {reason_of(error)}") from error

    @classmethod
    def _of(cls, path: Path, file: BinaryIO) -> "VectorFile":
        from tokenize import TokenError

        from numpy.lib import format as npy

        try:
            version = npy.read_magic(file)
            header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, by_columns, dtype = header(file)
        except (ValueError, SyntaxError, TokenError) as error:  # numpy parses the header as Python
            raise ReadError(str(path), "is not a .npy file; make one with numpy.save") from error
        if dtype.kind != "f" or len(shape) != 2 or shape[0] < 0 or shape[1] < 1:
            raise ReadError(
                str(path), f"holds {dtype} of shape {shape}; vectors are floats of shape (rows, dimensions)"
            )
        start, found = file.tell(), os.fstat(file.fileno())
        if found.st_size < start + math.prod(shape) * dtype.itemsize:
            raise ReadError(str(path), f"is cut short: {found.st_size:,} bytes are too few for {shape[0]:,} vectors")
        return cls(path, *shape, dtype.str, by_columns, start, found.st_mtime_ns)

    def check_rows(self, rows: int) -> None:
        """Check that there is a vector for each row.

        :param rows: Rows of the sources, malformed ones included.
        :raises ReadError: If there is not; names both numbers.
        """
        if rows != self.rows:
            raise self._mismatch(f"{rows:,}")

    def pair(self, items: Iterable[Item]) -> Iterator[Item]:
        """Give each record its vector.

        :param items: All records, malformed rows and deletions of the sources, in their order.
        :returns: The same, the records with vectors: float32, shape (dim,).
        :raises ReadError: If there are more or fewer rows than vectors, rows may be missing among them, or the file
            has changed since or cannot be read.
        """
        vectors = self._vectors()
        rows = 0
        for item in items:
            if isinstance(item, Deleted):
                yield item
                continue
            rows += 1
            if isinstance(item, Malformed) and item.gap:
                yield item
                raise ReadError(
                    item.position,
                    f"rows may be missing here ({item.reason}), so it cannot be told which vectors of {self.path}"
                    " belong to what comes next; mend the source",
                )
            vector = next(vectors, None)
            if vector is None:
                raise self._mismatch(f"at least {rows:,}", _TOO_LATE)
            yield replace(item, vector=vector) if isinstance(item, Record) else item
        if rows != self.rows:
            raise self._mismatch(f"{rows:,}", _TOO_LATE)
        if VectorFile.of(self.path) != self:
            raise self._changed()

    def _mismatch(self, rows: str, consequence: str = "") -> ReadError:
        what = f"holds {self.rows:,} vectors where the sources have {rows} rows, malformed ones included"
        return ReadError(str(self.path), f"{what}; there must be one for each{consequence}")

    def _changed(self) -> ReadError:
        return ReadError(
            str(self.path), "has changed while it was read; run the same command again once nobody writes it"
        )

    def _vectors(self) -> "Iterator[NDArray[np.float32]]":
        import numpy as np

        together = max(1, _BLOCK_BYTES // (self.dim * np.dtype(self.dtype).itemsize))
        try:
            with self.path.open("rb") as file:
                if VectorFile._of(self.path, file) != self:
                    raise self._changed()
                for first in range(0, self.rows, together):
                    block = self._block(file, first, min(together, self.rows - first))
                    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
                        block = block.astype(np.float32, copy=False)
                    yield from block
        except OSError as error:
            raise ReadError(str(self.path), f"cannot be read: {reason_of(error)}") from error

    def _block(self, file: BinaryIO, first: int, count: int) -> "NDArray[np.floating]":
        import numpy as np

        if not self.by_columns:
            return self._numbers(file, first * self.dim, count * self.dim).reshape(count, self.dim)
        return np.stack([self._numbers(file, n * self.rows + first, count) for n in range(self.dim)], axis=1)

    def _numbers(self, file: BinaryIO, first: int, count: int) -> "NDArray[np.floating]":
        import numpy as np

        dtype = np.dtype(self.dtype)
        file.seek(self.start + first * dtype.itemsize)
        data = file.read(count * dtype.itemsize)
        if len(data) < count * dtype.itemsize:  # a mapping of it would kill the process here
            raise self._changed()
        return np.frombuffer(data, dtype)


def checked(items: Iterable[T], *, normalise: bool = False) -> Iterator[T | Record | Malformed]:
    """Make malformed rows of records whose vectors are not finite or not of the first one's size.

    :param items: Records, each with a vector; all else is passed on.
    :param normalise: Scale the vectors to unit length; one of length 0 makes a malformed row.
    """
    dim = 0
    for item in items:
        if not isinstance(item, Record) or item.vector is None:
            yield item
            continue
        dim = dim or len(item.vector)
        try:
            vector = _fitting(item.vector, dim, normalise=normalise)
        except ValueError as error:
            yield Malformed(item.position, f"its vector {error}", record=item)
        else:
            yield replace(item, vector=vector) if normalise else item


def vector_of(values: "list[float] | NDArray[np.number]") -> "NDArray[np.float32]":
    """Return a row's numbers as a vector.

    :param values: A list, or an array of one dimension.
    :returns: Shape (dim,), a copy.
    :raises ValueError: If there are none, or some are not finite. Names sizes, never values.
    """
    import numpy as np

    try:
        with np.errstate(over="ignore"):
            vector = np.array(values, dtype=np.float32)
    except OverflowError:  # of an integer
        raise ValueError(f"holds numbers among its {len(values)} that are not finite in float32") from None
    return _fitting(vector, len(vector))


def _fitting(vector: "NDArray[np.float32]", dim: int, *, normalise: bool = False) -> "NDArray[np.float32]":
    import numpy as np

    if len(vector) != dim:
        raise ValueError(f"has {len(vector)} dimensions where the first one has {dim}")
    if not dim:
        raise ValueError("is empty")
    unfit = dim - int(np.count_nonzero(np.isfinite(vector)))
    if unfit:
        raise ValueError(f"holds {unfit} numbers among its {dim} that are not finite in float32")
    if not normalise:
        return vector
    length = float(np.linalg.norm(vector.astype(np.float64)))  # squares may be too large for float32
    if not length:
        raise ValueError("has length 0, which no scaling makes 1")
    return (vector / length).astype(np.float32)
