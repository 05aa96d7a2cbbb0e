"""Prints outcomes on stdout: a plain table for people, one JSON object for programs."""

import json
from collections.abc import Sequence

import typer

from medte_eval.results import HEADLINE, Outcome

_NAMES = {"ndcg_at_10": "nDCG@10", "recall_at_10": "recall@10", "recall_at_1": "recall@1", "mrr_at_10": "MRR@10"}


def print_outcomes(outcomes: Sequence[Outcome], *, as_json: bool) -> None:
    """Print what was measured.

    :param outcomes: In the order in which they were run.
    :param as_json: Print ``{"results": […]}`` instead.
    """
    if as_json:
        found = {"results": [outcome.to_dict() for outcome in outcomes]}
        typer.echo(json.dumps(found, ensure_ascii=False, allow_nan=False))
        return
    heads = ["task", "system", *(_NAMES[name] for name in HEADLINE), "queries", "documents", "chunks", "index s"]
    table = [[*heads, "search s"], *(_row(outcome) for outcome in outcomes)]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        cells = [cell.ljust(width) if at < 2 else cell.rjust(width) for at, (cell, width) in _numbered(row, widths)]
        typer.echo("  ".join(cells).rstrip())
    typer.echo()
    for name, values in _details(outcomes).items():
        for value in values:
            typer.echo(f"{name:8}{value}")


def _numbered(row: list[str], widths: list[int]) -> list[tuple[int, tuple[str, int]]]:
    return list(enumerate(zip(row, widths, strict=True)))


def _row(outcome: Outcome) -> list[str]:
    kind = outcome.system.get("index_options", {}).get("type")
    return [
        outcome.task["name"],
        f"{outcome.system['name']} ({kind})" if kind else outcome.system["name"],
        *(f"{outcome.scores[name]:.4f}" for name in HEADLINE),
        *(f"{outcome.counts[name]:,}" for name in ("queries", "documents", "chunks")),
        *(f"{outcome.seconds[name]:.1f}" for name in ("indexing", "searching")),
    ]


def _details(outcomes: Sequence[Outcome]) -> dict[str, list[str]]:
    """Return what the table has no room for, each line once."""
    lines: dict[str, dict[str, None]] = {"task": {}, "model": {}, "system": {}, "note": {}}
    for outcome in outcomes:
        model, system = outcome.model, dict(outcome.system)
        revision = model["revision"] or "no revision"
        lines["task"][f"{outcome.task['name']}: {outcome.task['description']}"] = None
        lines["model"][
            f"{model['name']}, {revision[:12]}, weights {model['weights_sha256'][:12]}, {model['dim']} dimensions,"
            f" {model['max_tokens']} tokens, {model['precision']}"
        ] = None
        name, server = system.pop("name"), system.pop("server_version")
        parts = [f"Elasticsearch {server}"] if server else []
        parts += [f"{key} {_short(value)}" for key, value in system.items() if value is not None]
        lines["system"][f"{name}: {', '.join(parts) if parts else 'exact search by mteb'}"] = None
        lines["note"].update(dict.fromkeys(outcome.notes))
    return {name: list(found) for name, found in lines.items()}


def _short(value: object) -> str:
    if isinstance(value, dict):
        return "/".join(f"{name}={one}" for name, one in value.items())
    return "+".join(map(str, value)) if isinstance(value, list) else str(value)
