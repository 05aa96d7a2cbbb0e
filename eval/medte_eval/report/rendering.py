"""A report as a page that asks nothing of the network, and as Markdown."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from functools import cache, partial
from typing import Any, TypeVar

from jinja2 import Environment, PackageLoader, StrictUndefined

from medte_eval.comparison import SIGNIFICANT
from medte_eval.report import charts, columns, writing
from medte_eval.report.model import Report, TaskScores
from medte_eval.report.terminal import score_name, short
from medte_eval.tasks.benchmark import NAME

T = TypeVar("T")

TITLE = "medte evaluation report"
_STYLES = ("page.css", "tables.css", "charts.css", "lists.css")
_LONG = 60  # rows of a table; one with more is folded away
_MARKDOWN = re.compile(r"[\\`*|<>&\[\]]")


def render_html(report: Report) -> str:
    """Return one page with everything in it; every text is escaped, and its policy forbids all requests."""
    style, script = "".join(map(_text, _STYLES)), _text("report.js")
    limit = charts.widest(report.differences)
    return (
        _environment(html=True)
        .get_template("report.html")
        .render(
            **_shown(report),
            style=style,
            script=script,
            policy=_policy(style, script),
            sections=_sections(report),
            differences=_grouped(report.differences, lambda one: (one.mark, one.baseline)),
            by_kind=_grouped(report.tasks, lambda task: (task.benchmark, task.type)),
            several_models=len({one.baseline for one in report.differences}) > 1,
            limit=f"{limit:g}",
            across=partial(charts.across, limit=limit),
        )
    )


def render_markdown(report: Report) -> str:
    """Return the same figures as Markdown."""
    return _environment(html=False).get_template("report.md").render(**_shown(report))


def _shown(report: Report) -> dict[str, Any]:
    names = {setup.mark: setup.name for setup in report.setups}
    return {
        "report": report,
        "title": TITLE,
        "published": _published(report),
        "costs": _timed(report),
        "failed": writing.failed_together(report),
        "results": sum(len(task.scores) for task in report.tasks),
        "task_bars": partial(charts.task_bars, names=names),
    }


def _published(report: Report) -> list[TaskScores]:
    return [task for task in report.tasks if task.published and any(one.score is not None for one in task.scores)]


def _timed(report: Report) -> list[TaskScores]:
    return [task for task in report.tasks if any(one.p50_ms is not None for one in task.scores)]


def _grouped(rows: Iterable[T], key: Callable[[T], tuple[str, str]]) -> list[tuple[tuple[str, str], list[T]]]:
    found: dict[tuple[str, str], list[T]] = {}
    for one in rows:
        found.setdefault(key(one), []).append(one)
    return list(found.items())


def _policy(style: str, script: str) -> str:
    """Return the page's Content-Security-Policy: its own style and script, and nothing else."""
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in (style, script)]
    return (
        f"default-src 'none'; style-src 'sha256-{hashes[0]}'; script-src 'sha256-{hashes[1]}'; img-src data:;"
        " base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )


def _sections(report: Report) -> list[tuple[str, str]]:
    every: list[tuple[str, str, object]] = [
        *((f"board-{at}", board.name, True) for at, board in enumerate(report.leaderboards, start=1)),
        ("published", "Beside published scores", _published(report)),
        ("differences", "Costs and gains", report.differences),
        ("costs", "Quality, latency, memory", _timed(report)),
        ("tasks", "Scores by task", report.tasks),
        ("worst", "Worst queries", report.worst),
        ("failed", "Failed and left out", report.failures or report.left_out or report.notes),
        ("about", "How it was made", True),
    ]
    return [(id_, name) for id_, name, there in every if there]


@cache
def _environment(*, html: bool) -> Environment:
    found = Environment(
        loader=_loader(),
        autoescape=html,  # noqa: S701  Markdown is escaped by `_plain`
        finalize=None if html else _plain,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    functions: dict[str, Any] = {
        "by_type": charts.bars_by_type,
        "tradeoff": charts.tradeoff,
        "unbeaten": charts.unbeaten,
        "of_board": columns.of_board,
        "of_sources": columns.of_sources,
        "of_setups": columns.of_setups,
        "of_differences": columns.of_differences,
        "about_board": writing.about_board,
        "about_published": writing.about_published,
        "averaged": writing.averaged,
        "groups": writing.groups,
        "metrics": writing.metrics,
        "beside_alone": writing.beside_alone,
        "about_score": writing.about_score,
        "notes_of": writing.notes_of,
    }
    values = {"benchmark": NAME, "significant": SIGNIFICANT, "height": charts.HEIGHT, "long": _LONG}
    found.globals |= functions | values | {"verdicts": writing.VERDICTS, "of_costs": columns.COSTS}
    found.filters |= {
        "score": writing.score,
        "about_mean": writing.about_mean,
        "signed": writing.signed,
        "chance": writing.chance,
        "tenths": writing.tenths,
        "megabytes": writing.megabytes,
        "whole": writing.whole,
        "count": writing.count,
        "type_name": writing.type_name,
        "score_name": score_name,
        "short": short,
    }
    return found


def _plain(value: object) -> object:
    """Escape what Markdown would take for more than text, and keep it on its line."""
    if not isinstance(value, str):
        return value
    line = " ".join(value.splitlines())
    return _MARKDOWN.sub(lambda one: f"&#{ord(one[0])};" if one[0] in "<>&" else f"\\{one[0]}", line)


def _loader() -> PackageLoader:
    return PackageLoader("medte_eval.report")


def _text(name: str) -> str:
    found, _, _ = _loader().get_source(Environment(), name)  # noqa: S701  of a file that is no template
    return found
