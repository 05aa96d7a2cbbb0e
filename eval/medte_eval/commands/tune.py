"""``medte-eval tune``."""

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_ingest.commands.options import Device, Es, Json, Model, Precision, Quiet
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr
from medte_eval.commands.options import (
    Analyzer,
    ChunkTokens,
    Data,
    DataDir,
    Index,
    MaxTokens,
    NoPrefixes,
    NotesMayLeave,
    NumCandidates,
    Oversample,
    Quantisation,
    Queries,
    TopK,
)

if TYPE_CHECKING:
    from mteb.abstasks import AbsTask

    from medte_eval.evaluation import Evaluation
    from medte_eval.systems.corpus import Corpus
    from medte_eval.tuning import Judged


def tune(
    task: Annotated[
        str, typer.Option(help="Retrieval task with judgements of your kind of data: beir:FOLDER, or another's name.")
    ],
    out: Annotated[Path, typer.Option(dir_okay=False, help="File for the weights, JSON.")],
    train: Annotated[float, typer.Option(min=0.05, max=0.95, help="Share of the queries to learn from.")] = 0.5,
    fusion: Annotated[
        str | None, typer.Option(help="Learn for this fusion alone: rrf, min_max, distribution (default: the best).")
    ] = None,
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
    notes_may_leave: NotesMayLeave = False,
    es: Es = "auto",
    device: Device = None,
    precision: Precision = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn the weights of hybrid search from judgements, and report them on queries that were held out.

    `medte-eval run --system hybrid --weights FILE` takes the file; `MedTEHybridRetriever` takes what it has as
    ``hybrid`` as parameters.
    """
    console = notes_to_stderr(quiet)
    with reported(interrupted="the index made for it is removed"):
        from datasets.utils.logging import disable_progress_bar

        from es_ingest.progress import shown
        from medte_eval.evaluation import ASKED_WRONGLY, Evaluation
        from medte_eval.privacy import why_refused
        from medte_eval.report import print_tuned
        from medte_eval.session import Session
        from medte_eval.tuning import learn_weights
        from medte_eval.weights import write_weights
        from medte_haystack.retrieval.fusion import METHODS

        disable_progress_bar()
        if fusion not in (None, *METHODS):
            raise typer.BadParameter(f"weights are learned for {', '.join(METHODS)}, not for {fusion!r}")
        if not out.parent.is_dir():
            raise typer.BadParameter(f"there is no folder {out.parent} for {out.name}; make it first")
        try:
            asked = Evaluation.of(
                tasks=task,
                system="hybrid",
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
                notes_may_leave=notes_may_leave,
                no_prefixes=no_prefixes,
                device=device,
                precision=precision,
            )
        except ASKED_WRONGLY as error:
            raise typer.BadParameter(str(error)) from None
        made, corpus, judged = _judged(task, asked)
        show = partial(shown, console, quiet=quiet)
        with Session(es, asked.model.name, asked.model.load, asked.options, show) as session:
            about = made.metadata
            why = why_refused(about.name, about.type, asked.systems[0], lambda: session.connection.url)
            if why is not None and not notes_may_leave:
                raise typer.BadParameter(why)
            tuned = learn_weights(
                about.name,
                corpus,
                judged,
                session.chunks,
                share=train,
                top_k=top_k,
                fusions=list(METHODS) if fusion is None else [fusion],
                oversample=oversample,
                num_candidates=num_candidates,
            )
            kept = {**tuned.to_dict(), "task": about.name, "index": session.chunks.settings()}
        del kept["hybrid"], kept["grid"]
        write_weights(out, tuned.learned, {**kept, "data_sha256": about.dataset["revision"]})
        if as_json:
            typer.echo(json.dumps({**tuned.to_dict(), "file": str(out)}, ensure_ascii=False, allow_nan=False))
        else:
            print_tuned(tuned, str(out))


def _judged(name: str, asked: "Evaluation") -> "tuple[AbsTask, Corpus, Judged]":
    """Load the one retrieval task that is asked for: it, its corpus, and its queries with judgements.

    :raises BadParameter: If it is none, or there are several, or it has several sets of queries.
    """
    from medte_eval.tuning import Judged

    row, its = asked.tasks[0]
    if len(asked.tasks) > 1 or row.type != "Retrieval":
        known = ", ".join(row.name for row, _ in asked.tasks if row.type == "Retrieval")
        what = f"{len(asked.tasks)} tasks" if len(asked.tasks) > 1 else f"of type {row.type}"
        hint = f", such as {known}" if known else ""
        raise typer.BadParameter(f"{name} is {what}; hybrid weights are learned from one retrieval task{hint}")
    made: Any = row.make(its)
    if len(made.hf_subsets) != 1 or len(made.eval_splits) != 1:
        raise typer.BadParameter(f"{name} has several sets of queries; hybrid weights need one")
    made.load_data()
    found = made.dataset[made.hf_subsets[0]][made.eval_splits[0]]
    qrels = {query: dict(grades) for query, grades in found["relevant_docs"].items() if any(grades.values())}
    texts = dict(zip(found["queries"]["id"], found["queries"]["text"], strict=True))
    judged = Judged({query: texts[query] for query in qrels}, qrels, ignore_own=made.ignore_identical_ids)
    return made, found["corpus"], judged
