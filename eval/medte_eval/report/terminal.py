"""Prints results on stdout: plain tables for people, one JSON object for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from medte_eval.results import HEADLINE, PREFIXES

if TYPE_CHECKING:
    from medte_eval.comparison import Comparison
    from medte_eval.report.model import Report
    from medte_eval.report.standings import Mean, Standing
    from medte_eval.tuning import Tuned

_NAMES = {
    "ndcg_at_10": "nDCG@10",
    "recall_at_10": "recall@10",
    "recall_at_1": "recall@1",
    "mrr_at_10": "MRR@10",
    "f1": "F1",
    "v_measure": "V-measure",
    "similarity_f1": "F1",
    "similarity_ap": "AP",
    "similarity_accuracy": "accuracy",
}
_COUNTS = ("queries", "documents", "chunks")

Result = Mapping[str, Any]
"""What `Outcome.to_dict` gives."""


def print_results(results: Sequence[Result], failures: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Print what was measured, and what could not be.

    :param results: In the order in which they were run.
    :param failures: See `Failure.to_dict`.
    :param as_json: Print ``{"results": […], "failures": […]}`` instead.
    """
    if as_json:
        found = {"results": results, "failures": failures}
        typer.echo(json.dumps(found, ensure_ascii=False, allow_nan=False))
        return
    for kind in dict.fromkeys(one["task"]["type"] for one in results):
        print_table(list(_table(kind, [one for one in results if one["task"]["type"] == kind])))
        typer.echo()
    for name, values in _details(results).items():
        for value in values:
            typer.echo(f"{name:8}{value}")
    for one in failures:
        typer.echo(f"failed  {one['task']}{' on ' + one['system'] if one['system'] else ''}: {one['message']}")


def print_table(table: Sequence[Sequence[str]], *, left: int = 2) -> None:
    """Print rows of equally many cells in columns.

    :param left: How many columns are flush left.
    """
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = [
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        typer.echo("  ".join(cells).rstrip())


def score_name(name: str) -> str:
    """Return a score's name as people write it."""
    return _NAMES.get(name, name)


def system_name(result: Result) -> str:
    """Return a system's name with what tells it from others of its kind."""
    system = result["system"]
    kind = (system.get("index_options") or {}).get("type")
    chunks = system.get("chunk_tokens")
    parts = [kind, chunks and f"chunks of {chunks}", system.get("fusion"), system.get("index")]
    told = ", ".join(str(part) for part in parts if part)
    return f"{system['name']} ({told})" if told else str(system["name"])


def _table(kind: str, results: Sequence[Result]) -> Iterable[list[str]]:
    scores = list(dict.fromkeys((*HEADLINE.get(kind, ()), *(one["task"]["main_score"] for one in results))))
    scores = [name for name in scores if any(name in one["scores"] for one in results)]
    times = {"indexing": "index s", "searching": "search s"}
    timed = any(one["latency"] for one in results)
    yield ["task", "system", *map(score_name, scores), *_COUNTS, *times.values(), *(["p50 ms", "p99 ms"] * timed)]
    for one in results:
        yield [
            one["task"]["name"],
            system_name(one),
            *(f"{one['scores'][name]:.4f}" if name in one["scores"] else "-" for name in scores),
            *(f"{one['counts'][name]:,}" for name in _COUNTS),
            *(f"{one['seconds'][name]:.1f}" for name in times),
            *([f"{(one['latency'] or {}).get(name, 0):.1f}" for name in ("p50_ms", "p99_ms")] * timed),
        ]


def _details(results: Sequence[Result]) -> dict[str, list[str]]:
    """Return what the tables have no room for, each line once."""
    lines: dict[str, dict[str, None]] = {"task": {}, "model": {}, "system": {}, "note": {}}
    for one in results:
        lines["task"][f"{one['task']['name']}: {one['task']['description']}"] = None
        if one["model"]["name"]:
            lines["model"][_model(one["model"])] = None
        system = dict(one["system"])
        system.pop("name")
        server = system.pop("server_version")
        parts = [f"Elasticsearch {server}"] if server else []
        parts += [f"{key} {short(value)}" for key, value in system.items() if value is not None]
        if one.get("index_bytes"):
            parts.append(f"{one['index_bytes'] / 1e6:,.1f} MB")
        lines["system"][f"{system_name(one)}: {', '.join(parts) if parts else 'exact search by mteb'}"] = None
        lines["note"].update(dict.fromkeys(f"{one['task']['name']}: {note}" for note in one["notes"]))
    reused = sum(bool(one.get("reused")) for one in results)
    if reused:
        lines["note"][f"{reused} of {len(results)} results were there already; --fresh makes them anew"] = None
    return {name: list(found) for name, found in lines.items()}


def _model(model: Mapping[str, Any]) -> str:
    revision = model["revision"] or "no revision"
    prefixes = "".join(f", {name.replace('_', ' ')} {model[name]!r}" for name in PREFIXES if model.get(name))
    return (
        f"{model['name']}, {revision[:12]}, weights {model['weights_sha256'][:12]}, {model['dim']} dimensions,"
        f" {model['max_tokens']} tokens, {model['precision']}{prefixes}"
    )


def short(value: object) -> str:
    """Return a setting's value in a few words."""
    if isinstance(value, dict):
        return "/".join(f"{name}={one}" for name, one in value.items())
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)


def print_comparisons(found: "Sequence[Comparison]") -> None:
    """Print comparisons as a table."""
    table = [["task", "of each item", "items", "A", "B", "B - A", "95 % interval", "p", "better", "worse"]]
    for one in found:
        interval = "-" if one.low is None or one.high is None else f"{one.low:+.4f} to {one.high:+.4f}"
        table.append(
            [
                one.task,
                "main score" if one.measure is None else score_name(one.measure),
                *(f"{one.items:,}", f"{one.a:.4f}", f"{one.b:.4f}", f"{one.difference:+.4f}", interval),
                "-" if one.p is None else f"{one.p:.4f}",
                *("-" if number is None else f"{number:,}" for number in (one.better, one.worse)),
            ]
        )
    print_table(table)


def print_tuned(tuned: "Tuned", file: str) -> None:
    """Print learned weights and how they do."""
    from medte_eval.comparison import SIGNIFICANT

    learned, compared = tuned.learned, tuned.comparison
    weights = ", ".join(f"{one:g}" for one in learned.weights)
    typer.echo(f"learned from {tuned.train:,} queries: fusion {learned.fusion}, weights {weights}")
    names = {"dense": "dense alone", "bm25": "BM25 alone", "default": "hybrid, defaults", "learned": "hybrid, learned"}
    rows = [[names[name], f"{score:.4f}"] for name, score in tuned.scores.items()]
    print_table([[f"{compared.items:,} held-out queries", "nDCG@10"], *rows], left=1)
    typer.echo()
    print_comparisons([compared])
    if compared.difference <= 0 or (compared.p or 0) >= SIGNIFICANT:
        typer.echo("the learned weights are not better than the defaults by more than chance, so keep these")
    typer.echo(f"written to {file}, for `medte-eval run --system hybrid --weights {file}` on other queries than these")


def print_leaderboards(report: "Report") -> None:
    """Print the leaderboards of a report, and what failed."""
    from medte_eval.report.writing import failed_together, groups, score, type_name

    def cell(mean: "Mean | None", row: "Standing") -> str:
        value = score(mean.value if mean else None, rounded=row.published is not None)
        return f"{value} ({len(mean.tasks)}/{mean.of})" if mean and not mean.whole else value

    for board in report.leaderboards:
        table = [[board.name, *map(type_name, board.types), "mean of types", "mean of tasks"]]
        for row in (row for rows in groups(board) for row in rows):
            name = f"{row.name}, published" if row.published else f"{row.mark} {row.name}"
            of_types = [cell(row.means.get(kind), row) for kind in board.types]
            table.append([name, *of_types, score(row.mean), cell(row.over_tasks, row)])
        print_table(table, left=1)
        typer.echo()
    for tasks, system, message in failed_together(report):
        typer.echo(f"failed  {', '.join(tasks)}{f' on {system}' if system else ''}: {message}")
