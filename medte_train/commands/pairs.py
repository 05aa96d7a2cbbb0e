"""``medte-train pairs``."""

import json
from pathlib import Path
from typing import Annotated

import typer

from es_ingest.commands.options import Format, IdField, Json, Quiet, Sources, TextField, TitleField, mapping_of
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr


def pairs(
    sources: Sources,
    out: Annotated[
        Path, typer.Option(help="File for the pairs: JSON Lines, packed if it ends in .gz or .zst.", dir_okay=False)
    ],
    name: Annotated[str | None, typer.Option(help="Name of the source (default: the file's, without endings).")] = None,
    format: Format = None,  # noqa: A002
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    anchor: Annotated[
        str | None,
        typer.Option(help="Text 1: title, text, or a metadata field (default: question, else title)."),
    ] = None,
    positive: Annotated[str, typer.Option(help="Text 2: text, title, or a metadata field.")] = "text",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make training pairs of a corpus: title and abstract, question and answer, or any two fields."""
    notes_to_stderr(quiet)
    with reported(interrupted="nothing is left of the file"):
        from es_ingest.readers import detect, read
        from medte_train.making import make_pairs
        from medte_train.pair_files import write_pairs

        fields = mapping_of(id_field, title_field, text_field, None)
        chosen = format or detect(sources, fields)
        source = name or out.name.partition(".")[0]
        made = make_pairs(read(sources, chosen, fields), chosen, source, anchor=anchor, positive=positive)
        written = write_pairs(out, made)
        typer.echo(
            json.dumps({"source": source, "pairs": written}) if as_json else f"{source}: {written:,} pairs in {out}"
        )
