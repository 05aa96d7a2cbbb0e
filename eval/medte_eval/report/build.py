"""Makes a report of folders with results."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from medte_eval.report.differences import find_differences
from medte_eval.report.leaderboard import make_leaderboards
from medte_eval.report.model import Report
from medte_eval.report.reading import Found, Result, read_folders
from medte_eval.report.scores import gather_scores
from medte_eval.report.setups import find_setups
from medte_eval.report.texts import read_texts
from medte_eval.report.worst import find_worst


def make_report(folders: Sequence[Path], *, texts: Sequence[str] = (), data_dir: Path | None = None) -> Report:
    """Make a report.

    :param folders: What `medte-eval run --out` has written; see `read_folders`.
    :param texts: Tasks of which queries and titles are shown, as ``--tasks`` of `medte-eval run` has them.
    :param data_dir: Where built tasks are, for their texts.
    :raises ResultError: If there is nothing to report.
    :raises UnknownTaskError: If there is no task of a name.
    :raises ReadError: If a task's data cannot be read.
    """
    found = read_folders(folders)
    setups = find_setups(found.results)
    tasks = gather_scores(found.results, setups)
    results = _ordered(found, [task.name for task in tasks], list(setups))
    shown, of_texts = read_texts(texts, results, data_dir) if texts else ({}, [])
    worst, of_worst = find_worst(results, setups, shown)
    differences, of_differences = find_differences(results, setups)
    return Report(
        folders=[folder.resolve().name for folder in folders],
        dates=_dates(results),
        versions=_versions(results),
        setups=list(setups.values()),
        leaderboards=make_leaderboards(tasks, list(setups.values())),
        tasks=tasks,
        differences=differences,
        worst=worst,
        failures=found.failures,
        left_out=found.left_out,
        notes=[*of_texts, *of_worst, *of_differences],
        has_texts=bool(shown),
    )


def _ordered(found: Found, tasks: Sequence[str], setups: Sequence[str]) -> list[Result]:
    return sorted(found.results, key=lambda one: (tasks.index(one.task.name), setups.index(one.setup)))


def _dates(results: Sequence[Result]) -> tuple[str, str] | None:
    if not results:
        return None
    written = [datetime.datetime.fromtimestamp(one.written, datetime.UTC).date().isoformat() for one in results]
    return min(written), max(written)


def _versions(results: Sequence[Result]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for one in results:
        server = one.run.system.get("server_version")
        for name, version in {**one.run.versions, **({"Elasticsearch server": server} if server else {})}.items():
            found.setdefault(name, set()).add(str(version))
    return {name: sorted(versions) for name, versions in found.items()}
