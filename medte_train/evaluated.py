"""What evaluation tasks and files hold: their texts, and ids of what these were made of."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from es_ingest.readers import detect, read
from es_ingest.readers.jsonl import SUFFIXES, json_rows
from es_ingest.readers.streams import PACKED, read_lines
from es_ingest.records import Malformed, ReadError, Record

if TYPE_CHECKING:
    from mteb.abstasks.abstask import AbsTask

    from medte_eval.tasks.content import Judged

T = TypeVar("T")

_TEXT_FILES = tuple(f".txt{packed}" for packed in ("", *PACKED))
_KINDS = ("pmid", "pmcid", "doi", "nct", "hadm_id", "subject_id", "note_id")
_OTHER_NAMES = MappingProxyType({"pubmed_id": "pmid", "nct_id": "nct", "pageid": "wikipedia"})


class Row(NamedTuple):
    """Texts that belong together, and ids of what they were made of, by their kind."""

    texts: tuple[str, ...]
    keys: Mapping[str, str] = MappingProxyType({})


def evaluated(
    names: Sequence[str], *, data: Path | None = None, data_dir: Path | None = None
) -> Iterator[tuple[str, Iterator[Row]]]:
    """Give what is evaluated on, one task or file after the other.

    :param names: Tasks as `medte-eval run --tasks` has them, and files: ``.txt`` with a text a line, JSON Lines whose
        strings are texts (pairs, say), and whatever `es-ingest` reads.
    :param data: See `medte_eval.tasks.find_tasks`, as is `data_dir`.
    :returns: Names, and all rows of each. Of a task that mteb defines these are its loaded splits.
    :raises UnknownTaskError: If a name is neither a file nor a task.
    :raises ReadError: If a task is not built or its data cannot be had; while iterating, if a file cannot be read.
    """
    from medte_eval.tasks import UnknownTaskError, find_tasks

    tasks = []
    for name in names:
        if Path(name).is_file():
            yield name, _of_file(name)
        elif Path(name).is_dir():
            raise UnknownTaskError(f"{name} is a folder; write beir:{name} if it is a BEIR data set, or name its files")
        else:
            tasks.append(name)
    for row, options in find_tasks(tasks, data=data, data_dir=data_dir) if tasks else ():
        yield row.name, rows_of(row.make(options))


def rows_of(task: "AbsTask") -> Iterator[Row]:
    """Give the rows of a task, its training part included if it has one.

    :raises ReadError: If its data cannot be had.
    """
    from medte_eval.tasks.beir import BeirRetrieval
    from medte_eval.tasks.built import BuiltTask
    from medte_eval.tasks.medquad import MedQuADRetrieval

    if isinstance(task, BuiltTask):
        yield from _of_built(task)
    elif isinstance(task, BeirRetrieval):
        yield from _of_beir(task.folder)
    elif isinstance(task, MedQuADRetrieval):
        judged = task.read()
        yield from (Row((text,), {"medquad": id_}) for id_, _, text in judged.corpus)
        yield from _of_judgements(judged)
    else:
        task.load_data()
        yield from _of_mteb(task.dataset)


def _of_file(path: str) -> Iterator[Row]:
    """Give a file's rows; unlike a corpus that is indexed, nothing of it may be left out quietly."""
    if path.lower().endswith(_TEXT_FILES):
        yield from (Row((line.decode("utf-8", "replace"),)) for _, line in _good(read_lines(path)))
    elif path.lower().endswith(SUFFIXES):
        for _, row in _good(json_rows(path)):
            yield _of_values(row)
            if isinstance(row.get("anchor_keys"), Mapping):  # of a pair
                yield _of_values({"keys": row["anchor_keys"]})
    else:
        yield from (_of_record(one) for one in _good(read([path], detect([path]))) if isinstance(one, Record))


def _good(rows: Iterable[T | Malformed]) -> Iterator[T]:
    for row in rows:
        if isinstance(row, Malformed):
            raise ReadError(row.position, row.reason)
        yield row


def _of_record(record: Record) -> Row:
    meta = _of_values(record.meta)
    return Row((record.title, record.text, f"{record.title} {record.text}", *meta.texts), meta.keys)


def _of_values(row: Mapping[str, Any]) -> Row:
    """Take the strings of a row for texts, those in lists and objects too, and what is called as ids are for ids."""
    keys: dict[str, str] = {}
    texts: list[str] = []
    for name, value in row.items():
        kind = _OTHER_NAMES.get(name.lower(), name.lower())
        if isinstance(value, str | int) and kind in _KINDS:
            keys[kind] = str(value)
        elif name == "keys" and isinstance(value, Mapping):  # of a pair
            keys |= {kind: str(one) for kind, one in value.items()}
        elif name != "anchor_keys":
            texts += _strings(value)
    return Row(tuple(texts), keys)


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(one)


def _of_beir(folder: Path) -> Iterator[Row]:
    from medte_eval.sources.beir import read_beir
    from medte_eval.tasks.content import Judged

    found = read_beir(folder)
    yield from map(_of_record, found.corpus)
    corpus = [(one.id, one.title, one.text) for one in found.corpus]
    yield from _of_judgements(Judged(corpus, found.queries, found.relevant))


def _of_judgements(judged: "Judged") -> Iterator[Row]:
    """Give every query, and with each of its relevant documents."""
    texts = {id_: text for id_, _, text in judged.corpus}
    for query, text in judged.queries.items():
        yield Row((text,))
        yield from (Row((text, texts[one])) for one in judged.relevant.get(query, ()) if one in texts)


def _of_built(task: Any) -> Iterator[Row]:
    """Give the rows of a built task's tables with the ids that their sources have."""
    from medte_eval.tasks.benchmark import BENCHMARK
    from medte_eval.tasks.building.folder import read_built
    from medte_eval.tasks.content import Judged, read_content

    content, manifest = read_content(task.folder)  # checks that it is what it says
    tables, _ = read_built(task.folder)
    key = _KEY_OF[BENCHMARK[manifest.task].source]
    for table in tables.values():
        texts = [table[name] for name in ("text", "sentence1", "sentence2") if name in table]
        if texts and "source_id" in table:
            for id_, *some in zip(table["source_id"], *texts, strict=True):
                yield Row(tuple(some), key(id_))
    if isinstance(content, Judged):
        yield from _of_judgements(content)


def _of_mteb(dataset: Any) -> Iterator[Row]:
    """Give the rows of mteb's data sets, whatever their shape: by subset and split, with columns of texts or lists."""
    if not isinstance(dataset, Mapping):
        for row in dataset:
            strings = [value for value in row.values() if isinstance(value, str)]
            yield Row(tuple(strings))
            yield from (Row((text,)) for value in row.values() if isinstance(value, list) for text in _strings(value))
        return
    relevant = dataset.get("relevant_docs")
    if relevant is None:
        for part in dataset.values():
            yield from _of_mteb(part)
        return
    corpus = [(str(row["id"]), row.get("title") or "", row["text"]) for row in dataset["corpus"]]
    for _, title, text in corpus:
        yield Row((title, text, f"{title} {text}"))
    from medte_eval.tasks.content import Judged

    queries = {str(row["id"]): " ".join(_strings(row["text"])) for row in dataset["queries"]}
    yield from _of_judgements(Judged(corpus, queries, relevant))


def _last(kind: str) -> Callable[[str], Mapping[str, str]]:
    """Return what reads ``category/id``, or ``id+`` of a positive pair and ``id-`` of a negative one."""
    return lambda id_: {kind: id_.rpartition("/")[2].rstrip("+-")}


def _page(id_: str) -> Mapping[str, str]:
    """Read ``category/page/section`` or ``page+``."""
    found = re.search(r"(?:^|/)(\d+)(?:/|[+-]?$)", id_)
    return {"wikipedia": found[1]} if found else {}


def _question(kind: str) -> Callable[[str], Mapping[str, str]]:
    """Return what reads ``split/question`` or ``split/question/letter``."""
    return lambda id_: {kind: id_.split("/")[1]}


_KEY_OF: Mapping[str, Callable[[str], Mapping[str, str]]] = MappingProxyType(
    {
        "wikipedia": _page,
        "pmc": _last("pmcid"),
        "pubmed": _last("pmid"),
        "trials": _last("nct"),
        "biorxiv": lambda id_: {"doi": id_},
        "medrxiv": lambda id_: {"doi": id_},
        "medmcqa": _question("medmcqa"),
        "medqa": _question("medqa"),
        "medquad": lambda id_: {"medquad": id_},
        "mimic": _last("hadm_id"),
    }
)
"""How the ids of a built task's rows name what they were made of, by the task's source."""
