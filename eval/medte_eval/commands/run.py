"""``medte-eval run``."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_ingest.commands.options import Device, Es, Json, Model, Precision, Quiet
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr

if TYPE_CHECKING:
    from medte_eval.results import Outcome
    from medte_eval.systems import SystemOptions, SystemRow
    from medte_eval.systems.system import ShowProgress
    from medte_eval.tasks.retrieval import LocalRetrieval
    from medte_haystack.encoder import Encoder


def run(
    tasks: Annotated[
        str, typer.Option(help="Tasks, separated by commas: MedQuADRetrieval, beir:FOLDER; see `medte-eval tasks`.")
    ],
    system: Annotated[
        str,
        typer.Option(
            help="encoder: the model alone; dense: Elasticsearch; exact: brute force over its vectors. Several,"
            " separated by commas, share one index."
        ),
    ] = "encoder",
    model: Model = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest input of the model in tokens.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Data to use instead of a task's own: a MedQuAD folder or archive.")
    ] = None,
    queries: Annotated[
        int | None, typer.Option(min=1, help="Ask only so many random queries, the same every time.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=10, max=100, help="Documents asked for a query.")] = 100,
    index: Annotated[
        str | None, typer.Option(help="Existing index that `es-ingest run` made (default: one for the task).")
    ] = None,
    quantisation: Annotated[
        str | None, typer.Option(help="Vector index type: hnsw, int8, int4, bbq, flat (default: int8).")
    ] = None,
    chunk_tokens: Annotated[
        int | None, typer.Option(help="Most tokens of a chunk (default: what the model takes).")
    ] = None,
    num_candidates: Annotated[
        int | None, typer.Option(min=1, help="Candidates that a shard looks at, at least (default: 10 a document).")
    ] = None,
    es: Es = "auto",
    device: Device = None,
    precision: Precision = "auto",
    out: Annotated[Path | None, typer.Option(file_okay=False, help="Folder for result files.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run tasks on a system and print the scores."""
    console = notes_to_stderr(quiet)
    with reported(interrupted="the index made for the evaluation is removed"):
        from es_ingest.progress import shown
        from medte_eval.report import print_outcomes
        from medte_eval.systems import SystemOptions, UnknownSystemError, find_systems
        from medte_eval.tasks import UnknownTaskError, find_tasks, task_names
        from medte_haystack.encoder import Encoder

        options = SystemOptions(index, quantisation, chunk_tokens, num_candidates)
        try:
            chosen = find_tasks(task_names(tasks), data=data, queries=queries, top_k=top_k)
            rows = find_systems(_names(system), options)
        except (UnknownTaskError, UnknownSystemError) as error:
            raise typer.BadParameter(str(error)) from None
        if out is not None:
            _make_folder(out)
        made: list[Any] = [task.make(its) for task, its in chosen]
        made[0].load_data()  # a mistyped folder is told before a model is loaded
        load = partial(Encoder.load, device=device, precision=precision, max_tokens=max_tokens)
        found = []
        with closing(_outcomes(made, rows, options, model, load, es, partial(shown, console, quiet=quiet))) as outcomes:
            for outcome in outcomes:
                found.append(outcome)
                if out is not None:
                    outcome.write(out)
        print_outcomes(found, as_json=as_json)


def _outcomes(
    tasks: "list[LocalRetrieval]",
    rows: "list[SystemRow]",
    options: "SystemOptions",
    model: str | None,
    load: "Callable[[str], Encoder]",
    es: str,
    show: "ShowProgress",
) -> "Generator[Outcome]":
    """Open what the system needs, and close it again however it ends."""
    from datasets.utils.logging import disable_progress_bar

    from es_ingest.cluster import open_cluster
    from es_ingest.search import model_for
    from medte_eval.run import evaluate
    from medte_eval.systems.corpus import CorpusIndex
    from medte_haystack.encoder import DEFAULT_MODEL

    disable_progress_bar()
    with ExitStack() as stack:
        index = version = None
        if any(row.uses_index for row in rows):
            connection = stack.enter_context(open_cluster(es))
            client, version = stack.enter_context(connection.client()), connection.version
            if options.index is not None:
                model = model_for(client, options.index, model)
            encoder = load(model or DEFAULT_MODEL)
            index = stack.enter_context(closing(CorpusIndex(client, encoder, options, show)))
        else:
            encoder = load(model or DEFAULT_MODEL)
        systems = [(row.open(encoder, index, options, show), version if row.uses_index else None) for row in rows]
        for task in tasks:
            for system, its_version in systems:
                yield evaluate(task, system, server_version=its_version)
            task.unload_data()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _make_folder(path: Path) -> None:
    """Make the folder for results now rather than fail after an hour."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"folder {path} cannot be made: {error.strerror}") from None
