"""``es-ingest rebuild``."""

from typing import Annotated

import typer

from es_ingest.commands import completion
from es_ingest.commands import options as given
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr


def rebuild(
    index: Annotated[str, typer.Argument(help="Index that `es-ingest run` made, or an alias of it.")],
    quantisation: Annotated[
        str | None,
        typer.Option(
            help="Vector index type: hnsw, int8, int4, bbq, flat (default: the old index's).",
            autocompletion=completion.quantisations,
        ),
    ] = None,
    analyzer: Annotated[
        str | None,
        typer.Option(
            help="Of the text; auto: english where there is one (default: the old index's).",
            autocompletion=completion.analyzers,
        ),
    ] = None,
    shards: Annotated[int | None, typer.Option(min=1, help="Primary shards (default: the old index's).")] = None,
    replicas: Annotated[int | None, typer.Option(min=0, help="Replicas (default: the old index's).")] = None,
    to: Annotated[
        str | None, typer.Option(help="Name of the new index (default: the old name, or the alias, and the time).")
    ] = None,
    alias: Annotated[
        str | None, typer.Option(help="Alias that the new index takes over (default: INDEX, if that is one).")
    ] = None,
    keep: Annotated[int, typer.Option(min=0, help="How many older indices of the alias stay for `rollback`.")] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what was begun before, and begin anew.")] = False,
    es: given.Es = "auto",
    json: given.Json = False,
    quiet: given.Quiet = False,
    log_format: given.LogFormat = "text",
    config: given.Config = None,  # noqa: ARG001  its callback has read it
) -> None:
    """Make a new index from an old one's documents and vectors, without encoding; the same again goes on."""
    notes_to_stderr(quiet, log_format)
    given.check_quantisation(quantisation)
    with reported(interrupted="the old index is as it was, and the same command again goes on"):
        from es_ingest.cluster import open_cluster
        from es_ingest.indices.rebuild import Shape
        from es_ingest.indices.rebuild import rebuild as rebuild_index
        from es_ingest.report import print_rebuilt
        from es_ingest.stream.stopping import Stop

        shape = Shape(quantisation, analyzer, shards, replicas)
        with open_cluster(es) as connection, connection.client() as client, Stop() as stop:
            done = rebuild_index(client, index, shape, to=to, alias=alias, keep=keep, fresh=fresh, stop=stop)
        print_rebuilt(done, as_json=json)
    raise typer.Exit(128 + (stop.signal or 0) if done.interrupted else Exit.OK)
