"""The notes that a language model is shown, and which of them may not leave this machine."""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from es_ingest.readers import FieldMapping, detect, read
from es_ingest.records import Item, Malformed, Record
from medte_haystack.training.near import words_of
from medte_haystack.training.table import text_id
from medte_train.making import keys_of

logger = logging.getLogger(__name__)

MIMIC = ("mimic", "mimic-notes")
MALFORMED, REPEATED, TOO_SHORT, CUT = "malformed", "text came before", "too short", "cut at its end"

_FEWEST_WORDS = 20
_REPORTED = 5  # malformed rows that are named one by one
_MIMIC_FIELDS = frozenset({"hadm_id", "subject_id", "stay_id"})
_MIMIC_NOTE = re.compile(r"\d{8}-(DS|AD|RR|AR)-\d+")
_MIMIC_TEXT = re.compile(r"(?<!_)___(?!_)|\[\*\*[^\]]{0,80}\*\*\]")  # how MIMIC-IV and MIMIC-III blank names


@dataclass(frozen=True, slots=True)
class Note:
    """A note as the model is shown it.

    :param id: The record's.
    :param text: Its text, perhaps cut at the end: offsets into it are offsets into the note.
    :param keys: Ids of it by their kind, as in `Pair.keys`.
    :param private: Whether it must not leave this machine, whatever is allowed.
    """

    id: str
    text: str
    keys: dict[str, str]
    private: bool


def format_of(sources: Sequence[str], name: str | None, fields: FieldMapping | None) -> str:
    """Return the format of notes: MIMIC-IV-Note's are whole ones, unless its sections are asked for.

    :raises ReadError: If it cannot be told.
    """
    found = name or detect(sources, fields)
    return "mimic-notes" if found == "mimic" and name is None else found


def read_notes(
    sources: Sequence[str],
    format: str,  # noqa: A002
    fields: FieldMapping | None,
    longest: int,
    dropped: Counter[str],
) -> Iterator[Note]:
    """Stream notes, each text once.

    :param format: A name in `es_ingest.readers.FORMATS`.
    :param longest: Characters that are kept of a note.
    :param dropped: Counts what is left out or cut, by the reason.
    :raises ReadError: If a source cannot be read.
    """
    seen: set[int] = set()
    for record in _records(read(sources, format, fields), dropped):
        words = words_of(record.text)
        if len(words) < _FEWEST_WORDS:
            dropped[TOO_SHORT] += 1
        elif (number := text_id(" ".join(words))) in seen:
            dropped[REPEATED] += 1
        else:
            seen.add(number)
            text = record.text
            if len(text) > longest:
                dropped[CUT] += 1
                text = text[: max(text.rfind(" ", 0, longest), text.rfind("\n", 0, longest), longest // 2)]
            keys = {"note": record.id, **keys_of(record, format)}
            yield Note(record.id, text, keys, format in MIMIC or _is_mimic(record))


def _is_mimic(record: Record) -> bool:
    """Tell whether a note comes from MIMIC though its format does not say so."""
    names = _MIMIC_FIELDS & {name.lower() for name in record.meta}
    return bool(names or _MIMIC_NOTE.match(record.id) or _MIMIC_TEXT.search(record.text))


def _records(items: Iterable[Item], dropped: Counter[str]) -> Iterator[Record]:
    for item in items:
        if isinstance(item, Record):
            yield item
        elif isinstance(item, Malformed):
            dropped[MALFORMED] += 1
            if dropped[MALFORMED] <= _REPORTED:
                logger.warning("%s: left out: %s", item.position, item.reason)
