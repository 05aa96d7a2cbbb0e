"""``medte-eval tasks``."""

import json
from collections import Counter
from typing import TYPE_CHECKING

import typer

from es_ingest.commands.options import Json
from es_ingest.faults import reported
from medte_eval.commands.build import Exports, Mimic, Offline, exports_of
from medte_eval.commands.options import DataDir

if TYPE_CHECKING:
    from medte_eval.tasks.listing import Listed

_OTHERS = (
    {
        "name": "beir:FOLDER",
        "type": "Retrieval",
        "source": "a folder with corpus.jsonl, queries.jsonl, qrels/test.tsv, each plain or .gz",
        "description": "test split of any BEIR data set, title and text",
    },
    {
        "name": "SciFact, MTEB(Medical, v1), …",
        "type": "any",
        "source": "the Hugging Face hub",
        "description": "tasks and benchmarks of mteb by their names there",
    },
)

_STALE = ", stale since its export changed"


def tasks(
    data_dir: DataDir = None,
    mimic: Mimic = None,
    export: Exports = None,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """List the tasks: what each needs, and whether it is built or can be built with what is given."""
    from medte_eval.tasks.benchmark import NAME
    from medte_eval.tasks.building.folder import default_data_dir
    from medte_eval.tasks.listing import list_tasks

    folder = data_dir or default_data_dir()
    with reported():
        listed = list_tasks(folder, exports_of(export, mimic), offline=offline)
    counts = Counter(one.task.kind for one in listed if not one.task.reserve)
    if as_json:
        found = {
            "benchmark": NAME,
            "counts": counts,
            "data_dir": str(folder),
            "tasks": [one.to_dict() for one in listed],
            "others": _OTHERS,
        }
        typer.echo(json.dumps(found, ensure_ascii=False))
        return
    table = [(one.task.name, one.task.kind, one.task.source, _state(one)) for one in listed]
    widths = [max(len(row[column]) for row in table) for column in range(3)]
    for row in table:
        typer.echo("  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3])))
    typer.echo(f"\n{NAME}: {', '.join(f'{number} {kind}' for kind, number in counts.items())}. Built in {folder}.")
    typer.echo(f"Build them: medte-eval build --tasks {listed[0].task.name},…; --json tells what each needs.\n")
    for other in _OTHERS:
        typer.echo(f"{other['name']}: {other['description']}; source: {other['source']}")


def _state(listed: "Listed") -> str:
    states = [
        f"built{' without a language model' * one.name.endswith('.LLMFree')}{_STALE * (one.name in listed.stale)}"
        for one in listed.built
    ]
    if listed.damaged:
        states.append("damaged")
    if not states:
        needs = f"needs {listed.needs[0].partition(':')[0]}"
        states.append("can be built" if listed.buildable else f"{needs}: {listed.wrong}" if listed.wrong else needs)
        if listed.task.uses_llm:
            states.append(f"without --generator as {listed.task.llm_free_name}")
    if listed.task.reserve:
        states.append("reserve, off unless named")
    return ", ".join(states)
