"""The commands together: who asks for JSON gets an object on stdout even where a command fails before it has one."""

import json
from typing import Any

import typer
from typer.core import TyperGroup

from es_ingest.faults import Ended


class Commands(TyperGroup):
    """Commands whose errors are, with ``--json``, also ``{"error": …, "exit_status": …}`` on stdout."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]
        """Run the command that is asked for."""
        as_json = "--json" in ctx.args
        try:
            return super().invoke(ctx)
        except (typer.TyperException, Ended) as error:
            if as_json:
                message = error.message if isinstance(error, Ended) else error.format_message()
                typer.echo(json.dumps({"error": message, "exit_status": int(error.exit_code)}, ensure_ascii=False))
            raise
