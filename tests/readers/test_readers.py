"""The front door: read, detect, formats."""

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from es_ingest.data import medquad_sample
from es_ingest.readers import FORMATS, FieldMapping, detect, formats, read, register, rows
from es_ingest.records import ReadError, Record


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"id": "{name}", "text": "text of {name}"}}\n')
    return tmp_path


def test_formats_are_listed_with_what_a_help_page_needs() -> None:
    specific = ["beir", "clinicaltrials", "fhir", "mimic", "mimic-notes", "pubmed", "pubmedqa"]
    assert [reader.name for reader in formats()] == [*specific, "csv", "text", "jsonl", "medquad", "parquet"]
    assert [reader.name for reader in formats() if not reader.generic] == specific, "asked first, whatever their files"
    assert all(reader.description and reader.source for reader in formats())


def test_a_format_name_can_be_taken_once() -> None:
    with pytest.raises(ValueError, match="'jsonl' is registered already"):
        register(FORMATS["jsonl"])


def test_sources_are_chained_in_the_order_given(corpus: Path) -> None:
    items = read([str(corpus / "b.jsonl"), str(corpus / "a.jsonl")], "jsonl")
    assert [item.id for item in items if isinstance(item, Record)] == ["b", "a"]


def test_a_pattern_gives_its_matches_sorted(corpus: Path) -> None:
    items = read([str(corpus / "*.jsonl")], "jsonl")
    assert [item.id for item in items if isinstance(item, Record)] == ["a", "b"]


def test_a_file_with_brackets_in_its_name_is_no_pattern(corpus: Path) -> None:
    (corpus / "[b].jsonl").write_text('{"id": "literal", "text": "x"}\n')
    items = read([str(corpus / "[b].jsonl")], "jsonl")
    assert [item.id for item in items if isinstance(item, Record)] == ["literal"]


@pytest.mark.parametrize(
    ("sources", "format_name", "fields", "message"),
    [
        (["missing.jsonl"], "jsonl", None, "missing.jsonl: does not exist"),
        (["missing-*.jsonl"], "jsonl", None, "this pattern matches no file"),
        (["nul\0byte"], "jsonl", None, "does not exist"),
        ([], "jsonl", None, "no source given"),
        (["-", "-"], "jsonl", None, "can be read once only"),
        (["-"], "word", None, "unknown format 'word'; the formats are beir, clinicaltrials, fhir, mimic, "),
        (["-"], "medquad", None, "<stdin>: format medquad cannot be read from standard input"),
        (["-"], "beir", FieldMapping(id="x"), "a field mapping is for csv, jsonl, parquet"),
    ],
)
def test_mistakes_are_told_before_the_first_record(
    sources: list[str], format_name: str, fields: FieldMapping | None, message: str
) -> None:
    with pytest.raises(ReadError, match=message.replace("*", r"\*")):
        read(sources, format_name, fields)
    with pytest.raises(ReadError, match=message.replace("*", r"\*")):
        rows(sources, format_name, fields)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("notes.jsonl", "jsonl"),
        ("notes.ndjson.gz", "jsonl"),
        ("notes.jsonl.zst", "jsonl"),
        ("corpus.jsonl", "beir"),
        ("corpus.jsonl.gz", "beir"),
        ("corpus.jsonl.zst", "beir"),
        ("DocumentReference.ndjson", "fhir"),
        ("1.DiagnosticReport.ndjson.gz", "fhir"),
        ("NCT01234567.json", "clinicaltrials"),
        ("ctg-studies.json.zip", "clinicaltrials"),
        ("ctg-studies.jsonl", "clinicaltrials"),
        ("A.CSV", "csv"),
        ("a.csv.zst", "csv"),
        ("a.tsv.gz", "csv"),
        ("discharge.csv.gz", "mimic"),
        ("radiology.csv", "mimic"),
        ("discharge_detail.csv", "csv"),
        ("a.parquet", "parquet"),
        ("a.txt", "text"),
        ("a.md.gz", "text"),
        ("a.xml", "medquad"),
        ("pubmed26n0001.xml.gz", "pubmed"),
        ("pubmed.xml", "pubmed"),
        ("a.tar.gz", "medquad"),
        ("a.tgz", "medquad"),
        ("a.tar.xz", "medquad"),
        ("a.zip", "medquad"),
    ],
)
def test_detect_by_name(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).touch()
    assert detect([str(tmp_path / name)]) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["corpus.jsonl.gz", "README.md"], "beir"),
        (["deep/1.xml", "readme.txt"], "medquad"),
        (["deep/NCT01234567.json", "readme.txt"], "clinicaltrials"),
        (["Patient.ndjson", "DocumentReference.ndjson"], "fhir"),
        (["deep/a.txt", "b.md"], "text"),
    ],
)
def test_detect_by_what_a_folder_holds(tmp_path: Path, files: list[str], expected: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert detect([str(tmp_path)]) == expected


def test_detect_lists_the_formats_when_it_cannot_tell(tmp_path: Path) -> None:
    (tmp_path / "notes.doc").touch()
    for source in (str(tmp_path / "notes.doc"), str(tmp_path), "-"):
        with pytest.raises(ReadError, match=r"cannot tell its format.*beir: .*csv: .*jsonl: .*medquad: "):
            detect([source])


def test_detect_refuses_a_mixture(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv"):
        (tmp_path / name).touch()
    with pytest.raises(ReadError, match=r"several formats \(.*a.csv is csv, .*a.jsonl is jsonl\)"):
        detect([str(tmp_path / "a.*")])


def test_importing_the_readers_is_cheap() -> None:
    heavy = ["pandas", "pyarrow", "numpy", "torch", "haystack", "elasticsearch", "pydantic"]
    heavy += ["tarfile", "zipfile", "xml.etree"]
    code = f"import es_ingest.readers, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("name", "content", "format_name"),
    [
        ("a.jsonl", b'\n{"id": 1, "text": "x"}\n \nno JSON\n{"id": 2}\n', "jsonl"),
        ("corpus.jsonl", b'{"_id": 1, "text": "x"}\n\nno JSON\n', "beir"),
        ("a.csv", b'id,text\n1,"x\ny"\n\n2\n3,"un"quoted\n4,z\n5,"open\n', "csv"),
        ("a.txt", b"some text", "text"),
    ],
)
def test_as_many_rows_are_counted_as_read(tmp_path: Path, name: str, content: bytes, format_name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    sources = [str(path), str(path)]
    assert sum(1 for _ in rows(sources, format_name)) == sum(1 for _ in read(sources, format_name)) > 1


def test_the_sample_is_read_quickly_enough_for_a_demo() -> None:
    start = time.perf_counter()
    assert sum(isinstance(item, Record) for item in read([str(medquad_sample())], "medquad")) == 2839
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        (
            "articles.xml",
            b'<?xml version="1.0"?>\n<!DOCTYPE PubmedArticleSet SYSTEM "x">\n<PubmedArticleSet>',
            "pubmed",
        ),
        ("a.xml", b"<!-- <Document> -->\n<PubmedBookArticleSet >", "pubmed"),
        ("efetch.fcgi", b"\xef\xbb\xbf<PubmedArticleSet>", "pubmed"),
        ("a.xml", b"<!-- <PubmedArticleSet> -->\n<Document>", "medquad"),
        ("a.xml", '<?xml version="1.0"?><PubmedArticleSet>'.encode("utf-16"), "medquad"),
        ("notes.ndjson", b'\n {"id": "7", "resourceType": "DocumentReference"}\n', "fhir"),
        ("notes.jsonl", b'{"content": "' + b"x" * 70_000, "jsonl"),
        ("notes.jsonl", b'{"resourceType": "DocumentReference", "data": "' + b"x" * 70_000, "fhir"),
        ("notes.jsonl", b'{"text": "\\"resourceType\\": \\"DocumentReference\\"' + b"x" * 70_000, "jsonl"),
        ("notes.jsonl", b'{"text": "x", "of": {"resourceType": "Patient"}}\n', "jsonl"),
        ("notes.jsonl", b'{"text": "x"}\n{"resourceType": "Patient"}\n', "jsonl"),
        ("pubmed.xml", b"<Document>", "pubmed"),
        ("DocumentReference.ndjson", b'{"text": "x"}', "fhir"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_detect_by_how_a_file_begins_where_its_name_leaves_it_open(
    tmp_path: Path,
    name: str,
    start: bytes,
    expected: str,
    pack: Callable[[bytes], bytes],
) -> None:
    (tmp_path / name).write_bytes(pack(start))
    assert detect([str(tmp_path / name)]) == expected


def test_detect_takes_nothing_from_a_pipe_and_leaves_a_mapping_its_format(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "notes.ndjson")
    assert detect([str(tmp_path / "notes.ndjson")]) == "jsonl"
    (tmp_path / "rows.ndjson").write_text('{"resourceType": "DocumentReference", "note": "x"}\n')
    assert detect([str(tmp_path / "rows.ndjson")]) == "fhir"
    assert detect([str(tmp_path / "rows.ndjson")], FieldMapping(text="note")) == "jsonl"  # type: ignore[arg-type]
