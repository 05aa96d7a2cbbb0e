"""All resources here are made up; their layout is FHIR R4's."""

import base64
import copy
import gzip
import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from es_ingest.readers.attachment import flatten
from es_ingest.readers.fhir import READER, read
from es_ingest.readers.streams import zstd
from es_ingest.records import Malformed, ReadError, Record

LOINC = "http://loinc.org"
NOTE = "Chest pain,\r\nà gauche. "


def encoded(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def attached(text: str | bytes = NOTE, content_type: str = "text/plain", **more: Any) -> dict[str, Any]:
    return {"contentType": content_type, "data": encoded(text)} | more


def document(*attachments: dict[str, Any], **fields: Any) -> dict[str, Any]:
    content = [{"attachment": attachment} for attachment in attachments or [attached()]]
    return {"resourceType": "DocumentReference", "id": "d1", "status": "current", "content": content} | fields


def report(**fields: Any) -> dict[str, Any]:
    return {"resourceType": "DiagnosticReport", "id": "r1", "status": "final"} | fields


FULL_DOCUMENT = document(
    attached(content_type="text/plain; charset=utf-8", language="fr", title="Attachment title"),
    docStatus="final",
    language="en",
    type={
        "coding": [
            {"system": LOINC, "code": "11506-3", "display": "Progress note"},
            {"code": "PN"},
            {"system": "urn:local", "display": "No code"},
        ]
    },
    category=[
        {"coding": [{"system": "urn:category", "code": "clinical-note", "display": "Clinical Note"}]},
        {"text": "Cardiology", "coding": [{"display": "not this"}]},
        {"coding": [{"code": "only-code"}]},
        {},
    ],
    subject={"reference": "Patient/123", "display": "never the name"},
    date="2180-05-06T14:30:00Z",
    author=[
        {"reference": "Practitioner/9", "display": "A. Physician"},
        {"reference": "Organization/4"},
        {"type": "Device"},
    ],
    description="Cardiology progress note",
    context={"encounter": [{"display": "no reference"}, {"reference": "Encounter/55"}], "period": {"start": "2180"}},
    contained=[{"resourceType": "Patient"}],
    text={"status": "generated", "div": "<div>generated narrative</div>"},
)
FULL_REPORT = report(
    code={"text": "Chest X-ray", "coding": [{"system": LOINC, "code": "36643-5", "display": "XR Chest 2 Views"}]},
    category=[{"coding": [{"system": "urn:category", "code": "RAD", "display": "Radiology"}]}],
    subject={"reference": "Patient/123"},
    encounter={"reference": "Encounter/55"},
    effectiveDateTime="2180-06-01",
    issued="2180-06-02T08:00:00.000+02:00",
    performer=[{"display": "Radiology department"}],
    conclusion="No pneumonia.",
    conclusionCode=[{"text": "not used beside a conclusion"}],
    presentedForm=[
        attached(b"%PDF", "application/pdf"),
        attached("<p>Clear <b>lungs</b>.</p>", "Text/HTML", language="en"),
        attached("the same again"),
    ],
)


def write(path: Path, *resources: dict[str, Any] | str | bytes) -> str:
    rows = [row if isinstance(row, (str, bytes)) else json.dumps(row) for row in resources]
    path.write_bytes(b"\n".join(row.encode() if isinstance(row, str) else row for row in rows))
    return str(path)


def one(tmp_path: Path, resource: dict[str, Any]) -> Record | Malformed:
    (item,) = read(write(tmp_path / "one.ndjson", resource))
    return item


def test_a_document_reference_becomes_a_record(tmp_path: Path) -> None:
    assert one(tmp_path, FULL_DOCUMENT) == Record(
        "DocumentReference/d1",
        "Cardiology progress note",
        NOTE,
        {
            "resource_type": "DocumentReference",
            "subject": "Patient/123",
            "status": "current",
            "category": ["Clinical Note", "Cardiology", "only-code"],
            "language": "fr",
            "encounter": "Encounter/55",
            "date": "2180-05-06T14:30:00Z",
            "type": "Progress note",
            "type_codes": [f"{LOINC}|11506-3", "|PN"],
            "doc_status": "final",
            "author": ["A. Physician", "Organization/4"],
            "content_type": "text/plain",
        },
        f"{tmp_path}/one.ndjson:1",
    )


def test_a_diagnostic_report_becomes_a_record(tmp_path: Path) -> None:
    assert one(tmp_path, FULL_REPORT) == Record(
        "DiagnosticReport/r1",
        "Chest X-ray",
        "No pneumonia.\n\nClear lungs.",
        {
            "resource_type": "DiagnosticReport",
            "subject": "Patient/123",
            "status": "final",
            "category": ["Radiology"],
            "language": "en",
            "encounter": "Encounter/55",
            "date": "2180-06-01",
            "type": "Chest X-ray",
            "type_codes": [f"{LOINC}|36643-5"],
            "author": ["Radiology department"],
            "content_type": "text/html",
        },
        f"{tmp_path}/one.ndjson:1",
    )


def test_the_least_that_a_record_needs(tmp_path: Path) -> None:
    meta = {"resource_type": "DocumentReference", "status": "current", "content_type": "text/plain"}
    assert one(tmp_path, document(type=None, author=[])) == Record(
        "DocumentReference/d1", "", NOTE, meta, f"{tmp_path}/one.ndjson:1"
    )


@pytest.mark.parametrize(
    ("fields", "title"),
    [
        ({"description": "D", "type": {"text": "T"}}, "D"),
        ({"type": {"text": "T", "coding": [{"display": "C"}]}}, "T"),
        ({"type": {"coding": [{"code": "1"}, {"display": "C"}]}}, "C"),
        ({"type": {"coding": [{"code": "1"}]}}, ""),
    ],
)
def test_the_title_of_a_document(tmp_path: Path, fields: dict[str, Any], title: str) -> None:
    record = one(tmp_path, document(**fields))
    assert isinstance(record, Record)
    assert record.title == title


@pytest.mark.parametrize(
    ("fields", "date"),
    [
        ({"effectivePeriod": {"start": "2180-05", "end": "2180-06"}, "issued": "2180-07-01"}, "2180-05"),
        ({"effectivePeriod": {"end": "2180-06"}, "issued": "2180-07-01"}, "2180-07-01"),
        ({}, None),
    ],
)
def test_the_date_of_a_report(tmp_path: Path, fields: dict[str, Any], date: str | None) -> None:
    record = one(tmp_path, report(conclusion="x", **fields))
    assert isinstance(record, Record)
    assert record.meta.get("date") == date


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"conclusion": " Exactly. "}, " Exactly. "),
        ({"conclusionCode": [{"text": "Asthma"}, {"coding": [{"display": "Cough"}]}, {}]}, "Asthma; Cough"),
        ({"conclusion": " ", "conclusionCode": [{"text": "Asthma"}], "presentedForm": [attached("x")]}, "Asthma\n\nx"),
        ({"presentedForm": [attached(" "), attached(" x ")]}, " x "),
        ({"text": {"status": "generated", "div": "<div><p>One</p><p>two</p></div>"}}, "One\ntwo"),
        ({"presentedForm": [attached("")], "text": {"div": "<div>narrative</div>"}}, "narrative"),
        ({"conclusion": "lone \ud800"}, "lone \ufffd"),
    ],
)
def test_the_text_of_a_report(tmp_path: Path, fields: dict[str, Any], text: str) -> None:
    record = one(tmp_path, report(**fields))
    assert isinstance(record, Record)
    assert record.text == text


@pytest.mark.parametrize(
    ("attachment", "text"),
    [
        (attached("Ménière".encode("latin-1"), "text/plain;charset=ISO-8859-1"), "Ménière"),
        (attached("Ménière".encode("utf-16"), 'text/plain; format=flowed; charset="utf-16"'), "Ménière"),
        (attached(b"\xef\xbb\xbf x", " TEXT/PLAIN "), " x"),
        (attached("<b>not HTML</b>"), "<b>not HTML</b>"),
        ({"contentType": "text/plain", "data": "IH\r\n gg\n", "url": "Binary/7"}, " x "),
        (attached('<meta charset="windows-1252"><p>\x80 5</p>'.encode("latin-1"), "text/html"), "€ 5"),
        (
            attached("<?xml version='1.0' encoding='iso-8859-1'?><p>é</p>".encode("latin-1"), "application/xhtml+xml"),
            "é",
        ),
        (attached("<meta charset='latin-1'>é", "text/html; charset=utf-8"), "é"),
    ],
)
def test_attachments_that_can_be_read(tmp_path: Path, attachment: dict[str, Any], text: str) -> None:
    record = one(tmp_path, document(attachment))
    assert isinstance(record, Record)
    assert record.text == text


URL_ALONE = "is a URL alone; export with attachments inline"
UNREADABLE = [
    (attached(b"%PDF", "application/pdf"), "attachment of type application/pdf cannot be read as text"),
    (attached("{\\rtf1}", "text/rtf; charset=utf-8"), "attachment of type text/rtf cannot be read as text"),
    ({"contentType": "text/plain", "url": "https://example.org/Confidential"}, f"of type text/plain {URL_ALONE}"),
    ({"url": "Binary/7"}, f"of type unknown {URL_ALONE}"),
    ({"contentType": "Confidential note", "data": "eA=="}, "attachment without a contentType that says what its data"),
    ({"data": "eA=="}, "attachment without a contentType that says what its data are"),
    ({"contentType": "text/plain", "data": "Confidential!"}, "attachment of type text/plain is not base64"),
    ({"contentType": "text/plain", "data": "eA="}, "attachment of type text/plain is not base64"),
    ({"contentType": "text/plain", "data": "é==="}, "attachment of type text/plain is not base64"),
    (attached(b"Confidential \xff"), "attachment of type text/plain is not text in its charset, utf-8"),
    (attached("x", "text/plain; charset=klingon"), "attachment of type text/plain is in an unknown charset"),
    (attached("x", "text/plain; charset=hex"), "attachment of type text/plain is in an unknown charset"),
    (attached("<p>Confidential <![x[a]]></p>", "text/html"), "HTML that cannot be parsed"),
]


@pytest.mark.parametrize(("attachment", "reason"), UNREADABLE)
def test_attachments_that_cannot_be_read(tmp_path: Path, attachment: dict[str, Any], reason: str) -> None:
    narrative = {"status": "generated", "div": "<div>generated, not the document</div>"}
    for resource in (document(attachment, text=narrative), report(presentedForm=[attachment], text=narrative)):
        bad = one(tmp_path, resource)
        assert isinstance(bad, Malformed)
        assert reason in bad.reason
        assert "Confidential" not in bad.reason
    good = one(tmp_path, document(attachment, attached("readable"), attached("third")))
    assert isinstance(good, Record)
    assert good.text == "readable"


def test_a_report_with_a_conclusion_goes_without_forms_that_cannot_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = one(tmp_path, report(conclusion="x", presentedForm=[attached(b"%PDF", "application/pdf")]))
    assert isinstance(record, Record)
    assert record.text == "x"
    assert "content_type" not in record.meta
    assert caplog.messages == [
        f"{tmp_path}/one.ndjson: 1 reports are without their forms, which cannot be read as text"
    ]


@pytest.mark.parametrize(
    "resource",
    [
        document({}),
        document({"contentType": "text/plain"}),
        document(attached(" \n")),
        document(content=[]),
        document(content=None),
        document({}, text={"status": "empty", "div": "<div>nothing of note</div>"}),
        document({}, text={"status": "generated", "div": "<div> <br/></div>"}),
        report(),
        report(conclusion=" ", conclusionCode=[{"coding": [{"code": "1"}]}]),
    ],
)
def test_documents_without_text(tmp_path: Path, resource: dict[str, Any]) -> None:
    assert one(tmp_path, resource) == Malformed(f"{tmp_path}/one.ndjson:1", "empty text")


def paths(value: Any, path: str = "") -> list[tuple[str, list[str | int]]]:
    """List every place in a resource: how it is named in messages, and its keys."""
    inner: list[tuple[str, Any, str | int]] = []
    if isinstance(value, dict):
        inner = [(f"{path}.{key}" if path else key, one, key) for key, one in value.items()]
    if isinstance(value, list):
        inner = [(f"{path}[{number}]", one, number) for number, one in enumerate(value)]
    found = []
    for name, one_value, key in inner:
        found.append((name, [key]))
        found.extend((deeper, [key, *keys]) for deeper, keys in paths(one_value, name))
    return found


NOT_READ = (
    "author[2].type",
    "category[0].coding[0].system",
    "contained",
    "context.encounter[0].display",
    "context.period",
    "resourceType",
    "subject.display",
    ".title",
)


@pytest.mark.parametrize("resource", [FULL_DOCUMENT, FULL_REPORT], ids=lambda resource: resource["resourceType"])
def test_a_field_of_another_type_is_named_by_its_path(tmp_path: Path, resource: dict[str, Any]) -> None:
    checked = 0
    for path, keys in paths(resource):
        if any(name in path for name in NOT_READ):
            continue
        broken = copy.deepcopy(resource)
        place = broken
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = 7
        bad = one(tmp_path, broken)
        assert isinstance(bad, Malformed), path
        assert bad.reason.startswith(f"{path} is not a"), path
        checked += 1
    assert checked > 20


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ({"id": "1", "status": "current"}, "resourceType is not the name of a FHIR resource"),
        ({"resourceType": "Confidential note", "id": "1"}, "resourceType is not the name of a FHIR resource"),
        ({"resourceType": 7}, "resourceType is not a string"),
        (document(id=None), "id is missing"),
        (document(id=" "), "id is missing"),
        (document({}, text={"div": 7}), "text.div is not a string"),
        (report(conclusionCode={}), "conclusionCode is not a list"),
        (report(conclusionCode=[None]), "conclusionCode[0] is not an object"),
    ],
)
def test_a_resource_that_is_none(tmp_path: Path, resource: dict[str, Any], reason: str) -> None:
    assert one(tmp_path, resource) == Malformed(f"{tmp_path}/one.ndjson:1", reason)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id": Confidential}', "not JSON: Expecting value at character 8 of the line"),
        (b"[1]", "not a JSON object: every line must be one, as in {...}"),
        (b'{"id": "Confidential \xff"}', "not UTF-8 at byte 22 of the line"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_and_kept_for_the_dead_letters(tmp_path: Path, line: bytes, reason: str) -> None:
    path = write(tmp_path / "a.ndjson", document(), line, b"\r", document(id="d2"))
    first, bad, last = read(path)
    assert bad == Malformed(f"{path}:2", reason)
    assert isinstance(bad, Malformed)
    assert bad.raw is not None
    assert bad.raw.encode("utf-8", errors="surrogateescape") == line
    assert (first.position, last.position) == (f"{path}:1", f"{path}:4")


def test_a_malformed_resource_keeps_its_line(tmp_path: Path) -> None:
    line = json.dumps(document(id=None), ensure_ascii=False)
    (bad,) = read(write(tmp_path / "a.ndjson", line + "\n"))
    assert isinstance(bad, Malformed)
    assert bad.raw == line


def test_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(
        tmp_path / "a.ndjson",
        {"resourceType": "Patient", "id": 7},
        {"resourceType": "Observation"},
        document(),
        {"resourceType": "Patient"},
        document(status="entered-in-error", content=7),
        document(docStatus="entered-in-error"),
        report(status="entered-in-error"),
        report(text={"div": "<div>x</div>"}),
    )
    with caplog.at_level(logging.INFO):
        assert [item.position for item in read(path)] == [f"{path}:3", f"{path}:8"]
    assert caplog.messages == [
        f"{path}: left out 3 resources that are no documents: 1 Observation, 2 Patient",
        f"{path}: left out 3 resources entered in error",
        f"{path}: took the narrative of 1 resources that have no other text",
    ]


def test_a_bundle_on_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    entries = [
        {"fullUrl": "urn:uuid:1", "resource": document()},
        {"request": {"method": "DELETE", "url": "Patient/1"}},
        {"resource": {"resourceType": "Patient"}},
        {"resource": document(attached("é", "application/pdf"), id="d2")},
        {"resource": 7},
        {"resource": report(conclusion="x")},
        {"resource": {"resourceType": "Bundle", "entry": []}},
    ]
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    path = write(tmp_path / "a.ndjson", bundle, {"resourceType": "Bundle"}, {"resourceType": "Bundle", "entry": [7]})
    with caplog.at_level(logging.INFO):
        first, unreadable, none, last, bad = read(path)
    assert (first.position, last.position) == (f"{path}:1#1", f"{path}:1#6")
    assert [item.id for item in (first, last) if isinstance(item, Record)] == [
        "DocumentReference/d1",
        "DiagnosticReport/r1",
    ]
    assert unreadable == Malformed(f"{path}:1#4", "attachment of type application/pdf cannot be read as text")
    assert isinstance(unreadable, Malformed)
    assert json.loads(unreadable.raw or "") == entries[3]["resource"]
    assert none == Malformed(f"{path}:1#5", "entry[4].resource is not an object")
    assert bad == Malformed(f"{path}:3", "entry[0] is not an object")
    assert caplog.messages == [f"{path}: left out 2 resources that are no documents: 1 Bundle, 1 Patient"]


def test_a_bundle_that_is_nested_too_deeply_to_be_kept(tmp_path: Path) -> None:
    for depth in range(900, 1000, 5):
        deep = "[" * depth + "]" * depth
        path = write(
            tmp_path / "a.ndjson", f'{{"resourceType": "Bundle", "entry": [{{"resource": {{"id": {deep}}}}}]}}'
        )
        assert [type(item) for item in read(path)] == [Malformed], depth


def test_a_folder_is_read_sorted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(json.dumps(document(id="b")).encode()))
    (tmp_path / "bad.ndjson.gz").write_bytes(b"no gzip")
    (tmp_path / "deep" / "a.ndjson.zst").write_bytes(zstd.compress(json.dumps(document(id="a")).encode()))
    write(tmp_path / "Patient.ndjson", {"resourceType": "Patient"})
    write(tmp_path / "deep" / "Patient.ndjson", {"resourceType": "Patient"})
    write(tmp_path / ".hidden.ndjson", document())
    write(tmp_path / "manifest.json", "{}")
    with caplog.at_level(logging.INFO):
        b, bad, a = read(str(tmp_path))
    assert bad == Malformed(f"{tmp_path}/bad.ndjson.gz", "is named .gz and is not gzip; rename it or pack it again")
    assert (b.position, a.position) == (f"{tmp_path}/b.ndjson.gz:1", f"{tmp_path}/deep/a.ndjson.zst:1")
    assert caplog.messages == [
        f"{tmp_path}: left out 1 files that are no .ndjson files, such as manifest.json",
        f"{tmp_path}: left out 2 resources that are no documents: 2 Patient",
    ]


def test_sources_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"holds no \.ndjson file"):
        list(read(str(tmp_path)))
    with pytest.raises(ReadError, match=r"is named \.gz and is not gzip"):
        list(read(write(tmp_path / "a.ndjson.gz", "{}")))


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(document()).encode())))
    assert [item.position for item in read("-")] == ["<stdin>:1"]


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>a <b>b</b>\n c</p>\n<p>d</p>", "a b c\nd"),
        ("a<br><br/>b", "a\n\nb"),
        ("<table><tr><th>x</th> <td> y </td></tr><tr><td>1</td><td></td><td>3</td></tr></table>", "x\ty\n1\t\t3"),
        ("<pre>a  b\n  c</pre> d  e", "a  b\n  c\nd e"),
        ("BP <90 &amp; x < y, &#228; <b", "BP <90 & x < y, ä <b"),
        ("<title>t</title><style>p{}</style><SCRIPT>if (a<b) {}</SCRIPT>z<script/>y", "zy"),
        ("<style>p</b>q</style>z<!-- comment -->", "z"),
        ("<div xmlns='http://www.w3.org/1999/xhtml'><![CDATA[x < y]]></div>", "x < y"),
        ("<![if !x]>kept<![endif]>", "kept"),
        ("a&nbsp; b", "a\xa0 b"),
        ("<ul><li>a</li><li> <p>b</p> </li></ul></pre>c  d", "a\nb\nc d"),
        ("<div><div>x</div></div>y", "x\ny"),
        ("", ""),
    ],
)
def test_html_is_flattened(html: str, text: str) -> None:
    assert flatten(html) == text


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("DocumentReference.ndjson", True),
        ("documentreference.000.ndjson.gz", True),
        ("DiagnosticReport-1.ndjson.zst", True),
        ("1.DiagnosticReport.ndjson", True),
        ("Patient.ndjson", False),
        ("DocumentReference.json", False),
        ("MyDocumentReference.ndjson", False),
    ],
)
def test_files_and_folders_are_told_by_name(tmp_path: Path, name: str, accepted: bool) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / name).touch()
    assert READER.accepts(tmp_path / "deep" / name) is accepted
    assert READER.accepts(tmp_path) is accepted


def test_memory_stays_flat_over_a_long_file(tmp_path: Path, traced) -> None:
    path = tmp_path / "a.ndjson"
    line = json.dumps(document(attached("word " * 800))) + "\n"
    bundle = json.dumps({"resourceType": "Patient", "name": "x" * 2_000}) + "\n"
    with path.open("w") as file:
        file.writelines(line + bundle for _ in range(3_000))
    count, peak = traced(lambda: read(str(path)))
    assert count == 3_000
    assert peak < 2**20 < path.stat().st_size / 15
