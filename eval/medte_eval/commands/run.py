"""``medte-eval run``."""

from functools import partial
from typing import Annotated, Any

import typer

from es_ingest.commands.options import Device, Es, Json, Model, Precision, Quiet
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr, tell_error
from medte_eval.commands.options import (
    Analyzer,
    ChunkTokens,
    Data,
    DataDir,
    Fresh,
    Index,
    MaxTokens,
    NoPrefixes,
    NotesMayLeave,
    NumCandidates,
    Out,
    Oversample,
    Quantisation,
    Queries,
    TopK,
    make_folder,
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
    no_prefixes: NoPrefixes = False,
    data: Data = None,
    data_dir: DataDir = None,
    queries: Queries = None,
    top_k: TopK = 100,
    index: Index = None,
    quantisation: Quantisation = None,
    chunk_tokens: ChunkTokens = None,
    analyzer: Analyzer = "auto",
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
        int,
        typer.Option(min=0, help="Queries of a retrieval task asked once more one by one, for their latency."),
    ] = 100,
    notes_may_leave: NotesMayLeave = False,
    fresh: Fresh = False,
    es: Es = "auto",
    device: Device = None,
    precision: Precision = "auto",
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run tasks on systems and print the scores.

    A task that fails is named, and the others go on. The same command again goes on where one stopped, if it has --out.
    """
    console = notes_to_stderr(quiet)
    with reported(
        interrupted="the indices made for the evaluation are removed, or are by the next; results in --out stay"
    ):
        from datasets.utils.logging import disable_progress_bar

        from es_ingest.progress import shown
        from medte_eval.evaluation import ASKED_WRONGLY, Evaluation
        from medte_eval.report import print_results
        from medte_eval.session import Failure, Session, run_all

        disable_progress_bar()
        try:
            asked = Evaluation.of(
                tasks=tasks,
                system=system,
                model=model,
                max_tokens=max_tokens,
                data=data,
                data_dir=data_dir,
                queries=queries,
                top_k=top_k,
                index=index,
                quantisation=quantisation,
                chunk_tokens=chunk_tokens,
                analyzer=analyzer,
                num_candidates=num_candidates,
                oversample=oversample,
                fusion=fusion,
                weights=weights,
                own_stores=own_stores,
                latency_queries=latency_queries,
                notes_may_leave=notes_may_leave,
                no_prefixes=no_prefixes,
                device=device,
                precision=precision,
            )
            if out is not None:
                make_folder(out)
            results, failures = [], []
            show = partial(shown, console, quiet=quiet)
            with Session(es, asked.model.name, asked.model.load, asked.options, show) as session:
                kept: dict[str, Any] = {
                    "out": out,
                    "fresh": fresh,
                    "latency_queries": asked.latency_queries,
                    "notes_may_leave": asked.notes_may_leave,
                }
                for found in run_all([*asked.made()], asked.systems, session, **kept):
                    if isinstance(found, Failure):
                        failures.append(found)
                        where = found.task if found.system is None else f"{found.task} on {found.system}"
                        tell_error(f"{where}: {found.message}")
                    else:
                        results.append(found)
        except ASKED_WRONGLY as error:
            raise typer.BadParameter(str(error)) from None
        if results or as_json:
            print_results(results, [one.to_dict() for one in failures], as_json=as_json)
        for one in failures:
            if one.bug is not None:
                raise one.bug
        if failures:
            raise typer.Exit(Exit.SOME_DEAD if results else failures[0].status)
