"""``es-ingest search``."""

from typing import Annotated

import typer

from es_ingest.commands import options as given
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr


def search(
    index: Annotated[str, typer.Argument(help="Index that `es-ingest run` made.")],
    text: Annotated[str, typer.Argument(help="What to search for.")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=10_000, help="Documents wanted.")] = 10,
    num_candidates: Annotated[
        int | None, typer.Option(help="Candidates a shard looks at; more find more and take longer.")
    ] = None,
    model: given.Model = None,
    es: given.Es = "auto",
    device: given.Device = None,
    precision: given.Precision = "auto",
    json: given.Json = False,
    quiet: given.Quiet = False,
    config: given.Config = None,  # noqa: ARG001  its callback has read it
) -> None:
    """Find the documents nearest to a text, each with its best passage."""
    notes_to_stderr(quiet)
    if not text.strip():
        raise typer.BadParameter("the query is empty; give some text to search for")
    with reported():
        from es_ingest.cluster import open_cluster
        from es_ingest.report import print_hits
        from es_ingest.search import Searcher, model_for
        from medte_haystack.encoder import Encoder

        with open_cluster(es) as connection, connection.client() as client:
            encoder = Encoder.load(model_for(client, index, model), device=device, precision=precision)
            hits = Searcher(client, index, encoder).search(text, top_k=top_k, num_candidates=num_candidates)
        print_hits(index, text, hits, as_json=json)
