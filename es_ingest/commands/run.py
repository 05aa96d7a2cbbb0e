"""``es-ingest run``."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from es_ingest.commands import completion
from es_ingest.commands import options as given
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr

if TYPE_CHECKING:
    from es_ingest.stream.summary import Summary


def run(
    sources: given.Sources,
    index: Annotated[str | None, typer.Option(help="Index to write to; it is made when it is missing.")] = None,
    alias: Annotated[
        str | None,
        typer.Option(
            help="Instead of --index: build a new index beside the one that is searched by this name, verify it, and"
            " let it take over the name in one step."
        ),
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=0, help="With --alias: how many older indices stay for `rollback` (default: 1).")
    ] = None,
    format: given.Format = None,  # noqa: A002
    model: given.Model = None,
    es: given.Es = "auto",
    quantisation: Annotated[
        str | None,
        typer.Option(
            help="Vector index type: hnsw, int8, int4, bbq, flat (default: int8 for a new index).",
            autocompletion=completion.quantisations,
        ),
    ] = None,
    id_field: given.IdField = None,
    title_field: given.TitleField = None,
    text_field: given.TextField = None,
    meta_field: given.MetaField = None,
    vector_field: given.VectorField = None,
    quote: given.Quote = None,
    vectors: given.Vectors = None,
    normalise: given.Normalise = False,
    max_tokens: given.MaxTokens = None,
    chunk_tokens: given.ChunkTokens = None,
    chunk_overlap: given.ChunkOverlap = 0,
    analyzer: Annotated[
        str,
        typer.Option(
            help="Of a new index's text; auto: english where there is one.", autocompletion=completion.analyzers
        ),
    ] = "auto",
    shards: Annotated[int, typer.Option(min=1, help="Primary shards of a new index.")] = 1,
    replicas: Annotated[
        int | None, typer.Option(min=0, help="Replicas of a new index (default: the server's).")
    ] = None,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Delete the index and its ledger first, if a new one can be made; with --alias the unfinished one.",
        ),
    ] = False,
    delete_missing: Annotated[
        bool, typer.Option("--delete-missing", help="Remove what these sources had before and have no more.")
    ] = False,
    ledger: given.Ledger = None,
    dead: Annotated[
        Path | None, typer.Option(help="File for dead letters, made when there are some (default: beside the ledger).")
    ] = None,
    max_dead: given.MaxDead = None,
    metrics_file: Annotated[
        Path | None, typer.Option(help="Keep figures of the run in this file for Prometheus' textfile collector.")
    ] = None,
    device: given.Device = None,
    precision: given.Precision = "auto",
    engine: Annotated[
        str, typer.Option(help="Where texts are encoded and written: local, or ray for the machines of a Ray cluster.")
    ] = "local",
    ray_address: Annotated[
        str | None,
        typer.Option(
            help="With --engine ray: the cluster, such as auto or host:6379; local starts one on this machine (default:"
            " RAY_ADDRESS, else local).",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="With --engine ray: how many workers encode (default: one a GPU; without GPUs one a machine, on all of"
            " its cores).",
        ),
    ] = None,
    json: given.Json = False,
    quiet: given.Quiet = False,
    log_format: given.LogFormat = "text",
    config: given.Config = None,  # noqa: ARG001  its callback has read it
) -> None:
    """Read, split, encode and write a corpus. The same again goes on where it stopped, and writes what changed."""
    console = notes_to_stderr(quiet, log_format)
    given.check_format(format)
    given.check_quantisation(quantisation)
    chunking = (max_tokens, chunk_tokens, chunk_overlap) != (None, None, 0)
    given.check_vectors(vectors, vector_field, normalise=normalise, model=model, chunking=chunking)
    fields = given.mapping_of(id_field, title_field, text_field, meta_field, vector_field, quote)
    _check_target(index, alias, keep, ledger)
    _check_engine(engine, ray_address, workers, device)
    given.check_apart(sources, {"dead": dead, "ledger": ledger, "metrics-file": metrics_file})
    with reported():
        from es_ingest.cluster import open_cluster
        from es_ingest.corpus import Corpus
        from es_ingest.indices.builds import claim
        from es_ingest.indices.switch import KEEP
        from es_ingest.ingest import Ingester, RunOptions
        from es_ingest.load import destination, maker, switch
        from es_ingest.metrics import metrics
        from es_ingest.progress import shown
        from es_ingest.report import accounted
        from es_ingest.stream.dead_letters import dead_letter_path
        from es_ingest.stream.flow import Stream
        from es_ingest.stream.stopping import Stop

        corpus = Corpus.of(sources, format, fields, vectors=vectors, normalise=normalise)
        dim, records = corpus.begin()
        with accounted(as_json=json) as account, ExitStack() as stack:
            connection = stack.enter_context(open_cluster(es))
            client = stack.enter_context(connection.client())
            made_by = stack.enter_context(
                maker(
                    connection,
                    model,
                    dim,
                    engine=engine,
                    address=ray_address,
                    workers=workers,
                    device=device,
                    precision=precision,
                    max_tokens=max_tokens,
                    chunk_tokens=chunk_tokens,
                    chunk_overlap=chunk_overlap,
                )
            )
            name, build, make_room = stack.enter_context(
                destination(client, index, alias, corpus, fresh=fresh, ledger=ledger)
            )
            ingester = Ingester(
                client,
                name,
                made_by.encoder,
                vectors_by=made_by.vectors_by,
                chunk_tokens=chunk_tokens,
                chunk_overlap=chunk_overlap,
                quantisation=quantisation,
                analyzer=analyzer,
                shards=shards,
                replicas=replicas,
                meta=build.to_meta() if build else None,
                precision=made_by.cluster.precision if made_by.cluster else None,
                make_room=make_room,
            )
            if build:
                claim(client, build)
            count = corpus.rows if corpus.can_be_counted else None
            watched = metrics(metrics_file, alias or name)
            with Stop() as stop, shown(console, count, quiet=quiet) as progress, watched as keep_figures:

                def watch(summary: "Summary") -> None:
                    account.take(summary)
                    keep_figures(summary)

                options = RunOptions(
                    ledger=ledger or True,
                    job=corpus.job,
                    mapping=corpus.mapping,
                    dead=dead or dead_letter_path(name),
                    max_dead=max_dead,
                    delete_missing=delete_missing,
                    watch=watch,
                    stream=made_by.cluster.stream(ingester.fingerprint) if made_by.cluster else Stream,
                )
                summary = ingester.run(records, progress, options, stop)
            if build:
                older = KEEP if keep is None else keep
                account.switch = switch(client, build, ingester, made_by.encoder, summary, keep=older)
    raise typer.Exit(status_of(summary, stop.signal))


def _check_target(index: str | None, alias: str | None, keep: int | None, ledger: Path | None) -> None:
    if (index is None) == (alias is None):
        raise typer.BadParameter("give one of --index, to write into an index, and --alias, to build a new one")
    if alias is None and keep is not None:
        raise typer.BadParameter("--keep goes with --alias; with --index there are no older indices")
    if alias is not None and ledger is not None:
        raise typer.BadParameter(
            "--ledger goes with --index; with --alias every index has a ledger of its own, in ES_INGEST_STATE"
        )


def _check_engine(engine: str, ray_address: str | None, workers: int | None, device: str | None) -> None:
    if engine not in ("local", "ray"):
        raise typer.BadParameter(f"engine {engine!r} is unknown; there are local and ray")
    if engine == "local" and (ray_address is not None or workers is not None):
        raise typer.BadParameter("--ray-address and --workers go with --engine ray")
    if engine == "ray" and device not in (None, "cpu", "cuda"):
        raise typer.BadParameter(f"with --engine ray, --device is cpu or cuda, not {device!r}: each worker has one GPU")


def status_of(summary: "Summary", signal: int | None) -> int:
    """Return the exit status of a run."""
    if summary.interrupted:
        return 128 + (signal or 0)
    return Exit.SOME_DEAD if summary.failed else Exit.OK
