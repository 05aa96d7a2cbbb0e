"""Rows of dead letters, mended there: they give what a run over the source gives where it is mended in the same way."""

import datetime
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from es_ingest.readers import FORMATS, FieldMapping, read
from es_ingest.readers.values import RowError
from es_ingest.records import Malformed, Record
from es_ingest.stream.content import content_hash

NOTE = {
    "note_id": "10000001-DS-3",
    "subject_id": "10000001",
    "hadm_id": "abc",
    "note_type": "DS",
    "note_seq": "3",
    "charttime": "2180-05-06 00:00:00",
    "storetime": "",
    "text": "Made up.\n \nChief Complaint:\nwheeze\n\nAllergies:\n___\n\nDischarge Diagnosis:\n\u201cAsthma\u201d\n",
}
DOCUMENT = {
    "resourceType": "DocumentReference",
    "id": "d1",
    "status": "current",
    "type": {"text": "Progress note"},
    "content": [{"attachment": {"contentType": "text/pdf", "data": "QXN0aG1hIG5vdGU="}}],
}
STUDY = {
    "protocolSection": {
        "identificationModule": {"nctId": "NCT01", "briefTitle": "A trial"},
        "descriptionModule": {"briefSummary": "It compares \u2265 1."},
    },
    "hasResults": False,
}
QUESTION = {"QUESTION": "Does it?", "CONTEXTS": "one", "MESHES": ["Asthma"], "YEAR": "2011", "final_decision": "yes"}
ARTICLE = (
    "<PubmedArticle><MedlineCitation><PMID Version='1'>abc</PMID><Article><ArticleTitle>T <i>x</i></ArticleTitle>"
    "<Abstract><AbstractText Label='AIM'>A &lt; 10<sup>6</sup> \u00e9</AbstractText></Abstract></Article>"
    "</MedlineCitation></PubmedArticle>"
)
NAMED = FieldMapping(id="nid", text=("a", "b"), title="head", meta=("kind", "none"), vector="v")


def lines(*rows: Any) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def table(row: dict[str, str], **more: str) -> str:
    cells = row | more
    return "\r\n".join([",".join(cells), ",".join('"' + cell.replace('"', '""') + '"' for cell in cells.values())])


@dataclass(frozen=True)
class Case:
    """A file of which the last row is no record.

    :param bad: What of it is wrong, and what mends it, in the file and in the dead letter.
    """

    format: str
    file: str
    content: str
    bad: str
    good: str
    fields: FieldMapping | None = None


CASES = {
    "jsonl": Case("jsonl", "a.jsonl", lines({"text": "", "kind": "x", "n": None}), '""', '"good"'),
    "jsonl, no JSON": Case("jsonl", "a.jsonl", '{"id": 7, "text": "good \u2028 x"', ' x"', ' x"}'),
    "jsonl, a mapping": Case(
        "jsonl",
        "a.jsonl",
        lines({"nid": 12.0, "head": "H", "a": 5, "b": "y", "kind": ["k"], "v": [1, 0], "z": 1}),
        '"a": 5',
        '"a": "x"',
        NAMED,
    ),
    "csv": Case("csv", "a.csv", table({"id": " ", "title": "T", "text": "a\nb", "year": "", "n": "x"}), '" "', '"7"'),
    "csv, without ids": Case("csv", "a.csv", table({"text": " ", "year": "", "n": "x"}), '" "', '"good"'),
    "csv, a mapping": Case(
        "csv", "a.tsv", "nid\thead\ta\tb\tkind\tnone\tv\r\n1\tH\tx\ty\t\t\t[1, BAD]\r\n", "BAD", "0", NAMED
    ),
    "beir": Case(
        "beir",
        "corpus.jsonl",
        lines(
            {"_id": "", "title": "T", "text": "x", "url": "of the row", "metadata": {"url": "u", "n": 1, "no": None}}
        ),
        '"_id": ""',
        '"_id": "d"',
    ),
    "beir, a title alone": Case("beir", "corpus.jsonl", lines({"_id": "d", "title": " ", "text": ""}), '" "', '"T"'),
    "mimic": Case("mimic", "discharge.csv", table(NOTE), "abc", "20000001"),
    "mimic, nothing in it": Case("mimic", "discharge.csv", table(NOTE, hadm_id="", text="___"), "___", "wheeze"),
    "mimic-notes": Case("mimic-notes", "discharge.csv", table(NOTE), "abc", "20000001.0"),
    "fhir": Case("fhir", "a.ndjson", lines(DOCUMENT), "text/pdf", "text/plain"),
    "fhir, an entry": Case(
        "fhir",
        "a.ndjson",
        lines({"resourceType": "Bundle", "entry": [{"resource": DOCUMENT}]}),
        "text/pdf",
        "text/plain",
    ),
    "fhir, a bundle": Case(
        "fhir",
        "a.ndjson",
        lines({"resourceType": "Bundle", "entry": "BAD"}),
        '"BAD"',
        json.dumps([{"resource": DOCUMENT}, {"resource": {**DOCUMENT, "id": "d2"}}]).replace("/pdf", "/plain"),
    ),
    "clinicaltrials": Case("clinicaltrials", "a.json", json.dumps(STUDY), "NCT01", "NCT01234567"),
    "clinicaltrials, a page": Case(
        "clinicaltrials", "a.json", json.dumps({"studies": [STUDY]}), "NCT01", "NCT01234567"
    ),
    "clinicaltrials, a line": Case(
        "clinicaltrials", "a.jsonl", lines(json.dumps(STUDY).replace("NCT01", "NCT01234567")[:-1]), "false", "true}"
    ),
    "pubmedqa": Case("pubmedqa", "ori_pqal.json", json.dumps({"21645374": QUESTION}), '"one"', '["one"]'),
    "pubmed": Case("pubmed", "pubmed1.xml", f"<PubmedArticleSet>{ARTICLE}</PubmedArticleSet>", "abc", "123"),
}


def again(letter: Malformed, raw: str, case: Case) -> list[Record | Malformed]:
    read_again = FORMATS[case.format].again
    assert read_again is not None
    return list(read_again(raw, letter.position, case.fields))


def seen(items: list[Record | Malformed]) -> list[tuple[Any, ...]]:
    """Everything of some records, and what a run goes by."""
    found = [item for item in items if isinstance(item, Record)]
    assert len(found) == len(items) > 0
    return [(one.id, one.title, one.text, one.meta, one.position, content_hash(one)) for one in found]


@pytest.mark.parametrize("name", CASES)
def test_what_is_mended_equals_a_run_over_the_mended_source(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    assert case.content.count(case.bad) == 1
    path = tmp_path / case.file
    path.write_text(case.content, "utf-8", newline="")
    (letter,) = read([str(path)], case.format, case.fields)
    assert isinstance(letter, Malformed)
    assert letter.raw is not None
    assert letter.raw.count(case.bad) == 1
    try:
        (unmended,) = again(letter, letter.raw, case)
    except RowError as error:
        unmended = Malformed(letter.position, str(error))
    assert unmended == letter, "as it is, it stays what it was"
    path.write_text(case.content.replace(case.bad, case.good), "utf-8", newline="")
    assert seen(again(letter, letter.raw.replace(case.bad, case.good), case)) == seen(
        list(read([str(path)], case.format, case.fields))
    )


@pytest.mark.parametrize(
    "value",
    [
        *(datetime.datetime(2020, 1, 2, 3, 4, 5, 6), datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)),
        *(datetime.date(2020, 1, 2), datetime.time(3, 4), datetime.timedelta(days=1, microseconds=5)),
        *(Decimal("1.50"), float("nan"), {"$date": "2020", "b": [1, None]}, {"k": Decimal(2)}, None),
    ],
    ids=str,
)
def test_values_of_parquet_that_json_has_no_type_for(tmp_path: Path, value: Any) -> None:
    def write(text: str) -> list[Record | Malformed]:
        columns = {
            "id": [Decimal(12345678901234567890)],
            "text": [text],
            "meta": [value],
            "v": pa.array([[0.1, 1]], pa.list_(pa.float32())),
        }
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        return list(read([str(tmp_path / "a.parquet")], "parquet", fields))

    fields = FieldMapping(vector="v")
    case = Case("parquet", "a.parquet", "", "", "", fields)
    (letter,) = write("")
    assert isinstance(letter, Malformed)
    raw = json.loads(letter.raw or "")
    assert again(letter, letter.raw or "", case) == [letter]
    assert seen(again(letter, json.dumps(raw | {"text": "good"}), case)) == seen(write("good"))


@pytest.mark.parametrize("kind", [pa.binary(), pa.date32(), pa.timestamp("us"), pa.decimal128(5, 1)], ids=str)
@pytest.mark.parametrize("name", ["text", "title"])
def test_a_column_of_parquet_that_is_no_text_does_not_become_text(tmp_path: Path, name: str, kind: Any) -> None:
    values = {
        "binary": b"bytes",
        "date32[day]": datetime.date(2020, 1, 1),
        "timestamp[us]": datetime.datetime(2020, 1, 1),
    }
    value = pa.array([values.get(str(kind), Decimal("1.5"))], kind)
    pq.write_table(pa.table({"id": [1], "text": ["x"]} | {name: value}), tmp_path / "a.parquet")
    (letter,) = read([str(tmp_path / "a.parquet")], "parquet")
    assert isinstance(letter, Malformed)
    assert again(letter, letter.raw or "", Case("parquet", "", "", "", "")) == [letter]


@pytest.mark.parametrize(
    ("format", "raw", "why"),
    [
        ("csv", '["7", "x"]', "is a list; make it an object of all column names and their cells, or mend the source"),
        ("csv", '7,"x', "not JSON: Extra data at line 1, column 2; make it an object of all column names and their"),
        ("csv", '{"id": 7, "text": "x"}', "cell 'id' is a number, not a string"),
        ("csv", '{"id": "7", "text": "x\\u0000"}', "cell 'text' holds a NUL character"),
        ("mimic", '{"note_id": "7", "text": "x"}', "has no field 'subject_id', 'hadm_id', 'note_type', 'note_seq'"),
        ("mimic-notes", "[]", "is a list; make it an object"),
        ("jsonl", "[]", "not a JSON object"),
        ("jsonl", '{"text": "\udcff"}', "not UTF-8 at byte 11 of the line"),
        ("jsonl", '{"text": "\ud800"}', "holds a lone surrogate"),
        ("parquet", "[]", "is a list, not an object of columns and values"),
        ("parquet", '{"text": {"$datetime": "noon"}}', r"holds a \$datetime that is none"),
        (
            "parquet",
            '{"text": {"$decimal": "x"}}',
            r"holds a \$decimal that is none",
        ),
        ("fhir", "{}", "resourceType is not the name of a FHIR resource"),
        ("pubmedqa", json.dumps(QUESTION), "not an object of one question by its PMID, as in the file"),
        ("pubmed", "", "holds no <PubmedArticle>"),
        ("pubmed", "<PubmedArticle>", "not well-formed XML"),
        ("pubmed", '<!DOCTYPE a [<!ENTITY e "x">]><PubmedArticle/>', "not well-formed XML"),
        ("pubmed", "<PubmedArticle>&e;</PubmedArticle>", "not well-formed XML .*undefined entity"),
    ],
)
def test_what_is_no_row_is_told(format: str, raw: str, why: str) -> None:  # noqa: A002
    with pytest.raises(RowError, match=why):
        again(Malformed("here#1", "bad"), raw, Case(format, "", "", "", ""))


def test_a_resource_that_is_mended_to_be_left_out() -> None:
    case = Case("fhir", "", "", "", "")
    assert again(Malformed("here", "bad"), json.dumps(DOCUMENT | {"status": "entered-in-error"}), case) == []


def test_which_formats_can_be_mended_in_the_letter() -> None:
    assert {name for name, reader in FORMATS.items() if reader.again is None} == {"medquad", "text"}
