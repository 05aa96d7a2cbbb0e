"""MIMIC-IV: hospital stays with the sections of their discharge summaries, from a copy of the user's own.

Two files of PhysioNet's, anywhere in one folder, plain or packed: discharge.csv of MIMIC-IV-Note, and admissions.csv of
MIMIC-IV. They are joined by the stay's number. This file opens no connection, and neither its messages nor its log
lines hold anything of a note or say whose it is.

A section starts at a line that begins with one of the benchmark's headings and a colon, in any case, and runs to the
next of them. Its white space is collapsed. One without text counts as missing; of two with one heading the first that
has text counts.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from es_ingest.readers.delimited import named_rows
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.mimic import read_whole
from es_ingest.readers.streams import PACKED
from es_ingest.records import Malformed, Record
from medte_eval.sources.access import Access
from medte_eval.sources.errors import SourceError, named

logger = logging.getLogger(__name__)

SOURCE = "MIMIC-IV"
NOTES, ADMISSIONS = "discharge.csv", "admissions.csv"
SECTIONS = (
    "Chief Complaint",
    "Major Surgical or Invasive Procedure",
    "History of Present Illness",
    "Past Medical History",
    "Social History",
    "Physical Exam",
    "Pertinent Results",
    "Brief Hospital Course",
    "Discharge Condition",
    "Discharge Diagnosis",
    "Discharge Instructions",
)
_BOUNDARIES = (  # headings whose sections nothing uses, but which end the one before
    "Admission Date",
    "Allergies",
    "Attending",
    "Date of Birth",
    "Discharge Date",
    "Discharge Disposition",
    "Discharge Medications",
    "Family History",
    "Followup Instructions",
    "Medications on Admission",
    "Service",
    "Sex",
)
_NAMES = {name.lower(): name for name in (*SECTIONS, *_BOUNDARIES)}
_HEADING = re.compile(rf"^[ \t]*({'|'.join(map(re.escape, _NAMES))})[ \t]*:", re.MULTILINE | re.IGNORECASE | re.ASCII)
_COLUMNS: dict[str, Callable[[str], Any]] = {
    "hadm_id": int,
    "subject_id": int,
    "admittime": datetime.fromisoformat,
    "dischtime": datetime.fromisoformat,
}
T = TypeVar("T")
_ADDENDUM = "AD"
_REPORTED = 5  # rows left out that are named one by one


@dataclass(frozen=True, slots=True)
class Stay:
    """A hospital stay with its discharge summary.

    :param hadm_id: The stay's number.
    :param subject_id: The patient's.
    :param sections: Headings of `SECTIONS` to texts; without those that are missing or empty.
    """

    hadm_id: int
    subject_id: int
    admitted: datetime
    discharged: datetime
    sections: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class MimicIV:
    """MIMIC-IV in `Access.export`, the folder of one's own copy. Nothing else of the access is used."""

    access: Access

    def stays(self) -> Iterator[Stay]:
        """Stream the stays that have a discharge summary and an admission, in the order of the notes.

        Rows that are malformed, addenda, and second summaries of a stay are left out and counted.

        :raises SourceError: If a table or column is missing, a file breaks off, or no note belongs to an admission.
        """
        folder = self.access.export
        if folder is None:
            hint = f"it is never fetched: give the folder of your own copy, with {NOTES} and {ADMISSIONS}"
            raise SourceError(SOURCE, "no folder is given", hint)
        notes, admissions = _table(folder, NOTES), _table(folder, ADMISSIONS)
        left_out: Counter[str] = Counter()
        with named(SOURCE):
            admitted = {one.hadm_id: one for one in _good(_admissions(admissions), left_out)}
            seen: set[int] = set()
            for note in _good(read_whole(str(notes)), left_out):
                stay = admitted.get(note.meta.get("hadm_id", 0))
                if stay is None or (why := _useless(note, stay, seen)):
                    left_out["notes whose stay has no admission" if stay is None else why] += 1
                    continue
                seen.add(stay.hadm_id)
                yield replace(stay, sections=sections(note.text))
        if not seen:
            reason = f"none of its notes belongs to a stay of {admissions}; are both of one release?"
            raise SourceError(SOURCE, str(notes), reason)
        for what, number in sorted(left_out.items()):
            logger.info("%s: left out %d %s", SOURCE, number, what)


def sections(text: str) -> dict[str, str]:
    """Return the sections of a discharge summary that have text, white space collapsed.

    :returns: Headings of `SECTIONS`, in their spelling, to texts.
    """
    found: dict[str, str] = {}
    _, *parts = _HEADING.split(text)  # a heading and the text behind it, in turns
    for heading, behind in zip(parts[::2], parts[1::2], strict=True):
        name, content = _NAMES[heading.lower()], " ".join(behind.split())
        if content and name in SECTIONS:
            found.setdefault(name, content)
    return found


def _useless(note: Record, stay: Stay, seen: Collection[int]) -> str:
    """Return why a note is not the summary of its stay, or "" if it is."""
    if note.meta.get("note_type") == _ADDENDUM:
        return "addenda"
    if note.meta.get("subject_id") != stay.subject_id:
        return "notes whose patient is not the admission's"
    return "further summaries of a stay" if stay.hadm_id in seen else ""


def _admissions(path: Path) -> Iterator[Stay | Malformed]:
    """Stream the stays, without sections yet."""
    for row in named_rows(str(path), FieldMapping(text=tuple(_COLUMNS))):
        if isinstance(row, Malformed):
            yield row
            continue
        position, cells = row
        values: list[Any] = []
        for name, convert in _COLUMNS.items():
            try:
                values.append(convert(cells[name].strip()))
            except ValueError:
                kind = "a whole number" if convert is int else "a date and time such as 2180-05-06 14:30:00"
                yield Malformed(position, f"field {name!r} is not {kind}")
                break
        else:
            yield Stay(*values)


def _good(rows: Iterable[T | Malformed], left_out: Counter[str]) -> Iterator[T]:
    """Stream the rows that are none of the malformed ones, which are told of and counted.

    :raises SourceError: Where more than a row is lost.
    """
    for row in rows:
        if not isinstance(row, Malformed):
            yield row
            continue
        if row.gap:
            raise SourceError(SOURCE, row.position, row.reason)
        left_out["malformed rows"] += 1
        if left_out["malformed rows"] <= _REPORTED:
            logger.warning("%s: left out: %s", row.position, row.reason)


def _table(folder: Path, name: str) -> Path:
    """Find a table anywhere in the folder."""
    if not folder.is_dir():
        raise SourceError(SOURCE, str(folder), f"is no folder; give the one that holds {NOTES} and {ADMISSIONS}")
    names = {name, *(name + packed for packed in PACKED)}
    found = sorted(path for path in folder.rglob("*") if path.name.lower() in names and path.is_file())
    if not found:
        raise SourceError(SOURCE, str(folder), f"holds no {name} or {name}.gz at any depth")
    if len(found) > 1:
        raise SourceError(SOURCE, str(folder), f"holds {name} twice: {found[0]} and {found[1]}; keep one")
    return found[0]
