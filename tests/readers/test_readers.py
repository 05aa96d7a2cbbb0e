"""The front door: read, detect, formats."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from es_ingest.data import medquad_sample
from es_ingest.readers import FORMATS, FieldMapping, detect, formats, read, register
from es_ingest.records import ReadError, Record


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name in ("b", "a"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"id": "{name}", "text": "text of {name}"}}\n')
    return tmp_path


def test_formats_are_listed_with_what_a_help_page_needs() -> None:
    assert [reader.name for reader in formats()] == ["medquad", "beir", "jsonl", "csv", "parquet"]
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
        (["-"], "word", None, "unknown format 'word'; the formats are medquad, beir, jsonl, csv, parquet"),
        (["-"], "medquad", None, "<stdin>: format medquad cannot be read from standard input"),
        (["-"], "beir", FieldMapping(id="x"), "a field mapping is for jsonl, csv, parquet"),
    ],
)
def test_mistakes_are_told_before_the_first_record(
    sources: list[str], format_name: str, fields: FieldMapping | None, message: str
) -> None:
    with pytest.raises(ReadError, match=message.replace("*", r"\*")):
        read(sources, format_name, fields)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("notes.jsonl", "jsonl"),
        ("notes.ndjson.gz", "jsonl"),
        ("corpus.jsonl", "beir"),
        ("corpus.jsonl.gz", "beir"),
        ("A.CSV", "csv"),
        ("a.tsv.gz", "csv"),
        ("a.parquet", "parquet"),
        ("a.xml", "medquad"),
        ("a.tar.gz", "medquad"),
        ("a.tgz", "medquad"),
        ("a.tar.xz", "medquad"),
        ("a.zip", "medquad"),
    ],
)
def test_detect_by_name(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).touch()
    assert detect([str(tmp_path / name)]) == expected


def test_detect_by_what_a_folder_holds(tmp_path: Path) -> None:
    (tmp_path / "beir").mkdir()
    (tmp_path / "beir" / "corpus.jsonl.gz").touch()
    (tmp_path / "medquad" / "deep").mkdir(parents=True)
    (tmp_path / "medquad" / "deep" / "1.xml").touch()
    assert detect([str(tmp_path / "beir")]) == "beir"
    assert detect([str(tmp_path / "medquad")]) == "medquad"


def test_detect_lists_the_formats_when_it_cannot_tell(tmp_path: Path) -> None:
    (tmp_path / "notes.doc").touch()
    for source in (str(tmp_path / "notes.doc"), str(tmp_path), "-"):
        with pytest.raises(ReadError, match=r"cannot tell its format.*medquad: .*beir: .*jsonl: .*csv: .*parquet: "):
            detect([source])


def test_detect_refuses_a_mixture(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv"):
        (tmp_path / name).touch()
    with pytest.raises(ReadError, match=r"several formats \(.*a.csv is csv, .*a.jsonl is jsonl\)"):
        detect([str(tmp_path / "a.*")])


def test_importing_the_readers_is_cheap() -> None:
    heavy = ["pandas", "pyarrow", "numpy", "torch", "haystack", "elasticsearch", "pydantic", "tarfile", "xml.etree"]
    code = f"import es_ingest.readers, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_the_sample_is_read_quickly_enough_for_a_demo() -> None:
    start = time.perf_counter()
    assert sum(isinstance(item, Record) for item in read([str(medquad_sample())], "medquad")) == 2839
    assert time.perf_counter() - start < 5
