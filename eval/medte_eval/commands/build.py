"""``medte-eval build``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from es_ingest.commands.options import Device, Json, Quiet
from es_ingest.faults import Exit, reported
from es_ingest.terminal import notes_to_stderr, tell_error
from medte_eval.commands.options import DataDir

if TYPE_CHECKING:
    from medte_eval.tasks.benchmark.task import BenchmarkTask
    from medte_eval.tasks.building.build import Builder
    from medte_eval.tasks.building.rephrase import Rephraser

Exports = Annotated[
    list[str] | None,
    typer.Option(
        "--export",
        metavar="SOURCE=PATH",
        help="Read a source from a local export instead of the network; may be given several times.",
    ),
]
Mimic = Annotated[
    Path | None,
    typer.Option(help="Folder of your own copy of MIMIC-IV and MIMIC-IV-Note; the same as --export mimic=FOLDER."),
]
Offline = Annotated[bool, typer.Option("--offline", help="Fetch nothing; what was fetched before is used.")]


def build(
    tasks: Annotated[
        str, typer.Option(help="Tasks of `medte-eval tasks`, separated by commas; MedTEB for all but the reserve.")
    ],
    data_dir: DataDir = None,
    mimic: Mimic = None,
    export: Exports = None,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder of what sources and language models answered (default: sources in the cache folder).",
            file_okay=False,
        ),
    ] = None,
    offline: Offline = False,
    seed: Annotated[int, typer.Option(help="Of samples, splits and draws.")] = 42,
    max_rows: Annotated[
        int | None, typer.Option(min=2, help="Keep no more rows of a task, and ask its source for no more items.")
    ] = None,
    faithful: Annotated[
        bool,
        typer.Option(
            "--faithful",
            help="Do as the benchmark does where it errs: MedMCQA's test split, every version of a preprint.",
        ),
    ] = False,
    generator: Annotated[
        Path | None,
        typer.Option(
            help="YAML of a Haystack chat generator (type, init_parameters) for the tasks that a language model helps"
            " to make; without it they are built as NAME.LLMFree. It never sees a clinical note.",
            dir_okay=False,
        ),
    ] = None,
    max_calls: Annotated[int | None, typer.Option(min=1, help="Most calls of the generator, in all.")] = None,
    calls_at_once: Annotated[int, typer.Option(min=1, help="Calls of the generator under way at a time.")] = 4,
    device: Device = None,
    again: Annotated[bool, typer.Option("--again", help="Build what is built already.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Build tasks from their sources. One that cannot be built is told, and the others go on."""
    notes_to_stderr(quiet)
    with reported(interrupted="what was fetched is kept, and the same command goes on"):
        from medte_eval.tasks.building.build import Builder, Options
        from medte_eval.tasks.building.folder import default_data_dir
        from medte_eval.tasks.building.negatives import minilm
        from medte_eval.tasks.building.opening import Sources

        chosen = _chosen(tasks)
        folder = cache or default_cache()
        sources = Sources(folder, offline=offline, exports=exports_of(export, mimic))
        builder = Builder(
            data_dir or default_data_dir(),
            sources,
            minilm(device),
            options=Options(seed, max_rows, faithful),
            rephraser=_rephraser(generator, folder, max_calls, calls_at_once),
        )
        done, status = _build_all(builder, chosen, again=again)
        if as_json:
            typer.echo(json.dumps({"data_dir": str(builder.data_dir), "tasks": done}, ensure_ascii=False))
        else:
            for one in done:
                typer.echo(_line(one))
        raise typer.Exit(status)


def exports_of(export: list[str] | None, mimic: Path | None) -> Mapping[str, Path]:
    """Return the local exports by source.

    :raises BadParameter: If one is not SOURCE=PATH, or comes twice.
    """
    from medte_eval.tasks.benchmark.sources import SOURCES

    found: dict[str, Path] = {}
    for one in [*(export or ()), *([f"mimic={mimic}"] if mimic else ())]:
        name, equals, path = one.partition("=")
        if name not in SOURCES or not (equals and path):
            raise typer.BadParameter(f"--export {one!r} is not SOURCE=PATH; the sources are {', '.join(SOURCES)}")
        if name in found:
            raise typer.BadParameter(f"two exports of {name} are given; give one")
        found[name] = Path(path).expanduser()
    return found


def default_cache() -> Path:
    """Return where replies of sources and language models are kept."""
    from medte_haystack.encoder.backends.cache import cache_folder

    return cache_folder() / "sources"


def _chosen(text: str) -> "list[tuple[BenchmarkTask, bool]]":
    from medte_eval.tasks import do_you_mean, task_names
    from medte_eval.tasks.benchmark import BENCHMARK, NAME, split_name

    found: dict[tuple[str, bool], tuple[BenchmarkTask, bool]] = {}
    for name in task_names(text):
        if name == NAME:
            known = [(task, False) for task in BENCHMARK.values() if not task.reserve]
        elif (one := split_name(name)) is not None:
            known = [one]
        else:
            hint = do_you_mean(name)
            raise typer.BadParameter(f"no task {name!r} can be built; {hint}`medte-eval tasks` lists those that can")
        found.update({(task.name, llm_free): (task, llm_free) for task, llm_free in known})
    if not found:
        raise typer.BadParameter("no task is named; `medte-eval tasks` lists them")
    return list(found.values())


def _rephraser(generator: Path | None, cache: Path, max_calls: int | None, calls_at_once: int) -> "Rephraser | None":
    if generator is None:
        if max_calls is not None:
            raise typer.BadParameter("--max-calls is for --generator; leave it out")
        return None
    from medte_eval.tasks.building.rephrase import Rephraser, load_generator

    component, identity = load_generator(generator)
    return Rephraser(component, identity, cache / "language-model", max_calls=max_calls, at_once=calls_at_once)


def _build_all(
    builder: "Builder", chosen: "list[tuple[BenchmarkTask, bool]]", *, again: bool
) -> tuple[list[dict[str, Any]], Exit]:
    """Build one after the other; the exit status is that of the first that could not be built, if all could not."""
    from es_ingest.records import ReadError
    from medte_haystack.errors import ModelError, ModelNotAvailableError

    done: list[dict[str, Any]] = []
    status = Exit.OK
    for task, llm_free in chosen:
        try:
            built = builder.build(task, llm_free=llm_free, again=again)
        except (ReadError, ModelError, ModelNotAvailableError) as error:
            tell_error(f"{task.name} cannot be built: {error}")
            status = status or (Exit.SOURCE if isinstance(error, ReadError) else Exit.MODEL)
            done.append({"name": task.name, "status": "failed", "message": str(error)})
            continue
        manifest = built.manifest
        done.append(
            {
                "name": manifest.name,
                "status": "built" if built.fresh else "already built",
                "rows": manifest.rows,
                "sha256": manifest.sha256,
                "folder": str(built.folder),
                "differences": manifest.differences,
                "dropped": manifest.dropped,
                "notice": manifest.notice,
            }
        )
    return done, Exit.SOME_DEAD if status and any(one["status"] != "failed" for one in done) else status


def _line(one: dict[str, Any]) -> str:
    if one["status"] == "failed":
        return f"{one['name']}: not built"
    rows = ", ".join(f"{name} {number:,}" for name, number in one["rows"].items())
    return f"{one['name']}: {one['status']}, {rows}, data {one['sha256'][:12]}, {one['folder']}"
