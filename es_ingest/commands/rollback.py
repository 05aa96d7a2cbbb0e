"""``es-ingest rollback``."""

from typing import Annotated

import typer

from es_ingest.commands import options as given
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr


def rollback(
    alias: Annotated[str, typer.Argument(help="Alias that `es-ingest run --alias` or `rebuild` switched.")],
    to: Annotated[
        str | None,
        typer.Option(
            help="Index that the alias shall stand for, older or newer, of those that did (default: the one it was"
            " switched to before the present one; a second rollback goes to the one before that)."
        ),
    ] = None,
    es: given.Es = "auto",
    json: given.Json = False,
    quiet: given.Quiet = False,
    config: given.Config = None,  # noqa: ARG001  its callback has read it
) -> None:
    """Let an alias stand for an older index again, in one step; searches do not notice."""
    notes_to_stderr(quiet)
    with reported(interrupted="the alias stands for the one index or the other; look before you run it again"):
        from es_ingest.cluster import open_cluster
        from es_ingest.indices.switch import roll_back
        from es_ingest.report import print_switch

        with open_cluster(es) as connection, connection.client() as client:
            print_switch(roll_back(client, alias, to), as_json=json)
