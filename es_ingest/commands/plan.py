"""``es-ingest plan``."""

from itertools import chain, islice
from typing import Annotated

import typer

from es_ingest.commands import completion
from es_ingest.commands import options as given
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr


def plan(
    sources: given.Sources,
    format: given.Format = None,  # noqa: A002
    model: given.Model = None,
    quantisation: Annotated[
        str | None,
        typer.Option(
            help="Vector index type: hnsw, int8, int4, bbq, flat (default: all of them).",
            autocompletion=completion.quantisations,
        ),
    ] = None,
    id_field: given.IdField = None,
    title_field: given.TitleField = None,
    text_field: given.TextField = None,
    meta_field: given.MetaField = None,
    quote: given.Quote = None,
    max_tokens: given.MaxTokens = None,
    chunk_tokens: given.ChunkTokens = None,
    chunk_overlap: given.ChunkOverlap = 0,
    replicas: Annotated[int, typer.Option(min=0, help="Copies of the index beside the first.")] = 1,
    records: Annotated[int | None, typer.Option(min=1, help="Read only the first so many records.")] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long a sample is encoded, to tell the time.")] = 30.0,
    encode: Annotated[bool, typer.Option("--encode/--no-encode", help="Encode a sample, or tell no time.")] = True,
    device: given.Device = None,
    precision: given.Precision = "auto",
    json: given.Json = False,
    quiet: given.Quiet = False,
    config: given.Config = None,  # noqa: ARG001  its callback has read it
) -> None:
    """Tell what a run would read, make, need and take. Nothing is written, and no server is asked."""
    console = notes_to_stderr(quiet)
    given.check_format(format)
    given.check_quantisation(quantisation)
    fields = given.mapping_of(id_field, title_field, text_field, meta_field, quote=quote)
    with reported(interrupted="nothing was written"):
        from es_ingest.corpus import Corpus
        from es_ingest.planning.plan import Plan
        from es_ingest.planning.show import print_plan
        from es_ingest.planning.sizes import size_of, sizes
        from es_ingest.planning.speed import measure
        from es_ingest.planning.survey import survey
        from es_ingest.progress import shown
        from medte_haystack.encoder import DEFAULT_MODEL, Encoder, Tokeniser, TokenSplitter, locate
        from medte_haystack.encoder.backends.cpu import usable_cores

        items = Corpus.of(sources, format, fields).read()
        first = list(islice(items, 1))  # a source that cannot be read is told before a model is loaded
        name = model or DEFAULT_MODEL
        encoder = Encoder.load(name, device=device, precision=precision, max_tokens=max_tokens) if encode else None
        files = encoder.files if encoder else locate(name)
        tokeniser = encoder.tokeniser if encoder else Tokeniser.of(files, max_tokens)
        splitter = TokenSplitter(tokeniser, chunk_tokens=chunk_tokens, overlap=chunk_overlap)
        with shown(console, quiet=quiet) as progress:
            found = survey(
                chain(first, items),
                splitter,
                files.spec.passage_prefix,
                most=records,
                threads=usable_cores(),
                progress=progress,
            )
        chunks, dim = found.of_chunks.number, files.spec.dim
        made = Plan(
            files.spec,
            splitter,
            found,
            [size_of(quantisation, chunks, dim, found.text_bytes)]
            if quantisation
            else sizes(chunks, dim, found.text_bytes),
            copies=1 + replicas,
            device=encoder.backend.device if encoder else None,
            precision=encoder.precision if encoder else None,
            speed=measure(encoder, found.sample, seconds) if encoder else None,
        )
        print_plan(made, as_json=json)
    raise typer.Exit(Exit.SOME_DEAD if found.malformed or found.refused else Exit.OK)
