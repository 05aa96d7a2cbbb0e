"""A report as a table: one row a task and system, then the means; what is published among them."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from medte_eval.report.model import Difference, Report, Scored, TaskScores
from medte_eval.report.standings import Leaderboard, Mean
from medte_eval.results import HEADLINE

_OF_A_TASK = ("task", "benchmark", "type", "source", "metric", "items", "sampled_queries", "data")
_OF_A_RUN = (
    *("documents", "chunks", "truncated", "index_seconds", "search_seconds", "timed", "p50_ms", "p99_ms"),
    *("queries_per_second", "vector_bytes", "index_bytes", "at_most", "learned_from"),
)
_SCORES = tuple(dict.fromkeys(name for names in HEADLINE.values() for name in names))
_TO_ALONE = ("difference", "low", "high", "p", "p_adjusted", "verdict")
_OF_A_MEAN = ("mean_of", "tasks", "of_tasks", "variants", "deviation")
_OF_ALL = ("mark", "system", "model", "published", "score")
COLUMNS = (*_OF_A_TASK, *_OF_ALL, *_SCORES, *_OF_A_RUN, *_TO_ALONE, "file", *_OF_A_MEAN, "run_seconds")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render_csv(report: Report) -> str:
    """Return the table.

    What is not known is empty; where several models stand alone, differences are to the first. Means have no task but
    `mean_of`: a ``type``, a ``source``, the means of the ``types``, or all ``tasks``, whose mean run time is known.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in _rows(report):
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return text.getvalue()


def _rows(report: Report) -> Iterator[dict[str, Any]]:
    differences = {(one.mark, one.compared.task): one for one in reversed(report.differences)}
    for task in report.tasks:
        about = _about(task)
        for one in task.scores:
            setup = report.setup(one.mark)
            yield {
                **about,
                **{"mark": one.mark, "system": setup.system, "model": setup.model, "score": one.score},
                **_measured(one),
                **_beside(differences.get((one.mark, task.name))),
            }
        for score in task.published:
            yield {**about, "model": score.model, "published": score.source, "score": score.score}
    for board in report.leaderboards:
        yield from _means(board, report)


def _means(board: Leaderboard, report: Report) -> Iterator[dict[str, Any]]:
    for row in board.rows:
        setup = None if row.mark is None else report.setup(row.mark)
        about = {
            "benchmark": board.name,
            **{"mark": row.mark, "system": setup and setup.system, "model": setup.model if setup else row.name},
            "published": row.published,
        }
        for kind, mean in row.means.items():
            yield {**about, "type": kind, **_mean("type", mean)}
        for source, mean in row.by_source.items():
            yield {**about, "source": source, **_mean("source", mean)}
        if row.mean is not None:
            yield {**about, "mean_of": "types", "score": row.mean}
        yield {**about, **_mean("tasks", row.over_tasks), "run_seconds": row.seconds}


def _mean(of: str, mean: Mean) -> Mapping[str, Any]:
    values = (of, len(mean.tasks), mean.of, mean.variants, mean.deviation)
    return {"score": mean.value, **dict(zip(_OF_A_MEAN, values, strict=True))}


def _about(task: TaskScores) -> Mapping[str, Any]:
    about = (task.name, task.benchmark, task.type, task.source)
    values = (*about, task.main_score, task.items, task.sampled_queries, task.data_sha256)
    return dict(zip(_OF_A_TASK, values, strict=True))


def _measured(one: Scored) -> Mapping[str, Any]:
    scores = {name: one.scores.get(name) for name in _SCORES}
    return {**scores, **{name: getattr(one, name) for name in _OF_A_RUN}, "file": one.file}


def _beside(one: Difference | None) -> Mapping[str, Any]:
    if one is None:
        return {}
    found = one.compared
    values = (found.difference, found.low, found.high, found.p, one.p_adjusted, one.verdict)
    return dict(zip(_TO_ALONE, values, strict=True))


def _harmless(value: object) -> object:
    """Keep a text from being a formula in a spreadsheet: https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
