"""``es-ingest tune``."""

from pathlib import Path
from typing import Annotated

import typer

from es_ingest.commands import completion
from es_ingest.commands import options as given
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr

_PLOTS = (".svg",)


def tune(
    index: Annotated[str, typer.Argument(help="Index that `es-ingest run` made. It is only read.")],
    recall: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least recall, against exact search, of what is recommended.")
    ] = 0.99,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, max=10_000, help="Hits a query.")] = 10,
    queries: Annotated[
        str | None,
        typer.Option(
            help="File of real queries: one a line, or .jsonl with a field text; - for standard input (default: vectors"
            " of random documents, kept out of what is searched; recall looks better with these)."
        ),
    ] = None,
    max_queries: Annotated[int, typer.Option(min=1, max=10_000, help="Most queries.")] = 200,
    vectors: Annotated[
        int,
        typer.Option(
            min=1, help="Most vectors that are copied, a random sample; held in memory, 4 bytes a dimension each."
        ),
    ] = 100_000,
    quantisation: Annotated[
        list[str] | None,
        typer.Option(
            help="Vector index type to measure; may be repeated (default: the index's own, int8, int4, bbq).",
            autocompletion=completion.quantisations,
        ),
    ] = None,
    oversampling: Annotated[
        list[float] | None,
        typer.Option(
            help="How many times k quantised vectors are compared again as floats, 0 or 1 to 10; may be repeated"
            " (default: 0, 1.5, 3, 5)."
        ),
    ] = None,
    num_candidates: Annotated[
        list[int] | None,
        typer.Option(
            min=1,
            max=10_000,
            help="Candidates a shard looks at; may be repeated; below k times the oversampling it is left out"
            " (default: 2 to 50 times k).",
        ),
    ] = None,
    force_merge: Annotated[
        bool, typer.Option("--force-merge", help="Measure copies of one segment a shard, as after _forcemerge.")
    ] = False,
    plot: Annotated[Path | None, typer.Option(help="Write the picture to this SVG file, too.")] = None,
    model: given.Model = None,
    es: given.Es = "auto",
    device: given.Device = None,
    precision: given.Precision = "auto",
    json: given.Json = False,
    quiet: given.Quiet = False,
    config: given.Config = None,  # noqa: ARG001  its callback has read it
) -> None:
    """Find the fastest search settings that lose almost nothing, on temporary copies of an index's own vectors.

    Measures quantisation x oversampling x num_candidates: recall against exact search, and latency. The copies, named
    INDEX-tune-…, hold vectors alone and are deleted at the end.
    """
    console = notes_to_stderr(quiet)
    for name in quantisation or ():
        given.check_quantisation(name)
    if wrong := [one for one in oversampling or () if one != 0 and not 1 <= one <= 10]:
        raise typer.BadParameter(f"oversampling {wrong[0]:g} is out of range; Elasticsearch takes 0 or 1 to 10")
    if plot is not None and plot.suffix.lower() not in _PLOTS:
        raise typer.BadParameter(f"{plot} is no name of an SVG file; end it in .svg")
    if plot is not None and not plot.parent.is_dir():
        raise typer.BadParameter(f"there is no folder {plot.parent} for {plot.name}; make it first")
    with reported(interrupted="the temporary indices are deleted"):
        from rich.progress import Progress

        from es_ingest.cluster import open_cluster
        from es_ingest.search import Searcher, model_for, readable_index
        from es_ingest.tuning.grid import OVERSAMPLING
        from es_ingest.tuning.picture import svg
        from es_ingest.tuning.queries import read_queries
        from es_ingest.tuning.report import print_tuning
        from es_ingest.tuning.tune import TuneOptions
        from es_ingest.tuning.tune import tune as measure

        wanted = TuneOptions(
            top_k=top_k,
            recall=recall,
            vectors=vectors,
            max_queries=max_queries,
            quantisations=tuple(dict.fromkeys(quantisation or ())),
            oversampling=tuple(oversampling or OVERSAMPLING),
            num_candidates=tuple(num_candidates or ()),
            force_merge=force_merge,
        )
        texts = None if queries is None else read_queries(queries, max_queries)
        with open_cluster(es) as connection, connection.client() as client:
            info, asked = readable_index(client, index), None
            if texts is not None:
                from medte_haystack.encoder import Encoder

                encoder = Encoder.load(model_for(client, index, model), device=device, precision=precision)
                asked = Searcher(client, index, encoder).encoder.encode(texts, "query")
            with Progress(console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
                task = bar.add_task("", total=None)
                tuning = measure(
                    client,
                    info,
                    wanted,
                    asked,
                    lambda what, done, of: bar.update(task, description=what, completed=done, total=of),
                )
        print_tuning(tuning, as_json=json)
        if plot is not None:
            try:
                plot.write_text(svg(tuning), encoding="utf-8")
            except OSError as error:
                raise typer.BadParameter(f"{plot} cannot be written: {error.strerror}") from None
