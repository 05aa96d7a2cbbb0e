"""``medte-train synthesize``."""

import json
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from es_ingest.commands.options import (
    Format,
    IdField,
    Json,
    Quiet,
    Sources,
    TextField,
    TitleField,
    check_format,
    mapping_of,
)
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr


def synthesize(
    sources: Sources,
    generator: Annotated[
        Path,
        typer.Option(
            help="YAML of a Haystack chat generator (type, init_parameters), as `medte-eval build` takes it.",
            dir_okay=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="File for the triplets: JSON Lines, packed if it ends in .gz or .zst.", dir_okay=False)
    ],
    name: Annotated[str | None, typer.Option(help="Name of the source (default: the file's, without endings).")] = None,
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="Let notes go to a generator on another machine; those of MIMIC never do."),
    ] = False,
    max_calls: Annotated[int | None, typer.Option(min=1, help="Most calls of the generator.")] = None,
    max_total_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of all calls, questions and replies.")
    ] = None,
    calls_at_once: Annotated[int, typer.Option(min=1, max=64, help="Calls under way at a time.")] = 4,
    types: Annotated[
        str, typer.Option(help="Kinds of queries, separated by commas: keyword, question, treatment, lay.")
    ] = "keyword,question,treatment",
    per_type: Annotated[int, typer.Option(help="Queries of each kind a note.")] = 2,
    least_relevance: Annotated[
        float, typer.Option(help="Leave out queries whose passage the model itself rates lower, 0 to 1.")
    ] = 0.5,
    attempts: Annotated[
        int, typer.Option(help="Replies asked for a note, each told what was wrong with the one before.")
    ] = 3,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first so many notes.")] = None,
    note_characters: Annotated[int, typer.Option(min=200, help="Cut longer notes at their end.")] = 24_000,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder of replies (default: synthesis in the cache folder).", file_okay=False),
    ] = None,
    format: Format = None,  # noqa: A002
    id_field: IdField = None,
    title_field: TitleField = None,
    text_field: TextField = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Have a language model make training triplets of notes: query, passage that answers, passage that does not.

    Replies are kept: the same command goes on where one stopped, and pays for no reply twice. Nothing is sent to
    another machine without --allow-remote.
    """
    notes_to_stderr(quiet)
    check_format(format)
    fields = mapping_of(id_field, title_field, text_field, None)
    with reported(interrupted="replies are kept, and the same command goes on"), ExitStack() as stack:
        from medte_eval.tasks import task_names
        from medte_eval.tasks.building.rephrase import load_generator
        from medte_haystack.encoder.backends.cache import cache_folder
        from medte_train.synthesis.asking import Asker
        from medte_train.synthesis.notes import format_of, read_notes
        from medte_train.synthesis.remote import Guard, remote_places
        from medte_train.synthesis.synthesize import Synthesis, SynthesisOptions, refuse_private
        from medte_train.synthesis.writing import write_triplets

        options = SynthesisOptions(tuple(task_names(types)), per_type, least_relevance, attempts)
        chosen = format_of(sources, format, fields)
        component, identity = load_generator(generator)
        guard, places = Guard(), remote_places(component)
        if places:
            _check_remote(places, allow_remote=allow_remote, capped=bool(max_calls or max_total_tokens))
        else:
            stack.enter_context(guard.on())
        asker = Asker(
            component,
            identity,
            cache or cache_folder() / "synthesis",
            guard,
            max_calls=max_calls,
            max_tokens=max_total_tokens,
        )
        made = Synthesis(asker, name or out.name.partition(".")[0], options, calls_at_once)
        notes = islice(read_notes(sources, chosen, fields, note_characters, made.dropped), limit)
        report = write_triplets(out, made, refuse_private(notes, places) if places else notes)
        if as_json:
            typer.echo(json.dumps(report, ensure_ascii=False))
        else:
            _print(report, out)
        if report["not_asked"]:
            raise typer.Exit(Exit.SOME_DEAD)


def _check_remote(places: list[str], *, allow_remote: bool, capped: bool) -> None:
    """Refuse to send notes away unless that is wanted, and to pay without a limit."""
    where = ", ".join(places)
    if not allow_remote:
        raise typer.BadParameter(
            f"the generator is at {where}, which is not this machine; --allow-remote lets notes go there"
        )
    if not capped:
        raise typer.BadParameter(
            f"the generator is at {where}; say with --max-calls or --max-total-tokens how much it may cost"
        )


def _print(report: dict[str, Any], out: Path) -> None:
    kinds = ", ".join(f"{number:,} {name}" for name, number in report["types"].items())
    typer.echo(
        f"{report['triplets']:,} triplets of {report['notes']:,} notes in {out}: {kinds};"
        f" {report['with_negative']:,} with a hard negative"
    )
    for reason, number in report["dropped"].items():
        typer.echo(f"left out: {number:,} {reason}")
    typer.echo(
        f"{report['calls']:,} calls, {report['answered_before']:,} answered before, {report['prompt_tokens']:,} tokens"
        f" asked, {report['completion_tokens']:,} answered"
    )
    if report["not_asked"]:
        typer.echo(f"{report['not_asked']:,} notes were not asked about; the same command goes on with them")
