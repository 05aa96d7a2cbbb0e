"""Options that several subcommands have."""

from pathlib import Path
from typing import Annotated

import typer

from es_ingest.commands import completion

DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder of built tasks (default: tasks in the cache folder).", envvar="MEDTE_EVAL_DATA", file_okay=False
    ),
]
Data = Annotated[Path | None, typer.Option(help="Data to use instead of a task's own: a MedQuAD folder or archive.")]
Queries = Annotated[int | None, typer.Option(min=1, help="Ask only so many random queries, the same every time.")]
TopK = Annotated[
    int, typer.Option(min=10, max=100, help="Documents asked for a query, where it is scored and where it is timed.")
]
MaxTokens = Annotated[int | None, typer.Option(help="Longest input of the model in tokens.")]
NoPrefixes = Annotated[
    bool,
    typer.Option(
        "--no-prefixes",
        help="Leave out what the model puts before queries and passages, as the published scores of MedTEB do.",
    ),
]
Index = Annotated[
    str | None, typer.Option(help="Existing index that `es-ingest run` made (default: one for the task).")
]
Quantisation = Annotated[
    str | None, typer.Option(help="Vector index type: hnsw, int8, int4, bbq, flat (default: int8).")
]
ChunkTokens = Annotated[
    int | None,
    typer.Option(
        help="Split documents into chunks of at most so many tokens (default: whole documents, cut at the model's"
        " length as with the model alone)."
    ),
]
Analyzer = Annotated[
    str,
    typer.Option(
        help="Of an index made for the task, which decides what BM25 finds; auto: english where the server has it, else"
        " standard.",
        autocompletion=completion.analyzers,
    ),
]
NumCandidates = Annotated[
    int | None, typer.Option(min=1, help="Candidates that a shard looks at, at least (default: 10 a document).")
]
Oversample = Annotated[
    float | None,
    typer.Option(
        help="How many times the hits quantised vectors are compared again as floats, 0 or 1 to 10 (default: as the"
        " index has it)."
    ),
]
Out = Annotated[
    Path | None, typer.Option(file_okay=False, help="Folder for result files; what it has is not done again.")
]
Fresh = Annotated[bool, typer.Option("--fresh", help="Do again what --out already has a result of.")]
NotesMayLeave = Annotated[
    bool,
    typer.Option(
        "--notes-may-leave",
        help="Let clinical notes go to a server on another machine, or into a pipeline, whatever it calls.",
    ),
]


def make_folder(path: Path) -> None:
    """Make the folder for results now rather than fail after an hour.

    :raises BadParameter: If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"folder {path} cannot be made: {error.strerror}") from None
