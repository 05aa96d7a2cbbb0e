import gzip
import io
import json
import random
import sys
from pathlib import Path

import pytest

from es_ingest.readers import FieldMapping, delimited, read, rows, streams
from es_ingest.readers.streams import zstd
from es_ingest.records import Malformed, ReadError, Record


def items(
    path: Path, content: bytes | str, fields: FieldMapping | None = None, format_name: str = "csv"
) -> list[Record | Malformed]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read([str(path)], format_name, fields))


def test_rows_become_records(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    content = '\ufeff,id, title,text,year,note\r\n0,a,T," x, ""y"" ",2019,\r\n\r\n1,b,,z,,n\r\n'
    assert items(path, content) == [
        Record("a", "T", ' x, "y" ', {"year": "2019"}, f"{path}:2"),
        Record("b", "", "z", {"note": "n"}, f"{path}:4"),
    ]


def test_positions_are_the_physical_lines_where_records_start(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    result = items(path, 'id,text\n1,"one\r\ntwo\n\nthree"\n2,"a\rb"\n3,x,y\n4,four')
    assert result == [
        Record("1", "", "one\r\ntwo\n\nthree", {}, f"{path}:2"),
        Record("2", "", "a\rb", {}, f"{path}:6"),
        Malformed(f"{path}:7", "3 columns where the header has 2"),
        Record("4", "", "four", {}, f"{path}:8"),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"2", "1 columns where the header has 2"),
        (b"2,Confidential,x", "3 columns where the header has 2"),
        (b'2,"Confidential" note', "not CSV: ',' expected after '\"'"),
        (b"2,Confidential \xff", "not UTF-8"),
        (b'2,"Confidential \xff\nnote"', "not UTF-8"),
        (b"2,Confidential \x00", "holds a NUL character; is the file UTF-16 or binary?"),
        (b"2, ", "empty text"),
        (b",text", "empty id in field 'id'"),
    ],
)
def test_a_bad_row_is_named_without_its_text_and_the_rest_goes_on(tmp_path: Path, row: bytes, reason: str) -> None:
    path = tmp_path / "a.csv"
    first, bad, last = items(path, b"id,text\n1,one\n" + row + b"\n3,three\n")
    assert bad == Malformed(f"{path}:3", reason)
    assert isinstance(first, Record)
    assert isinstance(last, Record)
    assert last.position == f"{path}:{4 + row.count(10)}"


def test_a_quote_that_is_never_closed_costs_its_own_row(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    one, bad, *rest = items(path, 'id,text\n1,one\n2,"two\n3,three\n\n4,four\n')
    assert [item.id for item in (one, *rest) if isinstance(item, Record)] == ["1", "3", "4"]
    assert [item.position for item in rest] == [f"{path}:4", f"{path}:6"]
    assert bad == Malformed(
        f"{path}:3",
        "a quote that opens in line 3 is never closed; what it took for its cell, 3 more lines up to line 6, is read"
        " again as rows; if quotes are no more than characters here, give --quote none",
    )
    assert isinstance(bad, Malformed)
    assert (bad.raw, bad.gap) == ('"2,\\"two\\n"', True)


def test_a_quote_that_opens_behind_a_note_of_several_lines_is_named_where_it_opens(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    bad, three = items(path, 'id,text,note\n2,"two\nlines, ""quoted""","open\n3,three,x\n')
    assert isinstance(bad, Malformed)
    assert bad.reason.startswith(
        "a quote that opens in line 3 is never closed; what it took for its cell, 1 more line up to"
    )
    assert bad.raw == '"2,\\"two\\nlines, \\"\\"quoted\\"\\"\\",\\"open\\n"'
    assert three == Record("3", "", "three", {"note": "x"}, f"{path}:4")


def test_what_looks_like_a_note_is_not_taken_for_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    note = "Fever, cough.\nSeen by the team,\nwho asked for an X-ray, twice.\nNo pain."
    for text in (f'2,"{note}', f'2,"{note}\nHe "said", no"'):  # a file that breaks off; a quote within
        (bad,) = items(path, f"id,text\n{text}")
        assert isinstance(bad, Malformed)
        assert (
            f"more lines up to line {2 + text.count(chr(10))}, is left out, as it does not look like rows" in bad.reason
        )
        assert json.loads(str(bad.raw)) == text
        assert bad.gap


def test_a_stray_quote_costs_no_neighbour(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = [f'{n},"text {n}"' for n in range(100)]
    rows[10] = '10,"text 10'
    result = items(path, "id,text\n" + "\n".join(rows))
    assert [item.id for item in result if isinstance(item, Record)] == [str(n) for n in range(100) if n != 10]
    (bad,) = (item for item in result if isinstance(item, Malformed))
    assert bad.position == f"{path}:12"
    assert "opens in line 12 is closed in the middle of a cell, in line 13; what" in bad.reason


def test_an_open_quote_holds_no_more_than_a_bounded_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "MAX_ROW_BYTES", 1000)
    rows = [f"{n},text {n}" for n in range(1000)]
    rows[5] = '5,"' + "x" * 2000  # a long line alone is fine
    rows[10] = '10,"open'
    rows[11] = '11,"a\nnote of\nseveral ""lines"""'
    result = items(tmp_path / "a.csv", "id,text\n" + "\n".join(rows))
    assert [item.id for item in result if isinstance(item, Record)] == [str(n) for n in range(1000) if n not in (5, 10)]
    never, stray = (item.reason for item in result if isinstance(item, Malformed))
    assert "opens in line 7 is not closed within 1000 bytes; if" in never
    assert "opens in line 12 is closed in the middle of a cell, in line 13" in stray


def test_no_line_is_read_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = 0

    class Counted(delimited._Lines):
        def __next__(self) -> str:
            nonlocal taken
            taken += 1
            return super().__next__()

    monkeypatch.setattr(delimited, "_Lines", Counted)
    source = random.Random(0)
    for _ in range(200):
        rows = ["".join(source.choices('a",', k=source.randrange(8))) for _ in range(100)]
        taken = 0
        result = items(tmp_path / "a.csv", "id,text\n" + "\n".join(rows))
        assert taken < 300
        lines = [int(item.position.rpartition(":")[2]) for item in result]
        assert lines == sorted(set(lines))


@pytest.mark.parametrize("quote", ["none", "|"])
def test_another_quote_or_none(tmp_path: Path, quote: str) -> None:
    path = tmp_path / "a.csv"
    content = 'id,text\n1,"one\n2,two" |x\n3,a "b" c\n'
    one, two, three = items(path, content, FieldMapping(quote=quote))
    assert one == Record("1", "", '"one', {}, f"{path}:2")
    assert two == Record("2", "", 'two" |x', {}, f"{path}:3")
    assert three == Record("3", "", 'a "b" c', {}, f"{path}:4")
    assert len(list(rows([str(path)], "csv", FieldMapping(quote=quote)))) == 3
    (row,) = items(path, "id,text\n1,|one\n2,two|\n", FieldMapping(quote="|"))
    assert isinstance(row, Record)
    assert row.text == "one\n2,two"


@pytest.mark.parametrize("quote", ["", "ab", ",", "\n", "None"])
def test_what_cannot_quote_is_refused(quote: str) -> None:
    with pytest.raises(ValueError, match="give one character, or none"):
        FieldMapping(quote=quote)


def test_quoting_is_for_csv(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").touch()
    with pytest.raises(ReadError, match="format jsonl has no quoted cells; --quote is for csv"):
        read([str(tmp_path / "a.jsonl")], "jsonl", FieldMapping(quote="none"))


def test_a_line_over_the_limit_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 100)
    path = tmp_path / "a.csv"
    result = items(path, "id,text\n1,one\n2," + "x" * 200_000 + "\n3,three\n")
    assert [item.position for item in result] == [f"{path}:{n}" for n in (2, 3, 4)]
    assert result[1] == Malformed(f"{path}:3", "line is longer than the limit of 100 bytes")


def test_long_fields_are_fine(tmp_path: Path) -> None:
    (result,) = items(tmp_path / "a.csv", "id,text\n1," + "x" * 1_000_000)
    assert isinstance(result, Record)
    assert len(result.text) == 1_000_000


def test_tabs_by_suffix(tmp_path: Path) -> None:
    for name in ("a.tsv", "A.TSV.gz"):
        packed = gzip.compress(b"id\ttext\n1\ta,b\n") if name.endswith("gz") else b"id\ttext\n1\ta,b\n"
        assert items(tmp_path / name, packed) == [Record("1", "", "a,b", {}, f"{tmp_path / name}:2")]


@pytest.mark.parametrize("name", ["a.csv.zst", "a.tsv.zst", "a.csv"])
def test_zstd(tmp_path: Path, name: str) -> None:
    content = "id,text\n1,x\n".replace(",", "\t" if "tsv" in name else ",")
    assert items(tmp_path / name, zstd.compress(content.encode())) == [Record("1", "", "x", {}, f"{tmp_path / name}:2")]


@pytest.mark.parametrize(
    ("row", "raw"),
    [
        (b"2", '["2"]'),
        (b"2,x,y", '["2", "x", "y"]'),
        (b"2, ", '{"id": "2", "text": " "}'),
        (b"2,\xff", '["2", "\\ufffd"]'),
        (b"2,\x00", '["2", "\\u0000"]'),
    ],
)
def test_a_bad_row_is_kept_for_the_dead_letters(tmp_path: Path, row: bytes, raw: str) -> None:
    (bad,) = items(tmp_path / "a.csv", b"id,text\n" + row)
    assert isinstance(bad, Malformed)
    assert (bad.raw, bad.gap) == (raw, False)


@pytest.mark.parametrize(
    ("rows", "gaps"),
    [
        ('1,"un"quoted\n2,two', [False]),
        ('1,"one\n2,"two"', [True]),
        ('1,one\n2,"two', [False]),
        ('1,"one\n2,two', [True]),
        ('1,"one\n2,' + "x" * 200_000 + "\n3,three", [True]),
    ],
)
def test_a_bad_row_that_may_be_several_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, gaps: list[bool]
) -> None:
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 100_000)
    result = items(tmp_path / "a.csv", f"id,text\n{rows}\n")
    assert [item.gap for item in result if isinstance(item, Malformed)] == gaps


def test_a_gzip_file_that_breaks_off_gives_what_is_there(tmp_path: Path) -> None:
    rows = "id,text\n" + "".join(f'{n},"{n * 7919 % 1009}\n{n**5}"\n' for n in range(20_000))
    packed = gzip.compress(rows.encode())
    *records, last = items(tmp_path / "a.csv.gz", packed[: len(packed) // 2])
    assert 5_000 < len(records) < 15_000
    assert all(isinstance(record, Record) and record.id == str(n) for n, record in enumerate(records))
    assert isinstance(last, Malformed)
    assert last.reason.startswith("the rest of the file is lost")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; the first line must name the columns"),
        (b"\n\n", "is empty; the first line must name the columns"),
        (b"id,text,id\n", "has several columns of one name: 'id'"),
        ("id,text\n".encode("utf-16"), "is UTF-16; convert it"),
        ("id,text\n".encode("utf-16-le"), "has no header that can be read: holds a NUL"),
        (b"id,t\xffxt\n", "has no header that can be read: not UTF-8"),
        (b"id,note\n1,x\n", r"has no text field such as .* \(--text-field names another\); it has 'id', 'note'$"),
        (b"The first note.,1\n", "it has 2 more$"),
    ],
)
def test_a_file_without_a_usable_header(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ReadError, match=message):
        items(tmp_path / "a.csv", content)


def test_a_named_column_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"has no field 'note', 'no'; it has 'id', 'text'$"):
        items(tmp_path / "a.csv", "id,text\n", FieldMapping(text=("note",), meta=("id", "no")))


def test_named_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    fields = FieldMapping(id="key", title="name", text=("a", "b"), meta=("y.z",))
    assert items(path, "key,name,a,b,y.z,w\n1,T,x,y,5,6\n", fields) == [
        Record("1", "T", "x\n\ny", {"y.z": "5"}, f"{path}:2")
    ]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"id,text\n1,x\n")))
    assert list(read(["-"], "csv")) == [Record("1", "", "x", {}, "<stdin>:2")]


def test_semicolons_are_told_from_the_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id;text;place\n1;"fever; cough, pain";Köln\n', encoding="utf-8")
    (record,) = read([str(tmp_path / "a.csv")], "csv")
    assert (record.id, record.text, record.meta) == ("1", "fever; cough, pain", {"place": "Köln"})
    assert record.position.endswith("a.csv:2")
