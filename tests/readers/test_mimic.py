"""All notes here are made up; their layout is MIMIC-IV-Note's."""

import csv
import gzip
import io
import logging
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from es_ingest.readers.mimic import DISCHARGE, RADIOLOGY, READER, READER_WHOLE, read, read_whole
from es_ingest.readers.streams import zstd
from es_ingest.records import Malformed, ReadError, Record

HEADER = ["note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text"]
SUMMARY = """ \nName:  ___                     Unit No:   ___
 \nAdmission Date:  ___              Discharge Date:   ___
 \nService: MEDICINE
 \nAllergies: \nNo Known Allergies / Adverse Drug Reactions
 \nAttending: ___.
 \nChief Complaint:
wheeze
 \nPertinent Results:
IMPRESSION: quoted, said "so", no section of its own.
 \nMedications on Admission:
___
 \nDISCHARGE MEDICATIONS:
1. Aspirin 81 mg PO DAILY \n \nDischarge Diagnosis:
Asthma
 \nFollowup Instructions:
___
"""
REPORT = (
    "EXAMINATION:  CHEST (PA AND LAT)\n\nINDICATION:  ___ year old with a cough  // pneumonia?\n\nTECHNIQUE:\n"
    "\nFINDINGS: \n\nClear lungs.\n\n Impression : \n \nNo pneumonia.\n\nFINDINGS:  The second part, \u00e0 part.\n"
    "RECOMMENDATION(S):  None."
)
DISCHARGE_META = {
    "subject_id": 10000001,
    "hadm_id": 20000001,
    "note_type": "DS",
    "note_seq": 3,
    "charttime": "2180-05-06T00:00:00",
    "storetime": "2180-05-07T09:15:00",
}
RADIOLOGY_META = {"subject_id": 10000002, "note_type": "RR", "note_seq": 15, "charttime": "2180-06-01T22:45:00"}


def row(text: str, note_type: str = "DS", **cells: str) -> dict[str, str]:
    times = {"charttime": "2180-05-06 00:00:00", "storetime": "2180-05-07 09:15:00"}
    ids = {"note_id": f"10000001-{note_type}-3", "subject_id": "10000001", "hadm_id": "20000001", "note_seq": "3"}
    return ids | {"note_type": note_type, "text": text} | times | cells


def report(text: str = REPORT) -> dict[str, str]:
    ids = {"note_id": "10000002-RR-15", "subject_id": "10000002", "hadm_id": "", "note_seq": "15"}
    return row(text, "RR", charttime="2180-06-01 22:45:00", storetime="", **ids)


def content(*rows: dict[str, str], header: list[str] = HEADER) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, header, extrasaction="ignore", lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def write(path: Path, *rows: dict[str, str]) -> str:
    path.write_text(content(*rows), encoding="utf-8")
    return str(path)


def section(note: str, slug: str, title: str, text: str, shared: dict[str, object], position: str) -> Record:
    note_id = "10000001-DS-3" if note is SUMMARY else "10000002-RR-15"
    name = re.sub(r"-\d+$", "", slug)
    meta = {"note_id": note_id} | shared | {"section": name, "section_start": note.index(text)}
    return Record(f"{note_id}/{slug}", title, text, meta, f"{position}#{slug}")


def test_a_discharge_summary_becomes_its_sections(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "discharge.csv", row(SUMMARY))
    found = [
        ("header", "Discharge summary", SUMMARY[: SUMMARY.index("Allergies")]),
        ("allergies", "Allergies", " \nNo Known Allergies / Adverse Drug Reactions\n \n"),
        ("chief-complaint", "Chief Complaint", "\nwheeze\n \n"),
        (
            "pertinent-results",
            "Pertinent Results",
            '\nIMPRESSION: quoted, said "so", no section of its own.\n \n',
        ),
        ("discharge-medications", "DISCHARGE MEDICATIONS", "\n1. Aspirin 81 mg PO DAILY \n \n"),
        ("discharge-diagnosis", "Discharge Diagnosis", "\nAsthma\n \n"),
    ]
    with caplog.at_level(logging.INFO):
        records = list(read(path))
    assert records == [section(SUMMARY, *one, DISCHARGE_META, f"{path}:2") for one in found]
    assert caplog.messages == [f"{path}: left out 3 sections without text"]


def test_a_radiology_report_becomes_its_sections(tmp_path: Path) -> None:
    path = write(tmp_path / "radiology.csv", row(SUMMARY), report())
    found = [
        ("examination", "EXAMINATION", "  CHEST (PA AND LAT)\n\n"),
        ("indication", "INDICATION", "  ___ year old with a cough  // pneumonia?\n\n"),
        ("findings", "FINDINGS", " \n\nClear lungs.\n\n"),
        ("impression", "Impression", " \n \nNo pneumonia.\n\n"),
        ("findings-2", "FINDINGS", "  The second part, \u00e0 part.\n"),
        ("recommendations", "RECOMMENDATION(S)", "  None."),
    ]
    position = f"{path}:{3 + SUMMARY.count(chr(10))}"
    records = [item for item in read(path) if isinstance(item, Record) and item.meta["note_type"] == "RR"]
    assert records == [section(REPORT, *one, RADIOLOGY_META, position) for one in found]


def test_whole_notes(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", row(SUMMARY), report())
    position = f"{path}:{3 + SUMMARY.count(chr(10))}"
    assert list(read_whole(path)) == [
        Record("10000001-DS-3", "Discharge summary", SUMMARY, DISCHARGE_META, f"{path}:2"),
        Record("10000002-RR-15", "Radiology report", REPORT, RADIOLOGY_META, position),
    ]


@pytest.mark.parametrize(
    ("note_type", "title", "headings"),
    [
        ("DS", "Discharge summary", ["Allergies"]),
        ("AD", "Discharge summary addendum", ["Allergies"]),
        ("RR", "Radiology report", ["Findings"]),
        ("AR", "Radiology report addendum", ["Findings"]),
        ("XX", "XX", ["Allergies", "Findings"]),
        ("", "", ["Allergies", "Findings"]),
    ],
)
def test_each_type_of_note_has_its_own_headings(
    tmp_path: Path, note_type: str, title: str, headings: list[str]
) -> None:
    path = write(tmp_path / "notes.csv", row("Seen today.\nAllergies: none\nFindings: none\n", note_type))
    records = [item for item in read(path) if isinstance(item, Record)]
    assert [record.title for record in records] == [title, *headings]
    assert [record.meta.get("note_type") for record in records] == [note_type or None] * len(records)


def test_a_note_without_a_heading_is_one_section(tmp_path: Path) -> None:
    text = "He has no allergies: none.\nThe\tfindings were: none\nallergies none\nAllerg\u0131es: \u017fervice\n"
    path = write(tmp_path / "notes.csv", row(text))
    meta = {"note_id": "10000001-DS-3"} | DISCHARGE_META | {"section": "note", "section_start": 0}
    assert list(read(path)) == [
        Record("10000001-DS-3/note", "Discharge summary", text, meta, f"{path}:2#note"),
    ]


def test_windows_line_ends_and_blanks_before_a_heading(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", row("x\r\n\t Chief Complaint \t:\r\npain\r\nALLERGIES:dust"))
    assert [(item.title, item.text) for item in read(path) if isinstance(item, Record)] == [
        ("Discharge summary", "x\r\n"),
        ("Chief Complaint", "\r\npain\r\n"),
        ("ALLERGIES", "dust"),
    ]


def made_up_notes(count: int) -> Iterator[tuple[str, str, set[str]]]:
    """Give note types and notes of random pieces, with the heading lines that were put in."""
    chance = random.Random(7)
    words = ["pain", "a:b", "naïve", "e\u0301", "😀", "no findings: x", "___", "\r", "1.", "\u2028", "\x0b", '"q"']
    for _ in range(count):
        note_type = chance.choice(["DS", "AD", "RR", "AR", "??"])
        known = {"D": DISCHARGE, "A": DISCHARGE if note_type == "AD" else RADIOLOGY, "R": RADIOLOGY}
        pieces, headings = [], set()
        for _ in range(chance.randrange(12)):
            if chance.random() < 0.4:
                heading = chance.choice(known.get(note_type[0], DISCHARGE + RADIOLOGY))
                heading = chance.choice([heading, heading.upper(), heading.title()])
                headings.add(heading)
                line_start = chance.choice(["\n", "\n ", "\n\t"])
                pieces.append(f"{line_start if pieces else ''}{heading}{chance.choice(['', ' '])}:")
            else:
                blank = chance.choice([" ", "\n", "\n \n", "\t"])
                pieces.append(blank.join(chance.choices(words, k=chance.randrange(6))) + blank)
        yield note_type, "".join(pieces), headings


def test_sections_are_found_at_their_offsets_and_lose_nothing(tmp_path: Path) -> None:
    notes = list(made_up_notes(900))
    rows = [row(text, note_type, note_id=str(n)) for n, (note_type, text, _) in enumerate(notes)]
    by_note: dict[str, list[Record]] = {str(n): [] for n in range(len(notes))}
    bare = 0
    for item in read(write(tmp_path / "notes.csv", *rows)):
        if isinstance(item, Record):
            by_note[item.meta["note_id"]].append(item)
        bare += isinstance(item, Malformed)
    assert bare < 250
    assert sum(len(records) for records in by_note.values()) > 900
    for (_, text, headings), records in zip(notes, by_note.values(), strict=True):
        assert len({record.id for record in records}) == len(records)
        rest, at = [], 0
        for record in records:
            start = record.meta["section_start"]
            assert start >= at
            assert text[start : start + len(record.text)] == record.text
            rest.append(text[at:start])
            at = start + len(record.text)
        rest.append(text[at:])
        # What no record holds is headings as they were put in, and lines without a letter or digit.
        for line in re.split("[\n:]", "\n".join(rest)):
            assert line.strip() in headings or not any(character.isalnum() for character in line)


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ({"note_id": " "}, "empty id in field 'note_id'"),
        ({"subject_id": "Confidential"}, "field 'subject_id' is not a whole number"),
        ({"hadm_id": "20000001.5"}, "field 'hadm_id' is not a whole number"),
        ({"note_seq": "9" * 30}, "field 'note_seq' is not a whole number"),
        ({"charttime": "Confidential"}, "field 'charttime' is not a date and time such as 2180-05-06 14:30:00"),
        ({"storetime": "2180-13-06 00:00:00"}, "field 'storetime' is not a date and time such as 2180-05-06 14:30:00"),
        ({"text": " \n"}, "empty text"),
        ({"text": "Chief Complaint:\nConf\0idential"}, "holds a NUL character; is the file UTF-16 or binary?"),
    ],
)
@pytest.mark.parametrize("reader", [READER, READER_WHOLE])
def test_a_bad_row_is_named_without_its_text_and_the_rest_goes_on(  # type: ignore[no-untyped-def]
    tmp_path: Path, reader, cells: dict[str, str], reason: str
) -> None:
    text = {"text": "Confidential note"} | cells
    path = write(tmp_path / "notes.csv", row(**text), row("good", note_id="good"))
    bad, good = reader.read(path, None)
    assert bad == Malformed(f"{path}:2", reason)
    assert isinstance(good, Record)
    assert good.meta.get("note_id", good.id) == "good"


def test_a_note_of_placeholders_alone_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "notes.csv", row("___ \nAttending: ___.\nAllergies:\n"))
    assert list(read(path)) == [Malformed(f"{path}:2", "empty text: no section holds a letter or digit")]


def test_ids_that_a_data_frame_has_made_floats(tmp_path: Path) -> None:
    (note,) = read_whole(write(tmp_path / "notes.csv", row("x", hadm_id="20000001.0", charttime="2180-05-06")))
    assert isinstance(note, Record)
    assert note.meta == DISCHARGE_META


def test_columns_may_stand_in_another_order_and_beside_others(tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    path.write_text(content(row("x") | {"split": "train"}, header=["split", *reversed(HEADER)]), encoding="utf-8")
    assert [(note.id, note.meta) for note in read_whole(str(path)) if isinstance(note, Record)] == [
        ("10000001-DS-3", DISCHARGE_META)
    ]


@pytest.mark.parametrize("missing", HEADER)
def test_a_file_without_one_of_the_columns(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "discharge.csv"
    path.write_text(content(row("x"), header=[name for name in HEADER if name != missing]), encoding="utf-8")
    with pytest.raises(ReadError, match=f"has no field '{missing}'; it has '"):
        list(read(str(path)))


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_packed_files_and_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    packed = pack(content(report()).encode())
    (tmp_path / "radiology.csv.packed").write_bytes(packed)
    (note,) = read_whole(str(tmp_path / "radiology.csv.packed"))
    assert isinstance(note, Record)
    assert note.text == REPORT
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(packed)))
    assert next(read("-")).position == "<stdin>:2#examination"


def test_a_quote_that_is_never_closed_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "discharge.csv"
    path.write_text(content(row("good"), row("bad\ntext"))[:-2], encoding="utf-8")
    good, bad = read(str(path))
    assert isinstance(good, Record)
    assert isinstance(bad, Malformed)
    assert bad.position == f"{path}:3"
    assert "never closed" in bad.reason


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("discharge.csv", True),
        ("discharge.csv.gz", True),
        ("Radiology_2180.CSV.zst", True),
        ("radiology.csv", True),
        ("discharge_detail.csv.gz", False),
        ("radiology_detail.csv", False),
        ("my_discharge.csv", False),
        ("discharge.tsv", False),
        ("discharge.csv.xz", False),
    ],
)
def test_files_are_told_by_name(tmp_path: Path, name: str, accepted: bool) -> None:
    (tmp_path / name).touch()
    assert READER.accepts(tmp_path / name) is accepted
    assert not READER_WHOLE.accepts(tmp_path / name)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / name).mkdir()
    assert not READER.accepts(tmp_path / "folder" / name)


def test_memory_stays_flat_over_a_long_file(tmp_path: Path, traced) -> None:
    path = tmp_path / "discharge.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        text = "".join(f"{heading.title()}:\n{'word ' * 60}\n" for heading in DISCHARGE)
        writer.writerows(row(text, note_id=f"{n}-DS-1") for n in range(2_000))
    count, peak = traced(lambda: read(str(path)))
    assert count == 2_000 * len(DISCHARGE)
    assert peak < 2**20 < path.stat().st_size / 15
