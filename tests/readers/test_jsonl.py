import gzip
import io
import json
import logging
import sys
from pathlib import Path

import pytest

from es_ingest.readers import FieldMapping, read, streams
from es_ingest.readers.streams import zstd
from es_ingest.records import Malformed, ReadError, Record


def items(path: Path, content: bytes, fields: FieldMapping | None = None) -> list[Record | Malformed]:
    path.write_bytes(content)
    return list(read([str(path)], "jsonl", fields))


def test_bom_crlf_blank_lines_and_unicode_separators(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    content = b'\xef\xbb\xbf{"id": 1, "text": "one"}\r\n\r\n  \n' + '{"id": 2, "text": "a\u2028b\x85c"}'.encode()
    assert items(path, content) == [
        Record("1", "", "one", {}, f"{path}:1"),
        Record("2", "", "a\u2028b\x85c", {}, f"{path}:4"),
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": 1, "text": "Confidential note"', "not JSON: Expecting ',' delimiter at character 39 of the line"),
        (b'["Confidential"]', "not a JSON object: every line must be one, as in {...}"),
        (b"null", "not a JSON object: every line must be one, as in {...}"),
        (b'{"id": 1, "text": "Confidential \xff"}', "not UTF-8 at byte 33 of the line"),
        (b'{"id": 1, "text": "x", "a": NaN}', "field 'a' is nan; Elasticsearch takes finite numbers only"),
        (b'{"id": 1, "text": "x", "a": [-Infinity]}', "field 'a' is -inf; Elasticsearch takes finite numbers only"),
        (b'{"id": 1, "text": "x", "a": 1e999}', "field 'a' is inf; Elasticsearch takes finite numbers only"),
        (b'{"id": 1, "text": NaN}', "text field 'text' is a number, not a string"),
        (b'{"id": ' + b"9" * 5000 + b"}", "not JSON that can be indexed: an integer with thousands of digits"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"text": "x", "a": ' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_without_its_text_and_the_rest_goes_on(tmp_path: Path, line: bytes, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    good = b'{"id": "g", "text": "good"}'
    result = items(path, good + b"\n" + line + b"\n" + good + b"\n")
    assert result[1] == Malformed(f"{path}:2", reason)
    assert [result[0].position, result[2].position] == [f"{path}:1", f"{path}:3"]


def test_surrogate_escapes(tmp_path: Path) -> None:
    (result,) = items(tmp_path / "a.jsonl", rb'{"id": 1, "text": "pair \ud83d\ude00 lone \ud800"}')
    assert isinstance(result, Record)
    assert result.text == "pair 😀 lone \ufffd"


def test_a_line_over_the_limit_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_LINE_BYTES", 100)
    path = tmp_path / "a.jsonl"
    long = json.dumps({"id": 2, "text": "x" * 3_000_000}).encode()
    exact = b'{"id": 3, "text": "' + b"y" * 79 + b'"}'
    assert len(exact) == 100
    result = items(path, long + b"\n" + exact + b"\n" + long)
    assert result == [
        Malformed(f"{path}:1", "line is longer than the limit of 100 bytes"),
        Record("3", "", "y" * 79, {}, f"{path}:2"),
        Malformed(f"{path}:3", "line is longer than the limit of 100 bytes"),
    ]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    assert items(tmp_path / "a.jsonl", b"") == []


def test_gzip_is_told_by_content(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"id": 1, "text": "x"}\n') + gzip.compress(b'{"id": 2, "text": "y"}\n')
    for name in ("a.jsonl.gz", "a.jsonl"):
        assert [r.position for r in items(tmp_path / name, packed)] == [f"{tmp_path / name}:{n}" for n in (1, 2)]


def test_a_gzip_file_that_breaks_off_gives_what_is_there(tmp_path: Path) -> None:
    lines = [json.dumps({"id": n, "text": f"{n * 7919 % 1009} {n**5}"}) for n in range(20_000)]
    packed = gzip.compress("\n".join(lines).encode())
    path = tmp_path / "a.jsonl.gz"
    *records, last = items(path, packed[: len(packed) // 2])
    assert 5_000 < len(records) < 15_000
    assert all(isinstance(record, Record) and record.id == str(n) for n, record in enumerate(records))
    assert isinstance(last, Malformed)
    assert last.position == f"{path}:{len(records) + 1}"
    assert last.reason.startswith("the rest of the file is lost: Compressed file ended")


def test_a_gzip_file_with_damage_inside(tmp_path: Path) -> None:
    lines = [json.dumps({"id": n, "text": f"{n * 7919 % 1009} {n**5}"}) for n in range(20_000)]
    packed = bytearray(gzip.compress("\n".join(lines).encode()))
    packed[-8:] = bytes(8)  # checksum and length
    *records, last = items(tmp_path / "a.jsonl.gz", bytes(packed))
    assert isinstance(last, Malformed)
    assert "CRC" in last.reason
    assert len(records) == 19_999  # the last line has no line feed: it may have gone on


def test_zstd_is_told_by_content(tmp_path: Path) -> None:
    packed = zstd.compress(b'{"id": 1, "text": "x"}\n') + zstd.compress(b'{"id": 2, "text": "y"}\n')
    for name in ("a.jsonl.zst", "a.ndjson"):
        assert [r.position for r in items(tmp_path / name, packed)] == [f"{tmp_path / name}:{n}" for n in (1, 2)]


def test_a_zstd_file_that_breaks_off_gives_what_is_there(tmp_path: Path) -> None:
    lines = [json.dumps({"id": n, "text": f"{n * 7919 % 1009} {n**5}"}) for n in range(50_000)]
    packed = zstd.compress("\n".join(lines).encode())
    path = tmp_path / "a.jsonl.zst"
    *records, last = items(path, packed[: len(packed) // 2])
    assert 5_000 < len(records) < 45_000
    assert all(isinstance(record, Record) and record.id == str(n) for n, record in enumerate(records))
    assert isinstance(last, Malformed)
    assert (last.position, last.gap) == (f"{path}:{len(records) + 1}", True)
    assert last.reason.startswith("the rest of the file is lost: Compressed file ended")


@pytest.mark.parametrize(
    ("line", "raw"),
    [
        (b'{"id": 1, "text"', '{"id": 1, "text"\n'),
        (b"[1]\r", "[1]\r\n"),
        (b'{"text": "\xff"}', '{"text": "\udcff"}\n'),
        ('{"id":"", "text": "Grüße"}'.encode(), '{"id": "", "text": "Gr\\u00fc\\u00dfe"}'),
        (b'{"text": "x", "a": NaN}', '{"text": "x", "a": NaN}'),
        (b'{"text": " ", "a": ' + b"[" * 400 + b"]" * 400 + b"}", '{"text": " ", "a": ' + "[" * 400 + "]" * 400 + "}"),
    ],
)
def test_a_bad_line_is_kept_for_the_dead_letters(tmp_path: Path, line: bytes, raw: str) -> None:
    (bad,) = items(tmp_path / "a.jsonl", line + b"\n")
    assert isinstance(bad, Malformed)
    assert (bad.raw, bad.gap) == (raw, False)
    assert "Gr" not in repr(bad), "neither logged nor shown"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl.zst", b'{"id": 1}\n', "is named .zst and is not zstd"),
        ("a.jsonl.zst", b"\x28\xb5\x2f\xfd", "cannot be read: Compressed file ended"),
        ("a.jsonl.gz", b'{"id": 1}\n', "is named .gz and is not gzip"),
        ("a.jsonl.gz", b"", "is empty, not even packed"),
        ("a.jsonl.gz", b"\x1f\x8b\x08", "cannot be read: Compressed file ended"),
        ("a.jsonl.gz", b"\x1f\x8b\x07" + bytes(20), "cannot be read: Unknown compression method"),
        ("a.jsonl", '{"id": 1}\n'.encode("utf-16"), "is UTF-16; convert it"),
    ],
)
def test_a_source_that_cannot_be_read_at_all(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ReadError, match=message):
        items(tmp_path / name, content)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="is a folder; name its files, or a pattern"):
        list(read([str(tmp_path)], "jsonl"))


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_standard_input(monkeypatch: pytest.MonkeyPatch, pack) -> None:  # type: ignore[no-untyped-def]
    stdin = io.TextIOWrapper(io.BytesIO(pack(b'{"id": 1, "text": "x"}\nnonsense\n')))
    monkeypatch.setattr(sys, "stdin", stdin)
    record, bad = read(["-"], "jsonl")
    assert (record.position, bad.position) == ("<stdin>:1", "<stdin>:2")
    assert not stdin.buffer.closed


def test_a_metadata_field_that_no_row_has_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        items(tmp_path / "a.jsonl", b'{"text": "x", "year": 1}\n', FieldMapping(meta=("year", "yaer")))
    assert caplog.messages == [f"{tmp_path / 'a.jsonl'}: no row has the metadata field yaer"]


def test_memory_stays_flat_over_a_long_file(tmp_path: Path, traced) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.writelines(b'{"id": %d, "text": "%s", "year": 2019}\n' % (n, b"word " * 400) for n in range(20_000))
    count, peak = traced(lambda: read([str(path)], "jsonl"))
    assert count == 20_000
    assert peak < 2**20 < path.stat().st_size / 30
