"""PubMedQA: questions that titles of papers ask, each with its abstract. One record per question.

    {"21645374": {"QUESTION": "...", "CONTEXTS": ["...", "..."], "LABELS": ["BACKGROUND", ...], "MESHES": [...],
                  "YEAR": "2011", "LONG_ANSWER": "...", "final_decision": "yes"}, ...}

This is the form of ori_pqal.json, ori_pqau.json and ori_pqaa.json; a file is read whole. Record ids are PMIDs. The text
is the abstract without its conclusion, a paragraph per section; metadata are the question, the conclusion as `answer`,
the decision, the year and MeSH terms.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from es_ingest.readers.fields import TEXT_JOIN
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import DAMAGED, label, open_bytes, reason_of
from es_ingest.readers.values import RowError, kind_of, parse_json, raw_bytes, raw_of, scrub
from es_ingest.records import Malformed, ReadError, Record

MAX_FILE_BYTES = 2**30  # the largest of the three has some 530 MB
_NAME = re.compile(r"(ori_)?pqa[alu].*\.json(\.gz|\.zst)?", re.IGNORECASE)
_META = {"answer": "LONG_ANSWER", "decision": "final_decision", "year": "YEAR"}


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Stream the questions of one file.

    :param source: A .json file, plain, gzip or zstd, or "-" for standard input.
    :param fields: Not used; PubMedQA's fields are fixed.
    :raises ReadError: If the file cannot be read or is of another form.
    """
    name = label(source)
    try:
        with open_bytes(source) as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
        if len(data) > MAX_FILE_BYTES:
            raise ReadError(name, f"is larger than the limit of {MAX_FILE_BYTES} bytes")
        rows = parse_json(data)
    except DAMAGED as error:
        raise ReadError(name, f"cannot be read: {reason_of(error)}") from error
    except RowError as error:
        raise ReadError(name, f"cannot be read: {error}") from None
    if not isinstance(rows, dict):
        raise ReadError(name, f"is {kind_of(rows)}, not an object of questions by PMID, as ori_pqal.json is")
    for pmid, row in rows.items():
        position = f"{name}#{pmid}"
        try:
            yield _record(pmid, row, position)
        except RowError as error:
            yield Malformed(position, str(error), raw_of({pmid: row}))


def again(raw: str, position: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Read a question of dead letters once more, with its PMID as in the file; see `Reader.again`."""
    row = parse_json(raw_bytes(raw))
    if not isinstance(row, dict) or len(row) != 1:
        raise RowError("not an object of one question by its PMID, as in the file")
    for pmid, question in row.items():
        yield _record(pmid, question, position)


def _record(pmid: str, row: Any, position: str) -> Record:
    if not isinstance(row, dict):
        raise RowError(f"is {kind_of(row)}, not an object")
    question = _string(row, "QUESTION")
    contexts = row.get("CONTEXTS")
    if not isinstance(contexts, list) or not all(isinstance(one, str) for one in contexts):
        raise RowError("field 'CONTEXTS' is no list of strings")
    text = scrub(TEXT_JOIN.join(one for one in contexts if one.strip()))
    if not text:
        raise RowError("empty text")
    meta: dict[str, Any] = {"question": question, **{name: _string(row, field) for name, field in _META.items()}}
    meta["mesh"] = [one for one in row.get("MESHES") or [] if isinstance(one, str)]
    return Record(pmid, "", text, {name: value for name, value in meta.items() if value}, position)


def _string(row: dict[str, Any], name: str) -> str:
    value = row.get(name)
    if value is not None and not isinstance(value, str):
        raise RowError(f"field {name!r} is {kind_of(value)}, not a string")
    return scrub(value or "").strip()


def _accepts(path: Path) -> bool:
    return bool(_NAME.fullmatch(path.name)) and not path.is_dir()


READER = Reader(
    name="pubmedqa",
    description="PubMedQA: one record per question, with the abstract that answers it",
    source="ori_pqal.json, ori_pqau.json or ori_pqaa.json, plain, .gz or .zst, or - for standard input",
    read=read,
    accepts=_accepts,
    stdin=True,
    again=again,
)
