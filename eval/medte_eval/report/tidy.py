"""A report as a table: one row a task and system, the published scores of tasks among them."""

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from medte_eval.report.model import Difference, Report, Scored, TaskScores
from medte_eval.results import HEADLINE

_OF_A_TASK = ("task", "benchmark", "type", "metric", "items", "sampled_queries", "data")
_OF_A_RUN = (
    *("documents", "chunks", "truncated", "index_seconds", "search_seconds", "timed", "p50_ms", "p99_ms"),
    *("queries_per_second", "vector_bytes", "index_bytes"),
)
_SCORES = tuple(dict.fromkeys(name for names in HEADLINE.values() for name in names))
_TO_ALONE = ("difference", "low", "high", "p", "p_adjusted", "verdict")
COLUMNS = (*_OF_A_TASK, "mark", "system", "model", "published", "score", *_SCORES, *_OF_A_RUN, *_TO_ALONE, "file")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def render_csv(report: Report) -> str:
    """Return the table. What is not known is empty; where several models stand alone, differences are to the first."""
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


def _about(task: TaskScores) -> Mapping[str, Any]:
    values = (task.name, task.benchmark, task.type, task.main_score, task.items, task.sampled_queries, task.data_sha256)
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
