"""Ready-made vectors: of a field, and of a .npy file beside the sources."""

import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from es_ingest.readers import FieldMapping, read, vectors
from es_ingest.readers.fields import RowMapper
from es_ingest.readers.vectors import VectorFile, checked
from es_ingest.records import Deleted, Malformed, ReadError, Record

MAPPED = FieldMapping(vector="v")
EXACT = [[0.5, -0.25, 2.0], [1.0, 0.0, 65504.0]]  # in every type of float


def record(name: str, vector: Any = None) -> Record:
    return Record(name, "", "some text", {}, f"f:{name}", None if vector is None else np.array(vector, np.float32))


def vector_in(value: Any) -> Any:
    item = RowMapper(MAPPED)({"id": 1, "text": "x", "v": value}, "f:1")
    assert isinstance(item, Record), item
    assert item.meta == {}
    assert item.vector is not None
    assert item.vector.dtype == np.float32
    return item.vector


def reason(value: Any) -> str:
    item = RowMapper(MAPPED)({"id": 1, "text": "x", "v": value}, "f:1")
    assert isinstance(item, Malformed), item
    return item.reason


class TestOfAField:
    @pytest.mark.parametrize("value", [[1, 0.1], "[1, 0.1]", " [1.0,1e-1]\n", np.array([1.0, 0.1])])
    def test_lists_of_numbers_and_json_of_them(self, value: Any) -> None:
        np.testing.assert_array_equal(vector_in(value), np.array([1, 0.1], np.float32))

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (None, "is null, not a list of numbers"),
            (1.5, "is a number, not a list of numbers"),
            ({"a": 1}, "is an object, not a list of numbers"),
            ('{"a": 1}', "is an object, not a list of numbers"),
            ("zczMPc3MzD0=", "is a string, not a list of numbers"),
            ("[0.1, ", "is a string, not a list of numbers"),
            ("[" * 100_000, "is a string, not a list of numbers"),
            ([], "is empty"),
            ("[]", "is empty"),
            ([1, True], "holds true or false among its 2 items, not numbers alone"),
            ([1.0, None, 2.0], "holds null among its 3 items, not numbers alone"),
            (["0.1"], "holds a string among its 1 items, not numbers alone"),
            ([[0.1, 0.2]], "holds a list among its 1 items, not numbers alone"),
            ([0.1, float("nan")], "holds 1 numbers among its 2 that are not finite in float32"),
            ("[NaN, Infinity, 1]", "holds 2 numbers among its 3 that are not finite in float32"),
            ([1e39, 0.0], "holds 1 numbers among its 2 that are not finite in float32"),
            ([10**400, 0], "holds numbers among its 2 that are not finite in float32"),
        ],
    )
    def test_others_make_the_row_malformed_by_type_and_size(self, value: Any, expected: str) -> None:
        assert reason(value) == f"vector field 'v' {expected}"

    def test_a_row_without_the_field_is_malformed_and_kept(self) -> None:
        item = RowMapper(MAPPED)({"id": 1, "text": "x"}, "f:1")
        assert isinstance(item, Malformed)
        assert item.reason == "has no field 'v'; it has 'id', 'text'"
        assert item.raw == '{"id": 1, "text": "x"}'

    @pytest.mark.parametrize("meta", [None, ("made",), ("made", "year")])
    def test_it_is_no_metadata(self, meta: tuple[str, ...] | None) -> None:
        mapper = RowMapper(FieldMapping(meta=meta, vector="made.vector"))
        item = mapper({"text": "x", "made": {"vector": [1.0], "by": "minilm"}, "year": 2019}, "f:1")
        assert isinstance(item, Record)
        np.testing.assert_array_equal(item.vector, [1.0])
        assert item.meta == {"made": {"by": "minilm"}} | ({} if meta == ("made",) else {"year": 2019})

    def test_the_mapping_names_it(self) -> None:
        assert MAPPED.to_dict() == {
            "id-field": None,
            "title-field": None,
            "text-field": [],
            "meta-field": None,
            "vector-field": "v",
        }
        with pytest.raises(ValueError, match="a field name is blank"):
            FieldMapping(vector=" ")
        with pytest.raises(ValueError, match="field 'v' holds the vector and cannot be metadata"):
            FieldMapping(vector="v", meta=("year", "v"))

    def test_json_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "a.jsonl"
        path.write_text('{"id": 1, "text": "x", "v": [0.5, 1], "w": 2}\n{"id": 2, "text": "y", "v": "[2, 0.1]"}\n')
        first, second = read([str(path)], "jsonl", MAPPED)
        assert isinstance(first, Record)
        assert isinstance(second, Record)
        np.testing.assert_array_equal(np.stack([first.vector, second.vector]), np.array([[0.5, 1], [2, 0.1]], "f4"))  # type: ignore[list-item]
        assert (first.meta, second.meta) == ({"w": 2}, {})

    def test_csv(self, tmp_path: Path) -> None:
        path = tmp_path / "a.csv"
        path.write_text('id,text,v\n1,x,"[0.5, 1]"\n2,y,\n')
        first, second = read([str(path)], "csv", MAPPED)
        assert isinstance(first, Record)
        np.testing.assert_array_equal(first.vector, [0.5, 1])
        assert first.meta == {}
        assert second == Malformed(f"{path}:3", "vector field 'v' is a string, not a list of numbers")
        with pytest.raises(ReadError, match="has no field 'vector'; it has 'id', 'text', 'v'"):
            list(read([str(path)], "csv", FieldMapping(vector="vector")))


class TestOfAParquetColumn:
    @pytest.mark.parametrize(
        "kind",
        ["list<float>", "list<double>", "list<halffloat>", "large_list<float>", "fixed<float>", "fixed<halffloat>"],
    )
    def test_lists_of_any_length_and_float(self, tmp_path: Path, kind: str) -> None:
        pa = pytest.importorskip("pyarrow")
        number = {"float": pa.float32(), "double": pa.float64(), "halffloat": pa.float16()}[kind.split("<")[1][:-1]]
        make = {"list": pa.list_, "large_list": pa.large_list, "fixed": lambda one: pa.list_(one, 3)}
        rows = [np.array(row, number.to_pandas_dtype()) for row in EXACT]
        column = pa.array([rows[0], None, rows[1]], make[kind.split("<")[0]](number))
        first, second, third = self.items(tmp_path, {"text": ["x", "y", "z"], "v": column, "w": [1, 2, 3]})
        assert isinstance(first, Record)
        assert isinstance(third, Record)
        assert first.vector is not None
        assert first.vector.dtype == np.float32
        assert first.vector.base is None, "a copy, which holds no batch"
        np.testing.assert_array_equal([first.vector, third.vector], EXACT)
        assert first.meta == {"w": 1}
        assert isinstance(second, Malformed)
        assert second.reason == "vector field 'v' is null, not a list of numbers"
        assert second.raw == '{"text": "y", "w": 2, "v": null}'

    def test_integers_strings_and_structs(self, tmp_path: Path) -> None:
        for column in ([[1, 2]], ["[1, 2]"]):
            (item,) = self.items(tmp_path, {"text": ["x"], "v": column})
            np.testing.assert_array_equal(item.vector, [1, 2])
        (item,) = self.items(tmp_path, {"text": ["x"], "made": [{"v": [1.0, 2.0]}]}, FieldMapping(vector="made.v"))
        np.testing.assert_array_equal(item.vector, [1, 2])

    def test_what_is_no_vector(self, tmp_path: Path) -> None:
        items = self.items(tmp_path, {"text": ["x", "y", "z"], "v": [[1.0, None], [], [1.0, float("inf")]]})
        assert [item.reason.removeprefix("vector field 'v' ") for item in items] == [
            "holds 1 numbers among its 2 that are not finite in float32",
            "is empty",
            "holds 1 numbers among its 2 that are not finite in float32",
        ]
        with pytest.raises(ReadError, match="column 'v' is binary"):
            self.items(tmp_path, {"text": ["x"], "v": [b"\0\0\0\0"]})

    def test_a_value_without_a_python_value_beside_it_costs_its_row_alone(self, tmp_path: Path) -> None:
        pa = pytest.importorskip("pyarrow")
        far = pa.array([0, 2**62, 1], pa.timestamp("us"))
        columns = {"text": ["x", "y", "z"], "v": [[0.0, 1.0], [1.0, 0.0], [2.0, 0.0]], "far": far}
        first, second, third = self.items(tmp_path, columns)
        assert isinstance(second, Malformed)
        np.testing.assert_array_equal([first.vector, third.vector], [[0, 1], [2, 0]])

    def items(self, folder: Path, columns: dict[str, Any], fields: FieldMapping = MAPPED) -> Any:
        pa = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pa.table(columns), folder / "a.parquet")
        return list(read([str(folder / "a.parquet")], "parquet", fields))


@pytest.fixture
def npy(tmp_path: Path) -> Path:
    return tmp_path / "vectors.npy"


def paired(path: Path, items: Any) -> list[Any]:
    return list(VectorFile.of(path).pair(items))


class TestOfAFileBeside:
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8", "longdouble"])
    def test_row_n_is_the_nth_items(self, npy: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, order: Any) -> None:
        monkeypatch.setattr(vectors, "_BLOCK_BYTES", 100)  # several blocks, the last one shorter
        wanted = np.arange(33 * 3).reshape(33, 3).astype(dtype)
        np.save(npy, np.asarray(wanted, order=order))
        items = [record(str(n)) if n % 4 else Malformed(f"f:{n}", "bad") for n in range(33)]
        found = paired(npy, items)
        assert [item.position for item in found] == [item.position for item in items]
        for number, item in enumerate(found):
            if isinstance(item, Record):
                assert item.vector is not None
                assert item.vector.dtype == np.float32
                np.testing.assert_array_equal(item.vector, wanted[number])

    @pytest.mark.parametrize("rows", [4, 6])
    def test_other_numbers_of_rows_are_refused_naming_both(self, npy: Path, rows: int) -> None:
        np.save(npy, np.ones((5, 2)))
        items = VectorFile.of(npy).pair(record(str(n)) for n in range(rows))
        taken = [next(items) for _ in range(min(rows, 5))]
        assert all(isinstance(item, Record) for item in taken)
        with pytest.raises(ReadError, match=rf"holds 5 vectors where the sources have .*{rows} rows.*with --fresh"):
            next(items)

    def test_a_count_known_beforehand_is_checked_without_reading(self, npy: Path) -> None:
        np.save(npy, np.ones((5, 2)))
        VectorFile.of(npy).check_rows(5)
        with pytest.raises(
            ReadError, match=r"holds 5 vectors where the sources have 1,000 rows, malformed ones"
        ) as told:
            VectorFile.of(npy).check_rows(1000)
        assert "--fresh" not in str(told.value), "nothing has been written"

    def test_no_rows_and_no_vectors(self, npy: Path) -> None:
        np.save(npy, np.ones((0, 2)))
        assert paired(npy, []) == []

    def test_rows_lost_among_others_end_it(self, npy: Path) -> None:
        np.save(npy, np.ones((5, 2)))
        lost = Malformed("a.jsonl:2", "the rest of the file is lost", gap=True)
        found: list[Record | Malformed] = []
        with pytest.raises(ReadError, match=r"a\.jsonl:2: rows may be missing here.*mend the source"):
            found.extend(VectorFile.of(npy).pair([record("1"), lost, record("x"), record("y"), record("z")]))
        assert found[1] is lost, "it is counted, and kept as a dead letter"
        assert len(found) == 2

    @pytest.mark.parametrize(
        ("array", "said"),
        [
            (np.ones(5), r"holds float64 of shape \(5,\); vectors are floats of shape \(rows, dimensions\)"),
            (np.ones((5, 2, 2)), r"of shape \(5, 2, 2\)"),
            (np.ones((5, 0)), r"of shape \(5, 0\)"),
            (np.ones((5, 2), np.int8), "holds int8 of"),
            (np.ones((5, 2), np.complex64), "holds complex64 of"),
            (np.array([["a", 1]], dtype=object), "holds object of"),
        ],
    )
    def test_arrays_that_are_no_vectors(self, npy: Path, array: Any, said: str) -> None:
        np.save(npy, array)
        with pytest.raises(ReadError, match=said):
            VectorFile.of(npy)

    def test_files_that_are_no_arrays(self, npy: Path, tmp_path: Path) -> None:
        for content in (
            b"",
            b"[[0.1]]",
            b"\x93NUMPY\x01\x00\xff",
            b"\x93NUMPY\x09\x00\x00\x00",
            b"\x93NUMPY\x01\x00\x02\x00((",
        ):
            npy.write_bytes(content)
            with pytest.raises(ReadError, match=r"is not a \.npy file; make one with numpy.save"):
                VectorFile.of(npy)
        np.savez(tmp_path / "a.npz", np.ones((2, 2)))
        with pytest.raises(ReadError, match=r"is not a \.npy file"):
            VectorFile.of(tmp_path / "a.npz")
        with pytest.raises(ReadError, match=r"none\.npy: cannot be opened: No such file"):
            VectorFile.of(tmp_path / "none.npy")
        with pytest.raises(ReadError, match="cannot be opened: Is a directory"):
            VectorFile.of(tmp_path)

    def test_a_file_cut_short_is_told_before_the_first_record(self, npy: Path) -> None:
        np.save(npy, np.ones((1000, 2)))
        npy.write_bytes(npy.read_bytes()[:-1])
        with pytest.raises(ReadError, match="is cut short: 16,127 bytes are too few for 1,000 vectors"):
            VectorFile.of(npy)

    def test_a_file_that_changes_while_it_is_read(self, npy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vectors, "_BLOCK_BYTES", 2**17)
        np.save(npy, np.ones((100_000, 2)))
        whole = npy.read_bytes()
        file = VectorFile.of(npy)
        items = file.pair(record(str(n)) for n in range(100_000))
        next(items)
        npy.write_bytes(whole[: len(whole) // 2])  # in place: a memory map of it would end the process
        with pytest.raises(ReadError, match="has changed while it was read"):
            list(items)
        np.save(npy, np.ones((2, 2)))
        items = VectorFile.of(npy).pair([record("1"), record("2")])
        next(items)
        os.utime(npy, ns=(0, 0))
        with pytest.raises(ReadError, match="has changed while it was read"):
            list(items)
        np.save(npy, np.ones((100_000, 3)))
        with pytest.raises(ReadError, match="has changed while it was read"):
            next(file.pair([record("1")]))

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_memory_stays_flat(self, npy: Path, order: Any) -> None:
        np.save(npy, np.asarray(np.ones((20_000, 768), np.float32), order=order))
        assert npy.stat().st_size > 58 * 2**20
        tracemalloc.start()
        try:
            count = sum(1 for _ in VectorFile.of(npy).pair(record("x") for _ in range(20_000)))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert count == 20_000
        assert peak < 5 * vectors._BLOCK_BYTES

    def test_a_deletion_takes_no_vector(self, tmp_path: Path) -> None:
        np.save(npy := tmp_path / "v.npy", np.eye(2, dtype=np.float32))
        gone = Deleted("x", "f:x")
        a, deleted, b = checked(VectorFile.of(npy).pair([record("a"), gone, record("b")]))
        assert deleted is gone
        assert [one.vector.tolist() for one in (a, b) if isinstance(one, Record)] == [[1, 0], [0, 1]]


class TestChecked:
    def test_wrong_sizes_and_what_is_not_finite_are_malformed(self) -> None:
        items = [record("a", [1, 0]), record("b", [1, 0, 0]), record("c", [np.nan, np.inf]), Malformed("f:d", "bad")]
        a, b, c, d = checked([*items])
        assert (a, d) == (items[0], items[3])
        assert b == Malformed("f:b", "its vector has 3 dimensions where the first one has 2")
        assert c == Malformed("f:c", "its vector holds 2 numbers among its 2 that are not finite in float32")
        assert isinstance(b, Malformed)
        assert (b.record, b.raw) == (items[1], None), "what the dead letters keep is no row of the source"

    @pytest.mark.parametrize("scale", [1e-30, 0.3, 3.0, 1e30])
    def test_normalising(self, scale: float) -> None:
        (item,) = checked([record("a", np.array([3.0, 4.0]) * scale)], normalise=True)
        assert isinstance(item, Record)
        assert item.vector is not None
        assert item.vector.dtype == np.float32
        np.testing.assert_allclose(item.vector, [0.6, 0.8], rtol=1e-6)

    def test_a_vector_without_a_direction(self) -> None:
        (item,) = checked([record("a", [0.0, 0.0])], normalise=True)
        assert item == Malformed("f:a", "its vector has length 0, which no scaling makes 1")
        (item,) = checked([record("a", [0.0, 0.0])])
        assert isinstance(item, Record), "what has not unit length is refused where it would be stored"

    def test_it_streams(self) -> None:
        def endless() -> Iterator[Record]:
            while True:
                yield record("a", [1.0])

        assert isinstance(next(checked(endless())), Record)
