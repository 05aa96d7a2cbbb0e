"""Options that several subcommands have."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from es_ingest.commands import completion
from es_ingest.commands.config import load_config

if TYPE_CHECKING:
    from es_ingest.readers import FieldMapping

Sources = Annotated[list[str], typer.Argument(help="Files, folders, glob patterns, or - for standard input.")]
Es = Annotated[
    str,
    typer.Option(
        "--es",
        help="Where Elasticsearch is: a URL, docker, local, or auto (ES_URL if set, else a server kept by `es-ingest"
        " server start`, else Docker if it answers, else local). Credentials: ES_API_KEY, or ES_USERNAME and"
        " ES_PASSWORD; private CA: ES_CA_CERTS.",
        envvar="ES_INGEST_ES",
        autocompletion=completion.servers,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Model: a registry name (medte, gte-base, minilm, …), a local folder, or a hub id (default: medte;"
        " for an existing index: its own).",
        autocompletion=completion.models,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        help="cpu, cuda, cuda:N, mps, cuda:all, or a list of GPUs (default: a GPU where there is one).",
        autocompletion=completion.devices,
    ),
]
Precision = Annotated[
    str,
    typer.Option(
        help="What is computed in: auto, fp32, bf16, int8 (CPU), fp8 (GPU).", autocompletion=completion.precisions
    ),
]
MaxTokens = Annotated[int | None, typer.Option(help="Longest input of the model in tokens.")]
ChunkTokens = Annotated[int | None, typer.Option(help="Most tokens of a chunk (default: what the model takes).")]
ChunkOverlap = Annotated[int, typer.Option(help="Tokens a chunk repeats from the one before it.")]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="Format, see `es-ingest formats` (default: by the sources).",
        show_default=False,
        autocompletion=completion.formats,
    ),
]
IdField = Annotated[str | None, typer.Option(help="Field of the id (jsonl, csv, parquet).")]
TitleField = Annotated[str | None, typer.Option(help="Field of the title.")]
TextField = Annotated[list[str] | None, typer.Option(help="Field of the text; several are joined.")]
MetaField = Annotated[list[str] | None, typer.Option(help="Field to keep as metadata (default: all).")]
VectorField = Annotated[
    str | None,
    typer.Option(
        help="Field of a ready-made vector (jsonl, csv, parquet): a list of numbers, in CSV as JSON. Each stands for a"
        " whole text, which is not split. No model is loaded: --model names the one that made them, which is recorded."
    ),
]
Quote = Annotated[
    str | None,
    typer.Option(
        help="Character that CSV cells are quoted by; none where quotes are plain characters (default: the double"
        " quote).",
        show_default=False,
    ),
]
Vectors = Annotated[
    Path | None,
    typer.Option(
        help="Like --vector-field, but from a file beside the sources: a .npy of shape (rows, dimensions), any floats,"
        " with a row for each row of all sources in their order, malformed ones included.",
        show_default=False,
    ),
]
Normalise = Annotated[
    bool, typer.Option("--normalise", help="Scale ready-made vectors to unit length, which the index demands.")
]
Ledger = Annotated[
    Path | None, typer.Option(help="File of the ledger (default: one for the index in ES_INGEST_STATE).")
]
MaxDead = Annotated[int | None, typer.Option(min=0, help="End the run at more dead letters than this.")]
Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML file with a table for each command, keys as its options. An option counts before its environment"
        " variable (ES_INGEST_RUN_INDEX), that before the file, that before the default.",
        envvar="ES_INGEST_CONFIG",
        is_eager=True,
        callback=load_config,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress and no notes; warnings and errors remain.")
]
LogFormat = Annotated[
    str,
    typer.Option(
        help="Of notes, warnings and errors on stderr: text, or json for a line each.",
        autocompletion=completion.log_formats,
    ),
]


def mapping_of(
    id_field: str | None,
    title_field: str | None,
    text_field: list[str] | None,
    meta_field: list[str] | None,
    vector_field: str | None = None,
    quote: str | None = None,
) -> "FieldMapping | None":
    """Return the mapping that the options ask for, None if none is given.

    :raises BadParameter: If a name is blank, the vector is named as metadata, or cells cannot be quoted so.
    """
    from es_ingest.readers import FieldMapping

    if all(one is None for one in (id_field, title_field, text_field, meta_field, vector_field, quote)):
        return None
    meta = None if meta_field is None else tuple(meta_field)
    try:
        return FieldMapping(id_field, title_field, tuple(text_field or ()), meta, vector_field, quote)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def check_vectors(
    vectors: Path | None, vector_field: str | None, *, normalise: bool, model: str | None, chunking: bool
) -> None:
    """Check the options of ready-made vectors against each other.

    :param chunking: Whether options of an encoder are given that decide what the vectors stand for.
    :raises BadParameter: If they do not go together, or what made the vectors is not named.
    """
    if vectors is None and vector_field is None:
        if normalise:
            raise typer.BadParameter("--normalise is for ready-made vectors (--vectors, --vector-field); leave it out")
        return
    if vectors is not None and vector_field is not None:
        raise typer.BadParameter("--vectors and --vector-field are both given; give the one that has the vectors")
    if model is None:
        raise typer.BadParameter("ready-made vectors need --model, the name or hub id of what made them")
    if chunking:
        raise typer.BadParameter(
            "ready-made vectors stand for whole texts, which are not split; leave --max-tokens, --chunk-tokens and"
            " --chunk-overlap out"
        )


def check_format(name: str | None) -> None:
    """Check a format's name.

    :raises BadParameter: If there is none of that name.
    """
    from es_ingest.readers import FORMATS

    if name is not None and name not in FORMATS:
        raise typer.BadParameter(f"format {name!r} is unknown; the formats are {', '.join(FORMATS)}")


def check_quantisation(name: str | None) -> None:
    """Check a quantisation's name.

    :raises BadParameter: If there is none of that name.
    """
    from medte_haystack.index import QUANTISATIONS

    if name is not None and name not in QUANTISATIONS:
        raise typer.BadParameter(f"quantisation {name!r} is unknown; there are {', '.join(QUANTISATIONS)}")


def check_apart(sources: list[str], files: Mapping[str, Path | None]) -> None:
    """Check that files of their own are neither folders nor one another, nor what is read.

    :param files: By the names of their options.
    :raises BadParameter: If one is.
    """
    seen = {Path(source).resolve(): "a source" for source in sources if source != "-"}
    for name, path in files.items():
        if path is None:
            continue
        if path.is_dir():
            raise typer.BadParameter(f"--{name} {path} is a folder; name a file")
        other = seen.setdefault(path.resolve(), f"--{name}")
        if other != f"--{name}":
            raise typer.BadParameter(f"--{name} {path} is {other} as well; name another file")
