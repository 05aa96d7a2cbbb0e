import datetime
import logging
import sys
import tracemalloc
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from es_ingest.readers import FieldMapping, read, rows
from es_ingest.records import Malformed, ReadError, Record

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def items(path: Path, columns: dict[str, Any], fields: FieldMapping | None = None) -> list[Record | Malformed]:
    pq.write_table(pa.table(columns), path)
    return list(read([str(path)], "parquet", fields))


def test_rows_become_records(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {"id": [1, 2, None], "title": ["T", None, ""], "text": [" x ", "y", "z"], "year": [2019.0, None, 1.5]}
    assert items(path, columns) == [
        Record("1", "T", " x ", {"year": 2019.0}, f"{path}:1"),
        Record("2", "", "y", {}, f"{path}:2"),
        Malformed(f"{path}:3", "empty id in field 'id'"),
    ]


def test_types_become_what_json_can_hold(tmp_path: Path) -> None:
    moment = datetime.datetime(2020, 1, 2, 3, 4, 5, 678901)
    columns = {
        "text": pa.array(["x"], pa.large_string()),
        "date": pa.array([moment.date()]),
        "nanos": pa.array([1577934245678901234], pa.timestamp("ns", tz="UTC")),
        "micros": pa.array([moment]),
        "price": pa.array([Decimal("1.50")]),
        "nan": pa.array([float("nan")]),
        "list": pa.array([[1.0, float("nan")]]),
        "struct": pa.array([{"a": {"b": moment.date()}}]),
        "kind": pa.array(["k"]).dictionary_encode(),
        "flag": pa.array([True]),
    }
    (record,) = items(tmp_path / "a.parquet", columns)
    assert isinstance(record, Record)
    assert record.meta == {
        "date": "2020-01-02",
        "nanos": "2020-01-02T03:04:05.678901+00:00",
        "micros": "2020-01-02T03:04:05.678901",
        "price": 1.5,
        "list": [1.0, None],
        "struct": {"a": {"b": "2020-01-02"}},
        "kind": "k",
        "flag": True,
    }


def test_text_of_another_type_is_malformed(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    assert items(path, {"text": [1]}) == [Malformed(f"{path}:1", "text field 'text' is a number, not a string")]
    assert items(path, {"text": [b"x"]}) == [Malformed(f"{path}:1", "text field 'text' is binary, not a string")]


def test_struct_fields_by_dotted_path(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {"key": [7], "article": [{"title": "T", "body": "x", "year": 1}], "extra": ["e"]}
    fields = FieldMapping(id="key", title="article.title", text=("article.body",), meta=("article.year",))
    assert items(path, columns, fields) == [Record("7", "T", "x", {"article.year": 1}, f"{path}:1")]


def test_binary_columns_are_left_out_and_said_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    columns = {"text": ["x"], "image": [{"bytes": b"raw", "path": "p"}], "scans": [[b"raw"]], "year": [1]}
    with caplog.at_level(logging.WARNING):
        (record,) = items(tmp_path / "a.parquet", columns)
    assert isinstance(record, Record)
    assert record.meta == {"year": 1}
    assert caplog.messages == [f"{tmp_path / 'a.parquet'}: left out binary columns 'image', 'scans'"]
    with pytest.raises(ReadError, match="column 'image' is binary; name columns that hold text or values"):
        items(tmp_path / "a.parquet", columns, FieldMapping(meta=("image",)))


def test_a_bad_row_is_kept_for_the_dead_letters(tmp_path: Path) -> None:
    moment = datetime.datetime(2020, 1, 2, 3, 4, 5)
    columns = {"id": [None], "text": ["x"], "at": [moment], "v": pa.array([[0.5, 1.0]], pa.list_(pa.float32()))}
    (bad,) = items(tmp_path / "a.parquet", columns, FieldMapping(vector="v"))
    assert isinstance(bad, Malformed)
    assert bad.raw == '{"id": null, "text": "x", "at": {"$datetime": "2020-01-02T03:04:05"}, "v": [0.5, 1.0]}'


def test_one_bad_value_costs_one_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    offsets = pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0]))
    text = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"a\xffc")])
    assert items(path, {"id": ["1", "2", "3"], "text": text}) == [
        Record("1", "", "a", {}, f"{path}:1"),
        Malformed(f"{path}:2", "column 'text' is not UTF-8"),
        Record("3", "", "c", {}, f"{path}:3"),
    ]
    far = pa.array([0, 2**62], pa.timestamp("us"))
    assert items(path, {"id": ["1", "2"], "text": ["x", "y"], "far": far})[1] == Malformed(
        f"{path}:2", "column 'far' holds a value out of Python's range, of type timestamp[us]"
    )


def test_files_that_are_no_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    items(path, {"text": ["x" * 1000]})
    whole = path.read_bytes()
    for content in (b"", b"id,text\n1,x\n", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(ReadError, match="not a Parquet file, or cut short"):
            list(read([str(path)], "parquet"))
    with pytest.raises(ReadError, match="is a folder"):
        list(read([str(tmp_path)], "parquet"))


def test_damage_inside_loses_the_rest_only(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"text": [f"text {n} {n**7}" for n in range(4000)]})
    pq.write_table(table, path, row_group_size=1000, compression="zstd", use_dictionary=False)
    start = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    content = bytearray(path.read_bytes())
    content[start : start + 2000] = bytes(2000)
    path.write_bytes(content)
    assert sum(1 for _ in rows([str(path)], "parquet")) == 4000
    *records, last = read([str(path)], "parquet")
    assert last.gap
    assert last == Malformed(f"{path}:{len(records) + 1}", "the rest of the file is lost: damaged Parquet data")
    assert len(records) > 1000


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"has no field 'note'; it has 'id', 'text'$"):
        items(tmp_path / "a.parquet", {"id": [1], "text": ["x"]}, FieldMapping(text=("note",)))
    with pytest.raises(ReadError, match=r"has no text field such as .*; it has 'id'$"):
        items(tmp_path / "a.parquet", {"id": [1]})


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["text", "text"]), path)
    with pytest.raises(ReadError, match="has several columns of one name"):
        list(read([str(path)], "parquet"))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ReadError, match=r"needs pyarrow: pip install 'medte\[parquet\]'"):
        list(read([str(tmp_path / "a.parquet")], "parquet"))


def test_memory_stays_flat_over_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    schema = pa.schema({"id": pa.int64(), "text": pa.string()})
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, 20_000, 4_000):
            ids = range(start, start + 4_000)
            writer.write_table(pa.table({"id": ids, "text": [f"{n} " * 400 for n in ids]}, schema))
    tracemalloc.start()
    allocated = pa.total_allocated_bytes()
    peak_arrow = 0
    for count, _ in enumerate(read([str(path)], "parquet"), start=1):
        if count % 500 == 0:
            peak_arrow = max(peak_arrow, pa.total_allocated_bytes() - allocated)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert path.stat().st_size > 40 * 2**20
    assert peak < 4 * 2**20
    assert peak_arrow < 16 * 2**20
