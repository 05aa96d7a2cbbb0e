"""Records of a corpus -> pairs of texts that belong together: two fields, sections, halves, conclusions, or kin."""

import logging
import re
from collections.abc import Iterable, Iterator
from itertools import pairwise

from es_ingest.records import Item, Malformed, Record
from medte_haystack.training.pairs import Pair
from medte_train.tally import Tally

logger = logging.getLogger(__name__)

QUESTION = "question"
_ID_KINDS = {
    "pubmed": "pmid",
    "pubmedqa": "pmid",
    "clinicaltrials": "nct",
    "medquad": "medquad",
    "mimic-notes": "note_id",
}
_KEYS = {"pmid": "pmid", "pmc": "pmcid", "pmcid": "pmcid", "doi": "doi", "nct_id": "nct", "document_id": "document"}
_KEYS |= {name: name for name in ("hadm_id", "subject_id", "note_id")}
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+")
_BETWEEN_SECTIONS = re.compile(r"\n[ \t]*\n")
_FEWEST_WORDS = 5  # of a section or a conclusion; less is a heading, or a list's end
_HEADING = re.compile(r"^[A-Z][A-Z ,/&-]{3,}:\s*")  # of a structured abstract's part: "CONCLUSIONS: "
_REPORTED = 5  # malformed rows that are named one by one


def records_of(items: Iterable[Item], tally: Tally) -> Iterator[Record]:
    """Stream the records, and count them and the rows that are none; deletions are passed over."""
    for item in items:
        if isinstance(item, Malformed):
            tally.malformed += 1
            if tally.malformed <= _REPORTED:
                logger.warning("%s: left out: %s", item.position, item.reason)
        elif isinstance(item, Record):
            tally.records += 1
            yield item


def field_pairs(
    records: Iterable[Record],
    source: str,
    format: str,  # noqa: A002
    *,
    anchor: str | None = None,
    positive: str = "text",
) -> Iterator[Pair]:
    """Pair two fields of each record: title and abstract, question and answer.

    :param source: The pairs' source.
    :param format: The records' format, which decides what their ids are.
    :param anchor: Field of text 1: title, text or metadata; None for ``question`` where a record has one, else title.
    :param positive: Field of text 2.
    """
    for record in records:
        name = anchor or (QUESTION if QUESTION in record.meta else "title")
        yield Pair(record.id, source, _text(record, name), _text(record, positive), keys=keys_of(record, format))


def section_pairs(records: Iterable[Record], source: str, format: str) -> Iterator[Pair]:  # noqa: A002
    """Pair neighbouring sections of each record's text: blocks between blank lines, of at least five words."""
    for record in records:
        blocks = (block.strip() for block in _BETWEEN_SECTIONS.split(record.text))
        sections = [block for block in blocks if len(block.split()) >= _FEWEST_WORDS]
        for number, (first, second) in enumerate(pairwise(sections), start=1):
            yield Pair(f"{record.id}#{number}", source, first, second, keys=keys_of(record, format))


def half_pairs(records: Iterable[Record], source: str, format: str) -> Iterator[Pair]:  # noqa: A002
    """Pair the first half of each record's text with the second, cut between the two middle sentences.

    Where a text begins and ends in a style of its own, as abstracts do, what halves share is what it is about.
    """
    for record in records:
        sentences = _BETWEEN_SENTENCES.split(record.text.strip())
        middle = (len(sentences) + 1) // 2
        first, second = " ".join(sentences[:middle]), " ".join(sentences[middle:])
        yield Pair(record.id, source, first, second, keys=keys_of(record, format))


def conclusion_pairs(records: Iterable[Record], source: str, format: str) -> Iterator[Pair]:  # noqa: A002
    """Pair the last sentence of each record's text with its title and what stands before that sentence.

    An abstract mostly ends with what the study found, so text 1 is a claim and text 2 what it rests on. A heading, such
    as "CONCLUSIONS:", is left out of text 1; one of fewer than five words is no conclusion.
    """
    for record in records:
        *before, last = _BETWEEN_SENTENCES.split(record.text.strip())
        claim = _HEADING.sub("", last)
        claim = claim if len(claim.split()) >= _FEWEST_WORDS else ""
        evidence = "\n".join(part for part in (record.title, " ".join(before)) if part) if before else ""
        yield Pair(record.id, source, claim, evidence, keys=keys_of(record, format))


def same_pairs(records: Iterable[Record], source: str, format: str, field: str) -> Iterator[Pair]:  # noqa: A002
    """Pair the texts of records that share a value of a metadata field, each with the next of its value.

    With ``note_id`` or ``document_id``: sections of a note, answers about one disease. Pairs of one value are a group,
    so there must be many more values than a batch has pairs. One record is held for each value.

    :param field: The field; of a list each value counts.
    """
    last: dict[str, Record] = {}
    for record in records:
        value = record.meta.get(field)
        for one in dict.fromkeys(map(str, value if isinstance(value, list) else [] if value is None else [value])):
            before = last.get(one)
            last[one] = record
            if before is not None:
                name = f"{before.id}+{record.id}"
                keys, anchor_keys = keys_of(record, format), keys_of(before, format)
                yield Pair(
                    name, source, before.text, record.text, (), keys, {} if anchor_keys == keys else anchor_keys, one
                )


def _text(record: Record, name: str) -> str:
    if name in ("title", "text"):
        return str(getattr(record, name))
    value = record.meta.get(name)
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return value if isinstance(value, str) else ""


def keys_of(record: Record, format: str) -> dict[str, str]:  # noqa: A002
    """Return the ids of a record by their kind, as in `Pair.keys`.

    :param format: Its format, which decides what its id is.
    """
    kind = _ID_KINDS.get(format)
    named = {} if kind is None else {kind: record.id}
    named |= {key: str(record.meta[name]) for name, key in _KEYS.items() if record.meta.get(name) is not None}
    return {key: value for key, value in named.items() if value.strip()}
