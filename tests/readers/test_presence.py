"""A field that the mapping names and no row has."""

from pathlib import Path

import pytest

from es_ingest.readers import FieldMapping, read
from es_ingest.readers.presence import LOOKED_AT
from es_ingest.records import Malformed, ReadError, Record

ROW = '{"id": 1, "note": "x", "nested": {"v": [1]}}\n'
GOOD = FieldMapping(text=("note",))


def write(folder: Path, *contents: str) -> list[str]:
    for number, content in enumerate(contents):
        (folder / f"{number}.jsonl").write_text(content)
    return [str(folder / f"{number}.jsonl") for number in range(len(contents))]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (FieldMapping(text=("note", "nota")), "has no field 'nota'"),
        (FieldMapping(text=("note",), id="key"), "has no field 'key'"),
        (FieldMapping(text=("note",), title="head"), "has no field 'head'"),
        (FieldMapping(text=("note",), vector="nested.w"), "has no field 'nested.w'"),
        (FieldMapping(text=("nota",), title="head"), "has no field 'nota' and no field 'head'"),
        (None, r"has no text field such as .* \(--text-field names another\)"),
    ],
)
def test_a_named_field_that_no_row_has_ends_it(tmp_path: Path, fields: FieldMapping | None, said: str) -> None:
    (source,) = write(tmp_path, "broken\n" + ROW)
    with pytest.raises(ReadError, match=f"0.jsonl:2: {said}; it has 'id', 'note', 'nested'$"):
        next(read([source], "jsonl", fields))
    sources = write(tmp_path, ROW, ROW * (LOOKED_AT - 1))
    with pytest.raises(ReadError, match=f"0.jsonl:1: {said}, nor has any other of the {LOOKED_AT} rows that"):
        next(read(sources, "jsonl", fields))


@pytest.mark.parametrize("also", ['{"note": "y", "head": "h"}', '{"note": 1, "head": 2}', '{"note": null, "head": ""}'])
def test_one_row_that_has_it_is_enough(tmp_path: Path, also: str) -> None:
    fields = FieldMapping(text=("note",), title="head")
    (source,) = write(tmp_path, ROW * (LOOKED_AT - 1) + also)
    items = list(read([source], "jsonl", fields))
    assert len(items) == LOOKED_AT
    assert [item.position.rpartition(":")[2] for item in items] == [str(n + 1) for n in range(LOOKED_AT)]
    assert all(isinstance(item, Malformed) for item in items[:-1])


def test_rows_that_lack_it_behind_a_record_are_malformed(tmp_path: Path) -> None:
    good, *bad = read(write(tmp_path, '{"text": "x"}', ROW * 300), "jsonl")
    assert isinstance(good, Record)
    assert len(bad) == 300


def test_what_null_stands_for_may_have_it(tmp_path: Path) -> None:
    fields = FieldMapping(text=("note",), id="nested.id")
    (bad,) = read(write(tmp_path, '{"note": "x", "nested": null}'), "jsonl", fields)
    assert isinstance(bad, Malformed)


def test_rows_that_cannot_be_read_tell_nothing(tmp_path: Path) -> None:
    (bad,) = read(write(tmp_path, "broken"), "jsonl", GOOD)
    assert isinstance(bad, Malformed)
