"""MIMIC-IV-Note (PhysioNet): discharge.csv and radiology.csv, plain or packed. One record per section, or per note.

    note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text
    10000001-DS-1,10000001,20000001,DS,1,2180-05-06 00:00:00,2180-05-07 09:15:00,"Chief Complaint: ..."

Sections. A section starts at a line that begins with a known heading and a colon, in any case, and its text runs from
behind the colon to the next such line, exactly as it stands: `section_start` is its character offset in the note. The
headings known are those of the two templates, `DISCHARGE` and `RADIOLOGY`, each for its own type of note: the reports
that a discharge summary quotes under "Pertinent Results:" are no sections of it. What stands before the first heading
is the section "header"; a note without any is one section, "note". Record ids are note and section,
`10000001-DS-1/discharge-medications`, with "-2" where a section comes again. A section without a letter or digit, blank
or de-identified to "___", is left out; how many there are is logged.

The columns have fixed types: an id that is no whole number or a time that is none makes the row malformed, and an empty
cell is no metadata. No message holds any text of a note.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from es_ingest.readers.delimited import cells_of, named_rows
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import label
from es_ingest.readers.values import RowError, listed, raw_of
from es_ingest.records import Malformed, Record

logger = logging.getLogger(__name__)

# Spelled as in a heading, without case. Most are the template's own, the others its variants in older notes.
DISCHARGE = (
    "allergies",
    "attending",
    "chief complaint",
    "major surgical or invasive procedure",
    "history of present illness",
    "past medical history",
    "past surgical history",
    "social history",
    "family history",
    "physical exam",
    "physical examination",
    "pertinent results",
    "brief hospital course",
    "hospital course",
    "medications on admission",
    "discharge medications",
    "discharge disposition",
    "facility",
    "discharge diagnosis",
    "discharge diagnoses",
    "discharge condition",
    "discharge instructions",
    "followup instructions",
    "follow-up instructions",
    "addendum",
)
RADIOLOGY = (
    "examination",
    "exam",
    "type of examination",
    "study",
    "indication",
    "clinical indication",
    "reason for examination",
    "reason for exam",
    "history",
    "clinical history",
    "clinical information",
    "technique",
    "procedure",
    "dose",
    "comparison",
    "comparisons",
    "findings",
    "findings and impression",
    "impression",
    "conclusion",
    "recommendation",
    "recommendations",
    "recommendation(s)",
    "notification",
    "notifications",
    "addendum",
    "wet read",
)
HEADER, NOTE = "header", "note"  # the sections that have no heading
COLUMNS = ("note_id", "subject_id", "hadm_id", "note_type", "note_seq", "charttime", "storetime", "text")

_TYPES = {
    "DS": "Discharge summary",
    "AD": "Discharge summary addendum",
    "RR": "Radiology report",
    "AR": "Radiology report addendum",
}
_NUMBERS = ("subject_id", "hadm_id", "note_seq")
_TIMES = ("charttime", "storetime")
_MAPPING = FieldMapping(id="note_id", text=("text",), meta=COLUMNS[1:-1])
_WHOLE_NUMBER = re.compile(r"(\d{1,18})(\.0)?", re.ASCII)  # a data frame writes ids as floats where one is missing
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_FILE = re.compile(r"(discharge|radiology).*\.csv(\.gz|\.zst)?", re.IGNORECASE)
_DETAIL = re.compile(r"(discharge|radiology)_detail\b", re.IGNORECASE)  # the tables beside the notes hold no text


def _pattern(headings: tuple[str, ...]) -> re.Pattern[str]:
    # ASCII, or the long s of old prints would pass for an s.
    flags = re.MULTILINE | re.IGNORECASE | re.ASCII
    return re.compile(rf"^[ \t]*({'|'.join(map(re.escape, headings))})[ \t]*:", flags)


_HEADINGS = {"DS": _pattern(DISCHARGE), "AD": _pattern(DISCHARGE)}
_HEADINGS |= {"RR": _pattern(RADIOLOGY), "AR": _pattern(RADIOLOGY)}
_ANY_HEADING = _pattern((*DISCHARGE, *RADIOLOGY))


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a note: its name in ids, its heading as the note spells it ("" without one), its text's offset."""

    name: str
    heading: str
    start: int
    text: str


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Stream the sections of one file's notes.

    :param source: A path, or "-" for standard input.
    :param fields: Not used; MIMIC-IV-Note's columns are fixed.
    :raises ReadError: If the file cannot be read at all or lacks a column.
    """
    without_text: Counter[str] = Counter()
    for row in named_rows(source, _MAPPING):
        yield from [row] if isinstance(row, Malformed) else _sections(row[1], row[0], without_text)
    if without_text:
        logger.info("%s: left out %d sections without text", label(source), without_text.total())


def again(raw: str, position: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Read a note of dead letters once more, by sections; see `Reader.again`."""
    return _sections(_columns(raw), position, Counter())


def again_whole(raw: str, position: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Read a note of dead letters once more, as a whole; see `Reader.again`."""
    yield _whole(_columns(raw), position)


def read_whole(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Stream one file's notes, each whole: `note_id` is the record's id, the type of note its title.

    :param source: A path, or "-" for standard input.
    :param fields: Not used; MIMIC-IV-Note's columns are fixed.
    :raises ReadError: If the file cannot be read at all or lacks a column.
    """
    for row in named_rows(source, _MAPPING):
        yield row if isinstance(row, Malformed) else _whole(row[1], row[0])


def sections(text: str, note_type: str) -> Iterator[Section]:
    """Split a note at its headings; nothing of it is in no section but the headings themselves and their colons.

    :param text: The note.
    :param note_type: DS or AD for the headings of discharge summaries, RR or AR for radiology; others take both.
    :returns: The sections in order, blank ones too.
    """
    found = list(_HEADINGS.get(note_type, _ANY_HEADING).finditer(text))
    if not found:
        yield Section(NOTE, "", 0, text)
        return
    if found[0].start():
        yield Section(HEADER, "", 0, text[: found[0].start()])
    for heading, following in zip(found, [*found[1:], None], strict=True):
        end = following.start() if following else len(text)
        name = re.sub("[^a-z]+", "-", heading[1].lower().replace("(s)", "s"))
        yield Section(name, heading[1], heading.end(), text[heading.end() : end])


def _columns(raw: str) -> dict[str, str]:
    cells = cells_of(raw)
    if missing := [name for name in COLUMNS if name not in cells]:
        raise RowError(f"has no field {listed(missing)}; it has {listed(cells)}")
    return cells


def _sections(values: dict[str, str], position: str, without_text: Counter[str]) -> Iterator[Record | Malformed]:
    """Give the sections of one note.

    :param without_text: Counts the others.
    """
    note = _whole(values, position)
    if isinstance(note, Malformed):
        yield note
        return
    seen: Counter[str] = Counter()
    for section in sections(note.text, note.meta.get("note_type", "")):
        if not _LETTER_OR_DIGIT.search(section.text):
            without_text[section.name] += 1
            continue
        seen[section.name] += 1
        slug = section.name if seen[section.name] == 1 else f"{section.name}-{seen[section.name]}"
        yield Record(
            f"{note.id}/{slug}",
            section.heading or note.title,
            section.text,
            {"note_id": note.id, **note.meta, "section": section.name, "section_start": section.start},
            f"{note.position}#{slug}",
        )
    if not seen:
        yield Malformed(note.position, "empty text: no section holds a letter or digit", raw_of(values))


def _whole(values: dict[str, str], position: str) -> Record | Malformed:
    try:
        return _note(values, position)
    except RowError as error:
        return Malformed(position, str(error), raw_of(values))


def _note(values: dict[str, str], position: str) -> Record:
    note_id, text = values["note_id"].strip(), values["text"]
    if not note_id:
        raise RowError("empty id in field 'note_id'")
    if not text.strip():
        raise RowError("empty text")
    meta = {name: _value(name, values[name].strip()) for name in COLUMNS[1:-1] if values[name].strip()}
    note_type = meta.get("note_type", "")
    return Record(note_id, _TYPES.get(note_type, note_type), text, meta, position)


def _value(name: str, cell: str) -> Any:
    """Give a cell that is not blank its column's type."""
    if name in _NUMBERS:
        number = _WHOLE_NUMBER.fullmatch(cell)
        if not number:
            raise RowError(f"field {name!r} is not a whole number")
        return int(number[1])
    if name in _TIMES:
        try:
            return datetime.fromisoformat(cell).isoformat()
        except ValueError:
            raise RowError(f"field {name!r} is not a date and time such as 2180-05-06 14:30:00") from None
    return cell


def _accepts(path: Path) -> bool:
    return bool(_FILE.fullmatch(path.name)) and not _DETAIL.match(path.name) and not path.is_dir()


READER = Reader(
    name="mimic",
    description="MIMIC-IV-Note discharge summaries and radiology reports: one record per section of a note",
    source="discharge.csv or radiology.csv, plain, .gz or .zst, or - for standard input",
    read=read,
    accepts=_accepts,
    stdin=True,
    again=again,
)
READER_WHOLE = Reader(
    name="mimic-notes",
    description="MIMIC-IV-Note discharge summaries and radiology reports: one record per note",
    source=READER.source,
    read=read_whole,
    accepts=lambda path: False,  # noqa: ARG005 - the same files as mimic, which is what `detect` answers
    stdin=True,
    again=again_whole,
)
