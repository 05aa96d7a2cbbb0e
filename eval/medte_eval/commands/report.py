"""``medte-eval report``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from es_ingest.commands.options import Json, Quiet, check_apart
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr, tell_error
from medte_eval.commands.options import DataDir


def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...", help="Folders that `medte-eval run --out` filled.", exists=True, file_okay=False
        ),
    ],
    html: Annotated[
        Path | None, typer.Option(help="Write a page that needs nothing else, to be opened by any browser.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write the same as Markdown.")] = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write the scores as CSV, one row a task and system.", metavar="FILE")
    ] = None,
    texts: Annotated[
        str | None,
        typer.Option(
            help="Show questions and titles of the worst queries of these retrieval tasks, named as for `run --tasks`."
            " Without it there are ids alone, since a report may go where texts must not.",
            metavar="TASKS",
        ),
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Report on folders of results: leaderboards, costs and gains with their significance, and the worst queries.

    Without --html, --markdown, --csv or --json it prints the leaderboards. Results that cannot be read are named, and
    the report is made of the others.
    """
    notes_to_stderr(quiet)
    files = {"html": html, "markdown": markdown, "csv": csv}
    with reported(interrupted="nothing is written"):
        check_apart([], files)
        from dataclasses import asdict

        from medte_eval.files import write_whole
        from medte_eval.report.build import make_report
        from medte_eval.report.rendering import render_html, render_markdown
        from medte_eval.report.terminal import print_leaderboards
        from medte_eval.report.tidy import render_csv
        from medte_eval.results import ResultError
        from medte_eval.tasks import UnknownTaskError, task_names

        for path in files.values():
            if path is not None and not path.parent.is_dir():
                raise typer.BadParameter(f"folder {path.parent} for {path.name} is not there; make it, or name another")
        try:
            found = make_report(folders, texts=task_names(texts or ""), data_dir=data_dir)
        except (ResultError, UnknownTaskError) as error:
            raise typer.BadParameter(str(error)) from None
        renderings = {"html": render_html, "markdown": render_markdown, "csv": render_csv}
        for name, path in files.items():
            if path is None:
                continue
            try:
                write_whole(path, [renderings[name](found)])
            except OSError as error:
                raise typer.BadParameter(f"{path} cannot be written: {error.strerror}") from None
        if as_json:
            typer.echo(json.dumps(asdict(found), ensure_ascii=False, allow_nan=False))
        elif not any(files.values()):
            print_leaderboards(found)
        damaged = [one for one in found.left_out if one.damaged]
        for one in damaged:
            tell_error(f"{one.file}: {one.reason}")
        if damaged:
            raise typer.Exit(Exit.SOME_DEAD)
