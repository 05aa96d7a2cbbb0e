"""MIMIC-IV from a folder of made-up rows; no note of a real patient is anywhere near."""

import csv
import gzip
import io
import logging
import socket
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from medte_eval.sources.errors import SourceError
from medte_eval.sources.mimic import MimicIV, Stay, sections

SECRET = "ZEBRAFISH"  # stands for what must never leave
NOTE = f""" \nName:  ___                     Unit No:   ___
 \nAdmission Date:  ___              Discharge Date:   ___
 \nDate of Birth:  ___             Sex:   F
 \nService: MEDICINE
 \nAllergies: \nPenicillins
 \nAttending: ___.
 \nChief Complaint:
Abdominal   pain
{SECRET}
 \nMajor Surgical or Invasive Procedure:
None

 \nHistory of Present Illness:
She says: it hurts.
Service: she was in one.
 \nPast Medical History:
 \nSocial History:
___
Family History:
Not known
 \nPhysical Exam:
ADMISSION: well
 \nPertinent Results:
RADIOLOGY:
IMPRESSION: normal
 \nBrief Hospital Course:
She stayed.
 \nMedications on Admission:
1. Aspirin
 \nDischarge Medications:
1. Aspirin
 \nDischarge Disposition:
Home
 \nDischarge Diagnosis:
Abdominal pain
 \nDischarge Condition:
Mental Status: Clear.
 \nDischarge Instructions:
Dear Ms. ___,
Rest.
 \nFollowup Instructions:
___
"""
NOTE_COLUMNS = ["note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text"]
ADMISSION_COLUMNS = ["subject_id", "hadm_id", "admittime", "dischtime", "deathtime", "admission_type"]


def note(stay: int, patient: int = 100, text: str = NOTE, kind: str = "DS") -> list[object]:
    return [f"{patient}-{kind}-{stay}", patient, stay, kind, 1, "2180-05-06 00:00:00", "2180-05-07 09:15:00", text]


def admission(stay: int, patient: int = 100, **change: str) -> list[object]:
    row = {"admittime": "2180-05-01 22:23:00", "dischtime": "2180-05-06 17:15:00"} | change
    return [patient, stay, row["admittime"], row["dischtime"], "", "URGENT"]


def table(columns: list[str], rows: list[list[object]]) -> str:
    out = io.StringIO()
    csv.writer(out).writerows([columns, *rows])
    return out.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The two tables where PhysioNet's own folders have them, packed; three stays with notes, one without."""
    folder = tmp_path / "physionet.org" / "files"
    for place, columns, rows in (
        ("mimic-iv-note/2.2/note/discharge.csv.gz", NOTE_COLUMNS, [note(1), note(3, 102), note(2, 101)]),
        ("mimiciv/3.1/hosp/admissions.csv.gz", ADMISSION_COLUMNS, [admission(n, 99 + n) for n in (1, 2, 3, 4)]),
    ):
        (folder / place).parent.mkdir(parents=True)
        with gzip.open(folder / place, "wt") as file:
            file.write(table(columns, rows))
    return folder


def write(folder: Path, notes: list[list[object]], admissions: list[list[object]]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "discharge.csv").write_text(table(NOTE_COLUMNS, notes))
    (folder / "admissions.csv").write_text(table(ADMISSION_COLUMNS, admissions))
    return folder


def stays(access, folder: Path) -> list[Stay]:
    return list(MimicIV(replace(access, export=folder)).stays())


class TestSections:
    def test_the_benchmarks_sections_with_white_space_collapsed(self):
        assert sections(NOTE) == {
            "Chief Complaint": f"Abdominal pain {SECRET}",
            "Major Surgical or Invasive Procedure": "None",
            "History of Present Illness": "She says: it hurts.",
            "Social History": "___",
            "Physical Exam": "ADMISSION: well",
            "Pertinent Results": "RADIOLOGY: IMPRESSION: normal",
            "Brief Hospital Course": "She stayed.",
            "Discharge Diagnosis": "Abdominal pain",
            "Discharge Condition": "Mental Status: Clear.",
            "Discharge Instructions": "Dear Ms. ___, Rest.",
        }

    def test_headings_in_any_case_only_at_the_start_of_a_line(self):
        text = "CHIEF COMPLAINT: Fever\nsee chief complaint: above\ndischarge diagnosis : Flu\n"
        assert sections(text) == {"Chief Complaint": "Fever see chief complaint: above", "Discharge Diagnosis": "Flu"}

    def test_of_two_sections_the_first_with_text_counts(self):
        assert sections("Chief Complaint:\n\nChief Complaint: a\nChief Complaint: b") == {"Chief Complaint": "a"}

    def test_a_note_without_headings_has_none(self):
        assert sections("free text") == {}


def test_stays_are_notes_joined_with_admissions(access, folder):
    found = stays(access, folder)

    assert [(one.hadm_id, one.subject_id) for one in found] == [(1, 100), (3, 102), (2, 101)]
    assert found[0].admitted == datetime(2180, 5, 1, 22, 23)
    assert found[0].discharged == datetime(2180, 5, 6, 17, 15)
    assert found[0].sections["Discharge Diagnosis"] == "Abdominal pain"


def test_nothing_is_sent_and_nothing_of_a_note_is_told(access, tmp_path, monkeypatch, caplog):
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    bad = note(4)
    bad[2] = SECRET
    with caplog.at_level(logging.DEBUG):
        found = stays(access, write(tmp_path / "own", [note(1), bad, note(9)], [admission(1)]))
    assert len(found) == 1
    assert SECRET in found[0].sections["Chief Complaint"]
    assert "left out" in caplog.text
    for told in (caplog.text, repr(found)):
        assert SECRET not in told
        assert "Abdominal" not in told


def test_what_is_no_summary_of_a_stay_is_left_out_and_counted(access, tmp_path, caplog):
    notes = [note(1), note(1, text="Chief Complaint: second"), note(1, kind="AD"), note(2), note(3, patient=555)]
    admissions = [admission(1), admission(3), admission(5, dischtime="soon"), admission(6, dischtime="")]
    with caplog.at_level(logging.INFO, "medte_eval"):
        found = stays(access, write(tmp_path / "own", notes, admissions))
    assert [one.sections["Chief Complaint"] for one in found] == [f"Abdominal pain {SECRET}"]
    for said in (
        "left out 1 addenda",
        "left out 1 further summaries of a stay",
        "left out 1 notes whose stay has no admission",
        "left out 1 notes whose patient is not the admission's",
        "left out 2 malformed rows",
        "admissions.csv:4: left out: field 'dischtime' is not a date and time",
    ):
        assert said in caplog.text


@pytest.mark.parametrize("name", ["discharge.csv", "admissions.csv"])
def test_a_missing_table_is_named(access, folder, name):
    next(folder.rglob(f"{name}.gz")).unlink()
    with pytest.raises(SourceError, match=rf"MIMIC-IV: .*holds no {name}"):
        stays(access, folder)


@pytest.mark.parametrize(
    ("name", "column"),
    [("discharge.csv", "text"), ("discharge.csv", "hadm_id"), ("admissions.csv", "dischtime")],
)
def test_a_missing_column_is_named(access, tmp_path, name, column):
    folder = write(tmp_path / "own", [note(1)], [admission(1)])
    path = folder / name
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(SourceError, match=rf"{name}: has no field '{column}'"):
        stays(access, folder)


def test_a_table_that_is_there_twice_is_refused(access, folder):
    (folder / "discharge.csv").write_text("")
    with pytest.raises(SourceError, match=r"holds discharge\.csv twice"):
        stays(access, folder)


def test_a_packed_file_that_breaks_off_is_an_error(access, folder):
    path = next(folder.rglob("discharge.csv.gz"))
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SourceError, match=r"discharge\.csv\.gz"):
        stays(access, folder)


def test_tables_that_do_not_belong_together_are_told(access, tmp_path):
    with pytest.raises(SourceError, match="none of its notes belongs to a stay"):
        stays(access, write(tmp_path / "own", [note(1)], [admission(2)]))


def test_without_a_folder_it_says_where_to_get_one(access):
    with pytest.raises(SourceError, match="never fetched: give the folder of your own copy"):
        list(MimicIV(access).stays())


def test_a_file_is_no_folder(access, tmp_path):
    path = tmp_path / "discharge.csv"
    path.touch()
    with pytest.raises(SourceError, match="is no folder"):
        stays(access, path)
