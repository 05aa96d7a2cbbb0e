"""``medte-train pairs``."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from es_ingest.commands.options import Format, IdField, Json, Quiet, TextField, TitleField, mapping_of
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr
from medte_eval.commands.build import Exports, Offline, exports_of

if TYPE_CHECKING:
    from es_ingest.readers import FieldMapping
    from es_ingest.records import Record
    from medte_haystack.training.pairs import Pair
    from medte_train.tally import Tally

_EVERYTHING = 10**9


def pairs(
    sources: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, glob patterns, or - for standard input.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="File for the pairs: JSON Lines, packed if it ends in .gz or .zst (default: pairs/NAME.jsonl.gz).",
            dir_okay=False,
        ),
    ] = None,
    origin: Annotated[
        str | None,
        typer.Option("--from", help="One of medte-eval's sources instead of files; `--from list` lists them."),
    ] = None,
    export: Exports = None,
    offline: Offline = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Most items to ask a source for.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the source (default: the file's, without endings).")] = None,
    format: Format = None,  # noqa: A002
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    anchor: Annotated[
        str | None, typer.Option(help="Text 1: title, text, or a metadata field (default: question, else title).")
    ] = None,
    positive: Annotated[
        str | None, typer.Option(help="Text 2: text, title, or a metadata field (default: text).")
    ] = None,
    sections: Annotated[
        bool, typer.Option("--sections", help="Pair neighbouring sections of a text, those between blank lines.")
    ] = False,
    halves: Annotated[
        bool, typer.Option("--halves", help="Pair the first half of a text with the second, cut between sentences.")
    ] = False,
    conclusions: Annotated[
        bool,
        typer.Option("--conclusions", help="Pair the last sentence of a text with its title and what stands before."),
    ] = False,
    same: Annotated[
        str | None,
        typer.Option(help="Pair texts that share a value of a metadata field, such as note_id or a label."),
    ] = None,
    symmetric: Annotated[bool, typer.Option("--symmetric", help="Give each pair the other way round as well.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make training pairs of a corpus: title and abstract, question and answer, section and section, or any two fields.

    Pairs that lack a text, or repeat a text 1, are left out and counted.
    """
    notes_to_stderr(quiet)
    with reported(interrupted="nothing is left of the file"):
        from medte_train.pair_files import write_pairs
        from medte_train.tally import Tally

        if origin == "list":
            _list_origins()
            return
        if (origin is None) == (not sources):
            raise typer.BadParameter("name files to read, or one of medte-eval's sources with --from")
        asked = (sections, halves, conclusions, same, anchor or positive)
        if sum(map(bool, asked)) > 1:
            raise typer.BadParameter(
                "--sections, --halves, --conclusions, --same, and --anchor or --positive exclude one another"
            )
        tally = Tally(name or origin or Path(sources[0] if sources else "").name.partition(".")[0] or "pairs")
        path = out or Path("pairs") / f"{tally.source}.jsonl.gz"
        made: Iterator[Pair]
        if origin is not None:
            if any(asked) or format:
                raise typer.BadParameter("--from knows its texts; leave the options of files out")
            made = _of_origin(origin, export, offline, limit, tally)
        else:
            fields = mapping_of(id_field, title_field, text_field, None)
            make = _maker(sections, halves, conclusions, same, (anchor, positive or "text"))
            made = _of_files(list(sources or ()), format, fields, tally, make)
        write_pairs(path, tally.kept(made, symmetric=symmetric))
        _print(tally, path, as_json)


def _maker(
    sections: bool,
    halves: bool,
    conclusions: bool,
    same: str | None,
    texts: tuple[str | None, str],
) -> "Callable[[Iterable[Record], str, str], Iterator[Pair]]":
    """Return what makes pairs of records in the way that was asked for."""
    from medte_train.making import conclusion_pairs, field_pairs, half_pairs, same_pairs, section_pairs

    if sections:
        return section_pairs
    if halves:
        return half_pairs
    if conclusions:
        return conclusion_pairs
    if same is not None:
        return partial(same_pairs, field=same)
    return partial(field_pairs, anchor=texts[0], positive=texts[1])


def _of_files(
    sources: list[str],
    format: str | None,  # noqa: A002
    fields: "FieldMapping | None",
    tally: "Tally",
    make: "Callable[[Iterable[Record], str, str], Iterator[Pair]]",
) -> "Iterator[Pair]":
    from es_ingest.readers import detect, read
    from medte_train.making import records_of

    chosen = format or detect(sources, fields)
    return make(records_of(read(sources, chosen, fields), tally), tally.source, chosen)


def _of_origin(
    name: str, export: list[str] | None, offline: bool, limit: int | None, tally: "Tally"
) -> "Iterator[Pair]":
    from medte_eval.commands.build import default_cache
    from medte_eval.tasks.building.opening import Sources
    from medte_train.origins import ORIGINS

    if name not in ORIGINS:
        raise typer.BadParameter(f"no source {name!r}; there are {', '.join(ORIGINS)}")
    source = Sources(default_cache(), offline=offline, exports=exports_of(export, None)).open(name)
    for pair in ORIGINS[name].pairs(source, limit or _EVERYTHING):
        tally.records += 1
        yield replace(pair, source=tally.source)


def _list_origins() -> None:
    from medte_eval.tasks.benchmark.sources import SOURCES
    from medte_train.origins import ORIGINS

    for one in ORIGINS.values():
        typer.echo(f"{one.name:11}{one.what}; {SOURCES[one.name].licence}")


def _print(tally: "Tally", path: Path, as_json: bool) -> None:
    found = {**tally.to_dict(), "file": str(path)}
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    width = max(map(len, found))
    for name, value in found.items():
        typer.echo(f"{name.replace('_', ' '):{width}}  {f'{value:,}' if isinstance(value, int | float) else value}")
