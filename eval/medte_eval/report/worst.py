"""The queries that went worst, with what was wanted and what was found."""

import math
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path

from medte_eval.items import trec_word
from medte_eval.report.model import Hit, Setup, Worst, WorstQuery
from medte_eval.report.reading import Result
from medte_eval.report.texts import TaskTexts

_SHOWN = 10  # queries of a task on a setup
_TOP = 3  # documents found of each
_WANTED = 3  # relevant documents of each
_MEASURES = ("ndcg_at_10", "mrr_at_10", "recall_at_10")

Numbers = Mapping[str, Mapping[str, int]]
"""Queries to documents to ranks, or to grades."""


def find_worst(
    results: Sequence[Result], setups: Mapping[str, Setup], texts: Mapping[str, TaskTexts]
) -> tuple[list[Worst], list[str]]:
    """Return the worst queries of every retrieval task on every setup.

    :param results: Of the tasks in their order.
    :param setups: See `find_setups`.
    :param texts: Tasks to what may be shown of them beside ids.
    :returns: They, and notes on results whose queries cannot be read.
    """
    found: list[Worst] = []
    notes: list[str] = []
    for one in results:
        if one.task.type != "Retrieval" or not one.run.files.keys() >= {"items", "run", "qrels"}:
            continue
        try:
            found.append(_worst(one, setups[one.setup].mark, texts.get(one.task.name, TaskTexts())))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            notes.append(f"{one.path.name}: its queries cannot be read ({type(error).__name__}); run the task again")
    return found, notes


def _worst(result: Result, mark: str, texts: TaskTexts) -> Worst:
    rows = {trec_word(str(row["id"])): row for row in result.items()}
    if not all(math.isfinite(row[name]) for row in rows.values() for name in _MEASURES):
        raise ValueError("a score is no number")
    measured = {query: [float(row[name]) for name in _MEASURES] for query, row in rows.items()}
    limit = sorted(measured.values())[:_SHOWN][-1:]
    candidates = [query for query, own in measured.items() if [own] <= limit]
    grades, ranks = _read(result, candidates)

    def badness(query: str) -> tuple[object, ...]:
        first = min(
            (rank for document, rank in ranks[query].items() if grades[query].get(document, 0) > 0), default=math.inf
        )
        return (measured[query], -first, query)

    return Worst(
        task=result.task.name,
        mark=mark,
        queries=len(rows),
        empty=sum(row["recall_at_10"] == 0 for row in rows.values()),
        shown=[
            _query(query, measured[query][0], ranks[query], grades[query], texts)
            for query in sorted(candidates, key=badness)[:_SHOWN]
        ],
    )


def _query(
    query: str, score: float, ranks: Mapping[str, int], grades: Mapping[str, int], texts: TaskTexts
) -> WorstQuery:
    def hit(document: str) -> Hit:
        return Hit(document, ranks.get(document), grades.get(document, 0), texts.titles.get(document))

    relevant = [document for document, grade in grades.items() if grade > 0]
    wanted = sorted(relevant, key=lambda one: (ranks.get(one, math.inf), -grades[one], one))
    found = sorted((document for document, rank in ranks.items() if rank <= _TOP), key=lambda one: ranks[one])
    return WorstQuery(
        id=query,
        text=texts.queries.get(query),
        score=score,
        relevant=len(relevant),
        wanted=[hit(one) for one in wanted[:_WANTED]],
        found=[hit(one) for one in found],
    )


def _read(result: Result, queries: Sequence[str]) -> tuple[Numbers, Numbers]:
    """Return grades of documents, and the ranks of those that are graded or were found first."""
    folder, files = result.path.parent, result.run.files
    grades: dict[str, dict[str, int]] = {query: {} for query in queries}
    ranks: dict[str, dict[str, int]] = {query: {} for query in queries}
    for query, document, grade in _lines(folder / files["qrels"], grades):
        grades[query][document] = grade
    for query, document, rank in _lines(folder / files["run"], ranks):
        if rank <= _TOP or document in grades[query]:
            ranks[query][document] = rank
    return grades, ranks


def _lines(path: Path, queries: Container[str]) -> Iterator[tuple[str, str, int]]:
    """Give query, document, and the fourth column: the rank in a run, the grade in judgements."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            query, _, document, number, *_ = line.split(" ")
            if query in queries:
                yield query, document, int(number)
