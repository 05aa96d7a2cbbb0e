"""The command `es-ingest`. What a subcommand needs is imported when it runs: help must not wait for PyTorch."""

from itertools import chain, islice
from typing import Annotated

import typer

from es_ingest import server_cli
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr, run_command

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables would show document text
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Embed clinical corpora and write them into Elasticsearch.",
    epilog="Exit status: 0 all written, 1 a bug, 2 wrong usage, 3 some records malformed or refused, 4 model,"
    " 5 server, 6 index, 7 source, 130 interrupted.",
)
app.add_typer(server_cli.app, name="server")

Es = Annotated[
    str,
    typer.Option(
        "--es",
        help="Where Elasticsearch is: a URL, docker, local, or auto (ES_URL if set, else a server kept by `es-ingest"
        " server start`, else Docker if it answers, else local). Credentials: ES_API_KEY, or ES_USERNAME and"
        " ES_PASSWORD; private CA: ES_CA_CERTS.",
        envvar="ES_INGEST_ES",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Model: a registry name (medte, gte-base, minilm, …), a local folder, or a hub id [default: medte;"
        " to search: the index's own].",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(help="cpu, cuda, cuda:N, mps, cuda:all, or a list of GPUs [default: a GPU where there is one]."),
]
Precision = Annotated[str, typer.Option(help="What is computed in: auto, fp32, bf16, int8 (CPU), fp8 (GPU).")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress and no notes; warnings and errors remain.")
]


@app.command()
def run(
    sources: Annotated[list[str], typer.Argument(help="Files, folders, glob patterns, or - for standard input.")],
    index: Annotated[str, typer.Option(help="Index to write to; it is made when it is missing.")],
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(help="medquad, beir, jsonl, csv or parquet [default: told from the sources].", show_default=False),
    ] = None,
    model: Model = None,
    es: Es = "auto",
    quantisation: Annotated[
        str | None, typer.Option(help="Vector index type: hnsw, int8, int4, bbq, flat [default: int8 for a new index].")
    ] = None,
    id_field: Annotated[str | None, typer.Option(help="Field of the id (jsonl, csv, parquet).")] = None,
    title_field: Annotated[str | None, typer.Option(help="Field of the title.")] = None,
    text_field: Annotated[list[str] | None, typer.Option(help="Field of the text; several are joined.")] = None,
    meta_field: Annotated[list[str] | None, typer.Option(help="Field to keep as metadata [default: all].")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest input of the model in tokens.")] = None,
    chunk_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of a chunk [default: what the model takes].")
    ] = None,
    chunk_overlap: Annotated[int, typer.Option(help="Tokens a chunk repeats from the one before it.")] = 0,
    analyzer: Annotated[str, typer.Option(help="Of a new index's text; auto: english where there is one.")] = "auto",
    shards: Annotated[int, typer.Option(min=1, help="Primary shards of a new index.")] = 1,
    replicas: Annotated[
        int | None, typer.Option(min=0, help="Replicas of a new index [default: the server's].")
    ] = None,
    device: Device = None,
    precision: Precision = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read, split, encode and write a corpus; running it again changes nothing."""
    console = notes_to_stderr(quiet)
    with reported():
        from es_ingest.cluster import open_cluster
        from es_ingest.ingest import Ingester
        from es_ingest.progress import shown
        from es_ingest.readers import FORMATS, FieldMapping, can_be_read_twice, detect, read
        from es_ingest.report import print_summary
        from medte_haystack.encoder import DEFAULT_MODEL, Encoder
        from medte_haystack.index import QUANTISATIONS

        if format is not None and format not in FORMATS:
            raise typer.BadParameter(f"format {format!r} is unknown; the formats are {', '.join(FORMATS)}")
        if quantisation is not None and quantisation not in QUANTISATIONS:
            raise typer.BadParameter(f"quantisation {quantisation!r} is unknown; there are {', '.join(QUANTISATIONS)}")
        format = format or detect(sources)  # noqa: A001
        fields = None
        if any(option is not None for option in (id_field, title_field, text_field, meta_field)):
            try:
                meta = None if meta_field is None else tuple(meta_field)
                fields = FieldMapping(id_field, title_field, tuple(text_field or ()), meta)
            except ValueError as error:
                raise typer.BadParameter(str(error)) from None
        records = read(sources, format, fields)
        first = list(islice(records, 1))  # a source that cannot be read is told before an index is made
        encoder = Encoder.load(model or DEFAULT_MODEL, device=device, precision=precision, max_tokens=max_tokens)
        with open_cluster(es) as connection, connection.client() as client:
            ingester = Ingester(
                client,
                index,
                encoder,
                chunk_tokens=chunk_tokens,
                chunk_overlap=chunk_overlap,
                quantisation=quantisation,
                analyzer=analyzer,
                shards=shards,
                replicas=replicas,
            )
            count = (lambda: read(sources, format, fields)) if can_be_read_twice(sources) else None
            with shown(console, count, quiet=quiet) as progress:
                summary = ingester.run(chain(first, records), progress)
        print_summary(summary, as_json=as_json)
    if summary.failed:
        raise typer.Exit(Exit.SOME_DEAD)


@app.command()
def search(
    index: Annotated[str, typer.Argument(help="Index that `es-ingest run` made.")],
    text: Annotated[str, typer.Argument(help="What to search for.")],
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=10_000, help="Documents wanted.")] = 10,
    num_candidates: Annotated[
        int | None, typer.Option(help="Candidates a shard looks at; more find more and take longer.")
    ] = None,
    model: Model = None,
    es: Es = "auto",
    device: Device = None,
    precision: Precision = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
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
        print_hits(index, text, hits, as_json=as_json)


@app.command()
def formats() -> None:
    """List the corpus formats."""
    from es_ingest.readers import formats as known

    for reader in known():
        typer.echo(f"{reader.name:10}{reader.description}\n{'':10}source: {reader.source}")


@app.command()
def demo(
    es: Es = "auto",
    model: Annotated[str, typer.Option(help="Model; minilm needs no hub.")] = "minilm",
    index: Annotated[str, typer.Option(help="Index to write to.")] = "medquad-demo",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ingest the shipped MedQuAD sample into a real Elasticsearch, search it, and check it on its own questions."""
    console = notes_to_stderr(quiet)
    with reported():
        from es_ingest.demo import run_demo

        run_demo(console, es=es, model=model, index=index, as_json=as_json, quiet=quiet)


def main() -> None:
    """Run the command."""
    run_command(app)


if __name__ == "__main__":
    main()
