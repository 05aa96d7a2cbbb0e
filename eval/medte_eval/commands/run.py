"""``medte-eval run``."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from es_ingest.commands.options import Device, Es, Json, Model, Precision, Quiet
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr, tell_error
from medte_eval.commands.options import (
    ChunkTokens,
    Data,
    DataDir,
    Index,
    MaxTokens,
    NumCandidates,
    Oversample,
    Quantisation,
    Queries,
    TopK,
    make_folder,
    names_in,
)


def run(
    tasks: Annotated[
        str,
        typer.Option(
            help="Tasks, separated by commas: those of `medte-eval tasks`, MedTEB for all that are built, beir:FOLDER,"
            " and mteb's by their names there."
        ),
    ],
    system: Annotated[
        str,
        typer.Option(
            help="encoder: the model alone; bm25, dense, hybrid: Elasticsearch; exact: brute force over its vectors;"
            " pipeline:FILE.yaml: a Haystack pipeline. Several, separated by commas, share one index."
        ),
    ] = "encoder",
    model: Model = None,
    max_tokens: MaxTokens = None,
    data: Data = None,
    data_dir: DataDir = None,
    queries: Queries = None,
    top_k: TopK = 100,
    index: Index = None,
    quantisation: Quantisation = None,
    chunk_tokens: ChunkTokens = None,
    num_candidates: NumCandidates = None,
    oversample: Oversample = None,
    fusion: Annotated[
        str | None,
        typer.Option(
            help="Of hybrid: min_max, distribution, rrf, weighted, server_rrf, server_linear (default: min_max)."
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Of hybrid: dense,lexical such as 0.7,0.3, or a file that `medte-eval tune` wrote."),
    ] = None,
    own_stores: Annotated[
        bool,
        typer.Option(
            "--own-stores", help="Leave a pipeline's document stores as its file has them: nothing is indexed."
        ),
    ] = False,
    latency_queries: Annotated[
        int, typer.Option(min=0, help="Queries of a retrieval task asked once more one by one, for their latency.")
    ] = 100,
    fresh: Annotated[bool, typer.Option("--fresh", help="Do again what --out already has a result of.")] = False,
    es: Es = "auto",
    device: Device = None,
    precision: Precision = "auto",
    out: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for result files; what it has is not done again."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run tasks on systems and print the scores.

    A task that fails is named, and the others go on. The same command again goes on where one stopped, if it has --out.
    """
    console = notes_to_stderr(quiet)
    with reported(interrupted="the indices made for the evaluation are removed; results in --out stay"):
        from datasets.utils.logging import disable_progress_bar

        from es_ingest.progress import shown
        from medte_eval.report import print_results
        from medte_eval.session import Failure, Session, run_all
        from medte_eval.systems import SystemOptions, UnknownSystemError, find_systems
        from medte_eval.tasks import UnknownTaskError, find_tasks, task_names
        from medte_eval.weights import WeightsError, parse_weights
        from medte_haystack.encoder import Encoder

        disable_progress_bar()
        try:
            learned = None if weights is None else parse_weights(weights)
            options = SystemOptions(
                index,
                quantisation,
                chunk_tokens,
                num_candidates,
                oversample,
                fusion or (None if learned is None else learned.fusion),
                None if learned is None else learned.weights,
                own_stores or None,
            )
            chosen = find_tasks(task_names(tasks), data=data, queries=queries, top_k=top_k, data_dir=data_dir)
            systems = find_systems(names_in(system), options)
            if out is not None:
                make_folder(out)
            load = partial(Encoder.load, device=device, precision=precision, max_tokens=max_tokens)
            results, failures = [], []
            with Session(es, model, load, options, partial(shown, console, quiet=quiet)) as session:
                every = [(row.name, partial(row.make, its)) for row, its in chosen]
                for found in run_all(every, systems, session, out=out, fresh=fresh, latency_queries=latency_queries):
                    if isinstance(found, Failure):
                        failures.append(found)
                        where = found.task if found.system is None else f"{found.task} on {found.system}"
                        tell_error(f"{where}: {found.message}")
                    else:
                        results.append(found)
        except (UnknownTaskError, UnknownSystemError, WeightsError) as error:
            raise typer.BadParameter(str(error)) from None
        if results or as_json:
            print_results(results, [one.to_dict() for one in failures], as_json=as_json)
        for one in failures:
            if one.bug is not None:
                raise one.bug
        if failures:
            raise typer.Exit(Exit.SOME_DEAD if results else failures[0].status)
