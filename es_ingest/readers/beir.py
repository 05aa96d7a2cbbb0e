"""BEIR: a folder with `corpus.jsonl`, `queries.jsonl` and `qrels/{split}.tsv`, each plain, .gz or .zst.

The corpus becomes records; queries and judgements are for evaluation. A `metadata` object is flattened into the
metadata; where it and the row name the same field, the row's counts. A document with a title alone has it for its text.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from es_ingest.readers.fields import RowMapper
from es_ingest.readers.jsonl import json_rows, parse_object, rows
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import PACKED, read_lines, watched
from es_ingest.readers.values import raw_bytes
from es_ingest.records import Malformed, ReadError, Record

CORPUS = "corpus.jsonl"
_FIELDS = FieldMapping(id="_id", text=("text",))
QRELS_HEADER = ["query-id", "corpus-id", "score"]


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:
    """Stream the corpus of one BEIR data set.

    :param source: The data set's folder, or its corpus file.
    :param fields: None: BEIR's fields are `_id`, `title` and `text`.
    :raises ReadError: If there is no corpus or it cannot be read at all.
    """
    corpus = _corpus(source)
    items = _records(corpus, RowMapper(fields or _FIELDS))
    yield from watched(corpus, items) if Path(source).is_dir() else items


def again(raw: str, position: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:
    """Read a line of dead letters once more; see `Reader.again`."""
    yield _record(RowMapper(fields or _FIELDS), parse_object(raw_bytes(raw)), position)


def _records(corpus: str, mapper: RowMapper) -> Iterator[Record | Malformed]:
    for row in json_rows(corpus):
        yield row if isinstance(row, Malformed) else _record(mapper, row[1], row[0])


def _record(mapper: RowMapper, row: dict[str, Any], position: str) -> Record | Malformed:
    record = mapper(_with_text(row), position)
    if isinstance(record, Malformed) or not isinstance(record.meta.get("metadata"), dict):
        return record
    inner = {name: value for name, value in record.meta["metadata"].items() if value is not None}
    outer = {name: value for name, value in record.meta.items() if name != "metadata"}
    return replace(record, meta=inner | outer)


def _with_text(row: dict[str, Any]) -> dict[str, Any]:
    """Take the title for the text of a document that has no other: some data sets judge such documents."""
    title, text = row.get("title"), row.get("text") or ""
    if isinstance(title, str) and title.strip() and isinstance(text, str) and not text.strip():
        return {**row, "title": "", "text": title}
    return row


def read_queries(folder: str | Path) -> dict[str, str]:
    """Read a BEIR data set's queries, of all splits.

    :param folder: The data set's folder.
    :returns: Query ids to query texts, in the file's order.
    :raises ReadError: If the file is missing or any of its lines is no query: an evaluation must not lose one quietly.
    """
    path = _find(Path(folder), "queries.jsonl")
    queries: dict[str, str] = {}
    for row in json_rows(str(path)):
        if isinstance(row, Malformed):
            raise ReadError(row.position, row.reason)
        position, values = row
        query_id, text = values.get("_id"), values.get("text")
        if isinstance(query_id, int) and not isinstance(query_id, bool):
            query_id = str(query_id)
        if not isinstance(query_id, str) or not isinstance(text, str) or not query_id.strip() or not text.strip():
            raise ReadError(position, "a query needs the fields '_id' and 'text', neither of them blank")
        if query_id in queries:
            raise ReadError(position, f"query id {query_id!r} comes twice")
        queries[query_id] = text
    return queries


def read_qrels(folder: str | Path, split: str = "test") -> dict[str, dict[str, int]]:
    """Read a BEIR data set's relevance judgements of one split.

    :param folder: The data set's folder.
    :param split: The split, `qrels/{split}.tsv`.
    :returns: Query ids to document ids to scores.
    :raises ReadError: If the file is missing, a line is not query id, document id and whole number, or two lines
        contradict each other.
    """
    path = _find_split(Path(folder), split)
    qrels: dict[str, dict[str, int]] = {}
    for item in read_lines(str(path)):
        if isinstance(item, Malformed):
            raise ReadError(item.position, item.reason)
        number, line = item
        position = f"{path}:{number}"
        try:
            cells = line.decode("utf-8").strip("\r\n").split("\t")
        except UnicodeDecodeError:
            raise ReadError(position, "not UTF-8") from None
        if number == 1:
            if cells != QRELS_HEADER:
                raise ReadError(position, f"the header must be {' '.join(QRELS_HEADER)}, separated by tabs")
        elif any(cells):
            try:
                query_id, document_id, grade = cells
                score = int(grade)
            except ValueError:
                raise ReadError(
                    position, "not a query id, a document id and a whole number, separated by tabs"
                ) from None
            known = qrels.setdefault(query_id, {}).setdefault(document_id, score)
            if known != score:
                raise ReadError(
                    position, f"judges document {document_id!r} for query {query_id!r} {score}, an earlier line {known}"
                )
    return qrels


def _corpus(source: str) -> str:
    path = Path(source)
    return str(_find(path, CORPUS) if path.is_dir() else path)


def _find(folder: Path, name: str) -> Path:
    """Return the file of this name in a folder, plain or packed.

    :raises ReadError: If there is none, or more than one: they may differ.
    """
    found = _there(folder, name)
    if len(found) > 1:
        raise ReadError(str(folder), f"holds both {found[0].name} and {found[1].name}; keep the one that counts")
    if not found:
        names = " or ".join(_names(name))
        raise ReadError(str(folder), f"holds no {names}; a BEIR folder has both a corpus and queries")
    return found[0]


def _there(folder: Path, name: str) -> list[Path]:
    return [path for path in (folder / one for one in _names(name)) if path.is_file()]


def _names(name: str) -> list[str]:
    return [name + packed for packed in ("", *PACKED)]


def _find_split(folder: Path, split: str) -> Path:
    if _there(folder / "qrels", f"{split}.tsv"):
        return _find(folder / "qrels", f"{split}.tsv")
    there = sorted({path.name.partition(".tsv")[0] for path in (folder / "qrels").glob("*.tsv*")})
    splits = ", ".join(there) if there else "no split"
    raise ReadError(str(folder), f"has no qrels/{split}.tsv, plain or packed; in qrels/ there is {splits}")


def _accepts(path: Path) -> bool:
    names = _names(CORPUS)
    return any((path / name).is_file() for name in names) if path.is_dir() else path.name in names


READER = Reader(
    name="beir",
    description="BEIR data set: corpus.jsonl with _id, title, text; queries and qrels beside it serve evaluation",
    source="a folder with corpus.jsonl, plain, .gz or .zst, or that file itself",
    read=read,
    accepts=_accepts,
    rows=lambda source, fields: rows(_corpus(source), fields),
    again=again,
)
