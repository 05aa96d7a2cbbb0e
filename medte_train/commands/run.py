"""``medte-train run``."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from es_ingest.commands.options import Json, Quiet
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr

if TYPE_CHECKING:
    from medte_haystack.training.record import Trained


def run(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="A TOML file, or the name of a recipe: see `medte-train recipes`.")
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run (default: runs/ and the configuration's name).", file_okay=False),
    ] = None,
    pairs: Annotated[
        list[str] | None,
        typer.Option(help="File or folder of pairs, instead of data.pairs; may come several times."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Another value of a key, such as loss.temperature=0.07; none removes it."
        ),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a model. The same command again goes on where one was ended.

    On several GPUs: accelerate launch -m medte_train.cli run CONFIG.
    """
    notes_to_stderr(quiet)
    with reported(interrupted="checkpoints stay, and the same command goes on from the last"):
        from medte_haystack.training.config_file import load_config
        from medte_haystack.training.run import train
        from medte_train.decontamination import training_pairs
        from medte_train.evaluation import TaskScores
        from medte_train.recipes import recipes

        path = recipes().get(config, Path(config))
        if not path.exists():
            raise typer.BadParameter(f"{config} is neither a file nor a recipe; the recipes are {', '.join(recipes())}")
        settings = load_config(path, [*(f"data.pairs={json.dumps(pairs)}" for _ in [pairs] if pairs), *(change or ())])
        evaluate = TaskScores(settings.evaluation, settings.run.device) if settings.evaluation.tasks else None
        folder = out or Path("runs") / path.stem
        trained = train(settings, training_pairs(settings, folder), folder, evaluate)
        if os.environ.get("RANK", "0") != "0":  # of several processes one tells
            return
        if as_json:
            typer.echo(json.dumps(trained.to_dict(), ensure_ascii=False))
        else:
            _print(trained)


def _print(trained: "Trained") -> None:
    for source in trained.sources:
        typer.echo(f"{source['source']}: {source['pairs']:,} pairs, {source['share']:.1%} of the batches")
    for name, scores in trained.scores.items():
        typer.echo(f"{name}: {', '.join(f'{task} {score:.4f}' for task, score in scores.items())}")
    typer.echo(f"{trained.folder}: {trained.steps:,} steps{', trained before' if trained.before else ''}")
