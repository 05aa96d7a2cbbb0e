"""Published scores, to stand beside measured ones where task, data and metric are the same."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from statistics import fmean
from types import MappingProxyType
from typing import Any

from medte_eval.report.model import Published
from medte_eval.report.reading import Result
from medte_eval.report.standings import Mean, Standing
from medte_eval.tasks.benchmark import BENCHMARK, NAME

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        NAME: "means of all 51 tasks, read off the figures of github.com/MohammadKhodadad/MedTEB (types at two"
        " decimals), without prefixes on any model; its data is not published, and no two rebuilds of it are alike",
        "mteb": "github.com/embeddings-benchmark/results, and cards of models",
        "MedEmbed": "github.com/abhinand5/MedEmbed, mteb 1.15; queries without the models' prefixes",
    }
)
"""Where they are from."""

_SAME_DATA: Mapping[str, tuple[str, int, int]] = MappingProxyType(
    {
        "arguana": ("ArguAna", 8674, 1406),
        "nfcorpus": ("NFCorpus", 3633, 323),
        "scidocs": ("SCIDOCS", 25_657, 1000),
        "scifact": ("SciFact", 5183, 300),
        "trec-covid": ("TRECCOVID", 171_332, 50),
    }
)
"""Names of BEIR's folders: the task, its documents, and its judged queries in split test (Thakur et al., 2021)."""
_ASK_WITH_DOCUMENTS = ("ArguAna",)
"""Tasks whose published scores leave out what is found under a query's own id."""

_COMMIT = re.compile("[0-9a-f]{40}")
_Place = tuple[str, str]  # split and subset


def published_means() -> list[Standing]:
    """Return the published rows of the benchmark's leaderboard; the mean over tasks is that of the types' means."""
    tasks: dict[str, tuple[str, ...]] = {}
    for task in BENCHMARK.values():
        if not task.reserve:
            tasks[task.kind] = (*tasks.get(task.kind, ()), task.name)
    return [_published_mean(row, tasks) for row in _rows("medteb.csv")]


def _published_mean(row: Mapping[str, str], tasks: Mapping[str, tuple[str, ...]]) -> Standing:
    means = {kind: Mean(float(row[kind]), names, len(names)) for kind, names in tasks.items()}
    every = tuple(name for names in tasks.values() for name in names)
    over_tasks = fmean([mean.value for mean in means.values()], weights=[mean.of for mean in means.values()])
    return Standing(
        name=row["model"],
        mark=None,
        published=NAME,
        means=means,
        mean=float(row["mean"]),
        over_tasks=Mean(over_tasks, every, len(every)),
        by_source={},
        seconds=None,
    )


def find_published(results: Sequence[Result]) -> tuple[str | None, list[Published]]:
    """Return published scores of a task.

    :param results: Of one task.
    :returns: The task's name there, None if it is not known; and the scores, the best first: of those that have every
        split and subset of ours, and the same main score.
    """
    task = results[0].task
    if task.sampled_queries is not None or (name := _name(results)) is None:
        return None, []
    places = _places(results)
    found = [
        Published(model, source, fmean(scores[place] for place in places))
        for (source, model, metric), scores in _published().get(name, {}).items()
        if places and metric == task.main_score and places <= scores.keys()
    ]
    return (name, sorted(found, key=lambda one: (-one.score, one.model.lower()))) if found else (None, [])


def _name(results: Sequence[Result]) -> str | None:
    """Return the name of mteb's task that has the same data: by its commit there, or a BEIR folder by its sizes."""
    task = results[0].task
    if _COMMIT.fullmatch(task.data_sha256 or ""):
        return task.name
    name, *sizes = _SAME_DATA.get(task.name.lower(), (None,))
    if name in _ASK_WITH_DOCUMENTS and not task.ignore_identical_ids:
        return None
    found = ([one.run.counts.get(what) for what in ("documents", "queries")] for one in results)
    return name if any(one == sizes for one in found) else None


def _places(results: Sequence[Result]) -> set[_Place]:
    """Return the splits and subsets of a task, by mteb's own result file."""
    for one in results:
        try:
            found: Any = json.loads((one.path.parent / one.run.files["mteb"]).read_text("utf-8"))
            return {(split, row["hf_subset"]) for split, rows in found["scores"].items() for row in rows}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return set()


@cache
def _published() -> Mapping[str, Mapping[tuple[str, str, str], Mapping[_Place, float]]]:
    """Return tasks to source, model and metric to split and subset to scores."""
    found: dict[str, dict[tuple[str, str, str], dict[_Place, float]]] = {}
    for row in _rows("tasks.csv"):
        key = row["source"], row["model"], row["metric"]
        found.setdefault(row["task"], {}).setdefault(key, {})[row["split"], row["subset"]] = float(row["score"])
    return found


def _rows(name: str) -> list[dict[str, str]]:
    with (files("medte_eval.report") / "published" / name).open(encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
