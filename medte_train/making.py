"""Records of a corpus -> pairs of texts that belong together."""

from collections.abc import Iterable, Iterator

from es_ingest.records import Malformed, Record
from medte_haystack.training.pairs import Pair

_ID_KINDS = {"pubmed": "pmid", "clinicaltrials": "nct", "medquad": "medquad"}
_KEYS = ("pmid", "pmcid", "doi", "nct", "hadm_id", "subject_id", "note_id")


def make_pairs(
    records: Iterable[Record | Malformed],
    format: str,  # noqa: A002
    source: str,
    *,
    anchor: str | None,
    positive: str,
) -> Iterator[Pair]:
    """Stream the pairs of records; a record that lacks a field, and one that repeats an anchor, is left out.

    :param format: The records' format, which decides what their ids are.
    :param anchor: Field of text 1: title, text or metadata; None for ``question`` where there is one, else the title.
    :param positive: Field of text 2.
    """
    seen: set[str] = set()
    for record in records:
        if isinstance(record, Malformed):
            continue
        first = _text(record, anchor) if anchor else _text(record, "question") or record.title
        second = _text(record, positive)
        if not first.strip() or not second.strip() or first in seen:
            continue
        seen.add(first)
        yield Pair(record.id, source, first, second, keys=_keys(record, format))


def _text(record: Record, name: str) -> str:
    if name in ("title", "text"):
        return str(getattr(record, name))
    value = record.meta.get(name)
    return value if isinstance(value, str) else ""


def _keys(record: Record, format: str) -> dict[str, str]:  # noqa: A002
    kind = _ID_KINDS.get(format)
    named = {} if kind is None else {kind: record.id}
    return named | {name: str(record.meta[name]) for name in _KEYS if name in record.meta}
