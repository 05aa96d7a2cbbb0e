"""``es-ingest replay``."""

from pathlib import Path
from typing import Annotated

import typer

from es_ingest.commands import options as given
from es_ingest.commands.run import status_of
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr


def replay(
    letters: Annotated[
        Path, typer.Argument(metavar="FILE", help="Dead letters of a run, mended by hand or as they are.")
    ],
    index: Annotated[str, typer.Option(help="Index that they were meant for.")],
    model: given.Model = None,
    es: given.Es = "auto",
    ledger: given.Ledger = None,
    dead: Annotated[
        Path | None, typer.Option(help="File for what still cannot be written (default: a new one beside the ledger).")
    ] = None,
    max_dead: given.MaxDead = None,
    device: given.Device = None,
    precision: given.Precision = "auto",
    json: given.Json = False,
    quiet: given.Quiet = False,
    log_format: given.LogFormat = "text",
    config: given.Config = None,  # noqa: ARG001  its callback has read it
) -> None:
    """Write the records of a file of dead letters; rows that were no records are read again."""
    console = notes_to_stderr(quiet, log_format)
    with reported():
        from es_ingest.cluster import open_cluster
        from es_ingest.ingest import RunOptions
        from es_ingest.progress import shown
        from es_ingest.records import ReadError
        from es_ingest.replay import ingester_of, replay
        from es_ingest.report import accounted
        from es_ingest.stream.dead_letters import dead_letter_path, jobs_of
        from es_ingest.stream.stopping import Stop

        jobs_of(letters)  # a file that is none of dead letters is told first
        if dead is not None and dead.exists() and dead.samefile(letters):
            raise ReadError(str(letters), "cannot be read and written at once; name another file with --dead")
        with (
            accounted(as_json=json) as account,
            open_cluster(es) as connection,
            connection.client() as client,
        ):
            ingester = ingester_of(client, index, model, device=device, precision=precision)
            options = RunOptions(
                ledger=ledger or True, dead=dead or dead_letter_path(index), max_dead=max_dead, watch=account.take
            )
            with Stop() as stop, shown(console, quiet=quiet) as progress:
                summary = replay(ingester, letters, options, progress, stop)
    raise typer.Exit(status_of(summary, stop.signal))
