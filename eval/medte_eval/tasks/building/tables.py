"""Rows as the tables that are kept of them: one or two splits of examples, pairs, or corpus, queries and judgements."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from es_ingest.records import ReadError
from medte_eval.tasks.benchmark.task import BenchmarkTask
from medte_eval.tasks.building.folder import Tables
from medte_eval.tasks.rows import Example, Match, Pair, Row
from medte_haystack.encoder.tokenise import replace_surrogates

NO_TITLE = "No title"
"""What the benchmark gives every document for a title; mteb puts it before the text."""
_TEST_SHARE = 0.3


def tables_of(task: BenchmarkTask, rows: Sequence[Row], *, seed: int) -> tuple[Tables, list[str]]:
    """Return the tables of a task and the names of its label numbers.

    :param rows: Those that are kept, in their order.
    :raises ReadError: If they do not suffice for a task.
    """
    if not rows:
        raise ReadError(task.name, "its source gives no row")
    match task.kind:
        case "Classification":
            return _split(task, cast(Sequence[Example], rows), seed)
        case "Clustering":
            examples = cast(Sequence[Example], rows)
            labels = _labels(task, examples)
            return {"test": _examples(examples, labels)}, labels
        case "PairClassification":
            return {"test": _pairs(task, cast(Sequence[Pair], rows))}, []
        case "Retrieval":
            return _judged(cast(Sequence[Match], rows)), []


def licences_of(rows: Sequence[Row]) -> dict[str, int]:
    """Count the rows of each licence, where texts have their own."""
    return dict(Counter(row.licence for row in rows).most_common()) if any(row.licence for row in rows) else {}


def _labels(task: BenchmarkTask, rows: Sequence[Example]) -> list[str]:
    """Return the labels in the order of their appearance, in which they are numbered."""
    labels = list(dict.fromkeys(row.label for row in rows))
    if len(labels) < 2:
        raise ReadError(task.name, f"all {len(rows):,} rows are of the class {labels[0]!r}; it takes two")
    return labels


def _split(task: BenchmarkTask, rows: Sequence[Example], seed: int) -> tuple[Tables, list[str]]:
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]

    labels = _labels(task, rows)
    train, test = train_test_split(list(rows), test_size=_TEST_SHARE, random_state=seed)
    if len({row.label for row in train}) < 2:
        raise ReadError(task.name, f"only one class of its {len(rows):,} rows falls into the training part")
    return {"train": _examples(train, labels), "test": _examples(test, labels)}, labels


def _examples(rows: Sequence[Example], labels: Sequence[str]) -> Mapping[str, list[Any]]:
    number = {label: at for at, label in enumerate(labels)}
    return {
        **_sourced(rows),
        "text": [replace_surrogates(row.text) for row in rows],
        "label": [number[row.label] for row in rows],
    }


def _pairs(task: BenchmarkTask, rows: Sequence[Pair]) -> Mapping[str, list[Any]]:
    if len({row.label for row in rows}) < 2:
        raise ReadError(task.name, f"all {len(rows):,} pairs have one label; it takes both")
    return {
        **_sourced(rows),
        "sentence1": [replace_surrogates(row.first) for row in rows],
        "sentence2": [replace_surrogates(row.second) for row in rows],
        "label": [row.label for row in rows],
    }


def _judged(rows: Sequence[Match]) -> Tables:
    ids = [str(number) for number in range(len(rows))]
    return {
        "corpus": {
            "id": ids,
            "title": [NO_TITLE] * len(rows),
            "text": [replace_surrogates(row.second) for row in rows],
            **_sourced(rows),
        },
        "queries": {"id": ids, "text": [replace_surrogates(row.first) for row in rows]},
        "qrels": {"query-id": ids, "corpus-id": ids, "score": [1] * len(rows)},
    }


def _sourced(rows: Sequence[Row]) -> dict[str, list[str]]:
    licences = [replace_surrogates(row.licence) for row in rows]
    columns = {"source_id": [replace_surrogates(row.id) for row in rows]}
    return {**columns, "licence": licences} if any(licences) else columns
