import hashlib
import logging
import tarfile
from pathlib import Path

import pytest

from es_ingest.data import medquad_sample
from es_ingest.readers import detect, read
from es_ingest.records import Malformed, ReadError, Record

PAIR = '<QAPair pid="{0}"><Question qid="7-{0}" qtype="information">What is it ?</Question>{1}</QAPair>'
ANSWER = PAIR.format(1, "<Answer> An &quot;answer&quot;\r\n &#228; \n</Answer>")


def document(pairs: str = ANSWER, head: str = '<?xml version="1.0"?>', attributes: str = 'id="7" source="S"') -> str:
    return f"{head}<Document {attributes}><Focus> It </Focus><QAPairs>{pairs}</QAPairs></Document>"


def items(folder: Path, files: dict[str, str | bytes]) -> list[Record | Malformed]:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read([str(folder)], "medquad"))


def test_the_sample_is_read_whole(caplog) -> None:
    sample = str(medquad_sample())
    assert detect([sample]) == "medquad"
    found = list(read([sample], "medquad"))
    records = [item for item in found if isinstance(item, Record)]
    assert len(records) == len({record.id for record in records}) == 2839
    assert found == records, "the four files of the draft layout are left out, not malformed"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"{medquad_sample().name}: left out 4 files of MedQuAD's draft layout <doc>"
    ]
    first = records[0]
    assert (first.id, first.title) == ("NIDDK:0000001-1", "Acromegaly")
    assert hashlib.sha256(first.text.encode()).hexdigest() == (
        "019b22174f0309992de6aef7ecea2ec509c73133781fdecbbe4918e5095a4b05"
    )
    assert first.position == f"{sample}!5_NIDDK_QA/0000001.xml#1"
    assert first.meta == {
        "question": "What is (are) Acromegaly ?",
        "qtype": "information",
        "qid": "0000001-1",
        "source": "NIDDK",
        "url": "http://www.niddk.nih.gov/health-information/health-topics/endocrine/acromegaly/Pages/fact-sheet.aspx",
        "document_id": "0000001",
        "semantic_group": "Disorders",
        "cuis": ["C0001206"],
        "semantic_types": ["T047"],
    }


def test_the_sample_carries_its_licence_and_attribution() -> None:
    beside = medquad_sample().parent
    with tarfile.open(medquad_sample()) as tar:
        for name, original in (("LICENSE.txt", "LICENSE.medquad.txt"), ("ATTRIBUTION.md", "README.md")):
            inside = tar.extractfile(name)
            assert inside is not None
            assert inside.read() == (beside / original).read_bytes()


def test_folders_are_read_sorted_and_answers_exactly(tmp_path: Path) -> None:
    found = items(tmp_path, {"b.xml": document(), "a/2.XML": document(), "a/._2.xml": "mac", "a/notes.txt": "text"})
    assert [item.position for item in found] == [f"{tmp_path}/a/2.XML#1", f"{tmp_path}/b.xml#1"]
    assert found[0] == Record(
        "S:7-1",
        "It",
        ' An "answer"\n ä \n',
        {"question": "What is it ?", "qtype": "information", "qid": "7-1", "source": "S", "document_id": "7"},
        f"{tmp_path}/a/2.XML#1",
    )


def test_questions_without_an_answer_are_counted_and_no_records(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = PAIR.format(1, "") + PAIR.format(2, "<Answer> \n</Answer>") + PAIR.format(3, "<Answer>x</Answer>")
    with caplog.at_level(logging.INFO):
        (record,) = items(tmp_path, {"7.xml": document(pairs)})
    assert isinstance(record, Record)
    assert record.id == "S:7-3"
    assert caplog.messages == [f"{tmp_path}: left out 2 questions without an answer"]


def test_ids_stay_apart_where_document_ids_repeat(tmp_path: Path) -> None:
    found = items(tmp_path, {name: document() for name in ("7.xml", "7_1.xml", "renamed.xml")})
    assert [item.id for item in found if isinstance(item, Record)] == ["S:7-1", "S:7_1-1", "S:7-1"]


def test_what_is_missing_falls_back(tmp_path: Path) -> None:
    bare = "<Document><QAPairs><QAPair><Answer>one <b>two</b> three</Answer></QAPair></QAPairs></Document>"
    assert items(tmp_path, {"n.xml": bare}) == [
        Record("MedQuAD:n-1", "", "one two three", {"source": "MedQuAD", "document_id": "n"}, f"{tmp_path}/n.xml#1")
    ]


def test_the_one_file_with_another_root(tmp_path: Path) -> None:
    content = document().replace("Document", "DiseaseFile").replace('id="7"', 'fid="7"', 1)
    (record,) = items(tmp_path, {"7.xml": content})
    assert isinstance(record, Record)
    assert record.id == "S:7-1"


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-16", "windows-1252"])
def test_declared_encodings(tmp_path: Path, encoding: str) -> None:
    content = document(head=f'<?xml version="1.0" encoding="{encoding}"?>').replace("It", "Ménière").encode(encoding)
    (record,) = items(tmp_path, {"7.xml": content})
    assert isinstance(record, Record)
    assert record.title == "Ménière"


ENTITY = '<!DOCTYPE d [<!ENTITY a "aaaa">]>'
EXTERNAL = '<!DOCTYPE d SYSTEM "http://example.org/d.dtd">'


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (document()[:-20], "not well-formed XML at line "),
        ("", "not well-formed XML at line 1, column 1"),
        (document().replace("answer", "&secret;"), "not well-formed XML at line "),
        (document().encode().replace(b"answer", b"\xff"), "not well-formed XML at line "),
        (document(head=ENTITY), "declares a DTD, which is refused"),
        (document(head=EXTERNAL), "declares a DTD, which is refused"),
        (document(head='<?xml version="1.0" encoding="klingon"?>'), "declares an encoding that cannot be read"),
        ("<html/>", "not a MedQuAD document: its root element is <html>, not <Document>"),
    ],
)
def test_a_bad_file_is_named_and_the_rest_goes_on(tmp_path: Path, content: str | bytes, reason: str) -> None:
    bad, good = items(tmp_path, {"1.xml": content, "2.xml": document()})
    assert isinstance(bad, Malformed)
    assert bad.position == f"{tmp_path}/1.xml"
    assert bad.reason.startswith(reason)
    assert isinstance(good, Record)


def test_sources_that_hold_no_xml(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"holds no \.xml file"):
        list(read([str(tmp_path)], "medquad"))
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(ReadError, match="not a tar or zip archive"):
        list(read([str(tmp_path / "notes.txt")], "medquad"))
