"""Parquet files, streamed batch by batch. Needs pyarrow, which is imported when the first file is read.

Metadata. Dates and times become ISO 8601, durations seconds, decimals floats, NaN no value, structs objects. Columns
with binary in them (images, say) are left out with a warning; naming one in the mapping is an error. A vector may be a
list of any length or of a fixed one, of floats of any size or integers. A position's number is the row in the file,
from 1.
"""

import importlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from es_ingest.readers.fields import RowMapper
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import reason_of
from es_ingest.readers.values import RowError, kind_of, listed, row_of
from es_ingest.records import Malformed, ReadError, Record

logger = logging.getLogger(__name__)

SUFFIXES = (".parquet", ".pq")
BATCH_ROWS = 512
_BUFFER_BYTES = 2**20  # read column chunks through a buffer of this size instead of whole


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:
    """Stream one Parquet file.

    :param source: The file.
    :param fields: Which columns to take, `a.b` for a struct's field; None for the defaults.
    :raises ReadError: If pyarrow is missing, the file is not Parquet, or a named column is missing or binary.
    """
    arrow, file = _open(source)
    fields = fields or FieldMapping()
    mapper = RowMapper(fields, nan_is_null=True)
    with file:
        columns = _columns(arrow, source, file.schema_arrow, fields)
        row = 0
        try:
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns):
                for values in _rows(arrow, batch, fields.vector):
                    row += 1
                    position = f"{source}:{row}"
                    yield Malformed(position, values) if isinstance(values, str) else mapper(values, position)
        except (arrow.ArrowException, OSError) as error:  # its message may quote content
            if row == 0:
                raise ReadError(source, f"its data cannot be decoded ({type(error).__name__})") from error
            yield Malformed(f"{source}:{row + 1}", "the rest of the file is lost: damaged Parquet data", gap=True)


def again(raw: str, position: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:
    """Read a row of dead letters once more; see `Reader.again`."""
    row = row_of(raw)
    if not isinstance(row, dict):
        raise RowError(f"is {kind_of(row)}, not an object of columns and values")
    yield RowMapper(fields, nan_is_null=True)(row, position)


def rows(source: str, fields: FieldMapping | None = None) -> range:  # noqa: ARG001
    """Return the numbers of a Parquet file's rows, which it states at its end.

    :param source: The file.
    :param fields: Not used; it changes no number of rows.
    :raises ReadError: If pyarrow is missing or the file is not Parquet.
    """
    _, file = _open(source)
    with file:
        return range(file.metadata.num_rows)


def _open(source: str) -> tuple[Any, Any]:
    """Return the pyarrow module and the opened file."""
    try:
        arrow = importlib.import_module("pyarrow")
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ReadError(source, "reading Parquet needs pyarrow: pip install 'medte[parquet]'") from error
    if Path(source).is_dir():
        raise ReadError(source, "is a folder; name its files, or a pattern such as 'folder/*.parquet'")
    try:
        return arrow, parquet.ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER_BYTES)
    except OSError as error:
        reason = reason_of(error) if error.errno else "not a Parquet file, or cut short"
        raise ReadError(source, reason) from error
    except arrow.ArrowException as error:
        raise ReadError(source, "not a Parquet file, or cut short") from error


def _columns(arrow: Any, source: str, schema: Any, fields: FieldMapping) -> list[str]:
    """Check the mapping against the file's schema; return the columns to read."""
    if len(set(schema.names)) != len(schema.names):
        raise ReadError(source, "has several columns of one name; rename them")
    paths = {path: kind for column in schema for path, kind in _paths(arrow, column.name, column.type)}
    fields.check(source, paths)
    named = [name for name in fields.named() if _holds_binary(arrow, paths[name])]
    if named:
        raise ReadError(source, f"column {listed(named)} is binary; name columns that hold text or values")
    chosen = {name.partition(".")[0] for name in fields.chosen(paths)} | set(fields.chosen(paths))
    if fields.meta is not None:
        chosen |= {head for name in fields.meta for head in (name, name.partition(".")[0])}
        return [name for name in schema.names if name in chosen]
    binary = [c.name for c in schema if c.name not in chosen and _holds_binary(arrow, c.type)]
    if binary:
        logger.warning("%s: left out binary columns %s", source, listed(binary))
    return [name for name in schema.names if name not in binary]


def _paths(arrow: Any, path: str, kind: Any) -> Iterator[tuple[str, Any]]:
    yield path, kind
    if arrow.types.is_struct(kind):
        for inner in kind:
            yield from _paths(arrow, f"{path}.{inner.name}", inner.type)


def _holds_binary(arrow: Any, kind: Any) -> bool:
    """Tell whether a type is binary or a list, struct or map with binary inside."""
    if arrow.types.is_dictionary(kind):
        kind = kind.value_type
    tests = ("is_binary", "is_large_binary", "is_fixed_size_binary", "is_binary_view")
    if any(getattr(arrow.types, test)(kind) for test in tests):
        return True
    return any(_holds_binary(arrow, kind.field(index).type) for index in range(kind.num_fields))


def _rows(arrow: Any, batch: Any, vector: str | None) -> Iterator[dict[str, Any] | str]:
    """Give a batch's rows as Python values; a row that has no Python value gives the reason."""
    columns = {
        name: _microseconds(arrow, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    if vector is None or vector not in columns or not _holds_numbers(arrow, columns[vector].type):
        yield from _values(arrow.RecordBatch.from_pydict(columns))
        return
    lists = columns.pop(vector)
    for row, numbers in zip(_values(arrow.RecordBatch.from_pydict(columns)), lists, strict=True):
        if isinstance(row, dict):
            row[vector] = numbers.values.to_numpy(zero_copy_only=False) if numbers.is_valid else None
        yield row


def _values(batch: Any) -> Iterator[dict[str, Any] | str]:
    try:
        yield from batch.to_pylist()
        return
    except (ValueError, OverflowError):  # one value spoils the batch, so take it row by row; nothing was given yet
        pass
    for index in range(batch.num_rows):
        yield _row(batch, index)


def _holds_numbers(arrow: Any, kind: Any) -> bool:
    """Tell whether a type is lists of numbers, which are many times as quick as arrays."""
    types = arrow.types
    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(lists and (types.is_floating(kind.value_type) or types.is_integer(kind.value_type)))


def _row(batch: Any, index: int) -> dict[str, Any] | str:
    values = {}
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            values[name] = column[index].as_py()
        except UnicodeDecodeError:
            return f"column {name!r} is not UTF-8"
        except (ValueError, OverflowError):
            return f"column {name!r} holds a value out of Python's range, of type {column.type}"
    return values


def _microseconds(arrow: Any, column: Any) -> Any:
    """Cut nanoseconds down to Python's microseconds; pyarrow would need pandas for them."""
    if arrow.types.is_timestamp(column.type) and column.type.unit == "ns":
        return column.cast(arrow.timestamp("us", tz=column.type.tz), safe=False)
    return column


READER = Reader(
    name="parquet",
    description="Parquet with columns such as id, title, text (needs pip install 'medte[parquet]')",
    source="a .parquet file",
    read=read,
    accepts=lambda path: path.name.lower().endswith(SUFFIXES) and not path.is_dir(),
    mapped=True,
    rows=rows,
    again=again,
    generic=True,
)
