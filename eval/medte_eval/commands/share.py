"""``medte-eval push`` and ``medte-eval pull``."""

import json
from typing import Annotated

import typer

from es_ingest.commands.options import Json, Quiet
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr
from medte_eval.commands.options import DataDir

Names = Annotated[str, typer.Option("--tasks", help="Built tasks, separated by commas; MedTEB for all.")]


def push(
    tasks: Names,
    to: Annotated[str, typer.Option(help="A folder, or hub:OWNER/NAME for a data set on the Hugging Face hub.")],
    data_dir: DataDir = None,
    public: Annotated[
        bool, typer.Option("--public", help="Let anybody see the data set, if it is made now; heed the licences.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Copy built tasks to a folder or the hub. Those of clinical notes go to folders alone."""
    notes_to_stderr(quiet)
    with reported(interrupted="the tasks before it are pushed"):
        from medte_eval.tasks import task_names
        from medte_eval.tasks.building import share
        from medte_eval.tasks.building.folder import default_data_dir

        folder = data_dir or default_data_dir()
        names = list(share.names_built(folder, task_names(tasks)))
        _tell({name: share.push(folder, name, to, public=public) for name in names}, as_json=as_json)


def pull(
    tasks: Annotated[str, typer.Option(help="Tasks by the names under which they were built, separated by commas.")],
    source: Annotated[
        str, typer.Option("--from", help="A folder of built tasks, or hub:OWNER/NAME for a data set on the hub.")
    ],
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Fetch tasks that were built elsewhere; their hashes are checked."""
    notes_to_stderr(quiet)
    with reported(interrupted="the tasks before it are pulled"):
        from medte_eval.tasks import task_names
        from medte_eval.tasks.building import share
        from medte_eval.tasks.building.folder import default_data_dir

        folder = data_dir or default_data_dir()
        _tell({name: str(share.pull(folder, name, source)) for name in task_names(tasks)}, as_json=as_json)


def _tell(done: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"tasks": done}, ensure_ascii=False))
        return
    for name, place in done.items():
        typer.echo(f"{name}: {place}")
