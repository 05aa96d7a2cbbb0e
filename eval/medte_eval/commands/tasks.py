"""``medte-eval tasks``."""

import json

import typer

from es_ingest.commands.options import Json


def tasks(as_json: Json = False) -> None:
    """List the tasks."""
    from medte_eval.tasks import TASKS

    if as_json:
        rows = [
            {"name": row.usage, "type": row.type, "source": row.source, "description": row.description}
            for row in TASKS.values()
        ]
        typer.echo(json.dumps({"tasks": rows}, ensure_ascii=False))
        return
    for row in TASKS.values():
        typer.echo(f"{row.usage:18}{row.type}: {row.description}\n{'':18}source: {row.source}")
