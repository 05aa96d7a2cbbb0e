"""Prints what a tuning found, and how far it can be trusted."""

import json

import typer
from rich.table import Table
from rich.text import Text

from es_ingest.terminal import console_on
from es_ingest.tuning.measure import Measured
from es_ingest.tuning.picture import in_terminal
from es_ingest.tuning.tune import Conditions, Tuning


def print_tuning(tuning: Tuning, *, as_json: bool) -> None:
    """Print table, picture, recommendation and reservations, or one JSON object."""
    if as_json:
        typer.echo(json.dumps({**tuning.to_dict(), "notes": notes(tuning.conditions)}, ensure_ascii=False))
        return
    console = console_on()
    with console.capture() as shown:
        console.print(_table(tuning))
        console.print(in_terminal(tuning))
        console.print()
        for line in recommendation(tuning):
            console.print(Text(line))
        for line in notes(tuning.conditions):
            console.print(Text(f"- {line}", style="dim"))
    typer.echo(shown.get(), nl=False)  # rich would end the process itself when the pipe is closed


def recommendation(tuning: Tuning) -> list[str]:
    """Say which setting to take, how it compares with today's, and how to get it."""
    conditions, best = tuning.conditions, tuning.recommended
    if best is None:
        lines = [
            f"no setting reaches recall@{conditions.top_k} {conditions.wanted_recall:g};"
            f" the nearest is {_said(tuning.nearest)}",
            "try more candidates (--num-candidates) or oversampling (--oversampling), or hnsw (--quantisation hnsw)",
        ]
    else:
        lines = [f"recommended: {_said(best)}"]
        lines += [f"or:          {_said(one)}" for one in tuning.reaching[1:]]
    if tuning.today is not None:
        lines.append(f"today:       {_said(tuning.today)}")
    if best is not None:
        lines.append(f"a search for it has in its knn part: {json.dumps(best.setting.knn(conditions.top_k))}")
        kind = best.setting.quantisation
        if kind != conditions.quantisation:
            lines.append(
                f"the index is {conditions.quantisation}: es-ingest rebuild {conditions.index} --quantisation {kind}"
            )
    return lines


def notes(conditions: Conditions) -> list[str]:
    """Say what the figures hold for, and in which direction they err."""
    merged = "merged into one segment a shard" if conditions.force_merged else "not force-merged"
    kept = ", ".join(f"{kind} {count}" for kind, count in conditions.segments.items())
    found = [
        f"latency: {conditions.requests:,} requests for each setting, one at a time and in turns, as this client sees"
        f" them, on copies that hold vectors alone (shards: {conditions.shards}, as the index has; segments: {kept},"
        f" {merged}, where the index has {conditions.index_segments}); texts, filters and other users come on top",
        f"recall: mean over {conditions.queries:,} queries, with its standard error",
    ]
    if conditions.vectors + conditions.queries < conditions.in_index:
        found.append(
            f"measured on a sample of {conditions.vectors:,} of {conditions.in_index:,} vectors: recall and latency are"
            " optimistic, for more vectors are harder to tell apart; --vectors takes more"
        )
    if conditions.queries_from == "index":
        found.append(
            "the queries are vectors of documents, which were kept out of the copies; those of people differ from"
            " documents and are often found less well: give some by --queries"
        )
    return found


def _said(one: Measured) -> str:
    return (
        f"{one.setting}: recall {one.recall:.4f} ± {one.recall_error:.4f}, median {one.p50_ms:.2f} ms,"
        f" p99 {one.p99_ms:.2f} ms"
    )


def _table(tuning: Tuning) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("quantisation", no_wrap=True)
    for name in ("oversampling", "num_candidates", f"recall@{tuning.conditions.top_k}", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    best = tuning.recommended
    for one in tuning.settings:
        marks = [name for name, it in (("★", best), ("today", tuning.today)) if it is one]
        reaches = one.recall >= tuning.conditions.wanted_recall
        table.add_row(
            one.setting.quantisation,
            "–" if one.setting.rescored is None else f"{one.setting.oversampling:g}",  # noqa: RUF001
            f"{one.setting.num_candidates:,}",
            Text(f"{one.recall:.4f}", style="bold" if reaches else ""),
            f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}",
            " ".join(marks),
        )
    return table
