"""``medte-train average``."""

from pathlib import Path
from typing import Annotated

import typer

from es_ingest.commands.options import Quiet
from es_ingest.faults import reported
from es_ingest.terminal import notes_to_stderr


def average(
    model: Annotated[Path, typer.Argument(help="Folder of a trained model.", file_okay=False)],
    base: Annotated[str, typer.Option(help="What it was trained from: a registry name, a folder, or a hub id.")],
    base_share: Annotated[float, typer.Option(min=0, max=1, help="Share of the base model's weights.")],
    out: Annotated[Path, typer.Option(help="Folder for the new model.", file_okay=False)],
    quiet: Quiet = False,
) -> None:
    """Average a trained model's weights with those of its base (WiSE-FT), without training again.

    Much of what training has brought stays, and much of what the base can do beyond it comes back.
    """
    notes_to_stderr(quiet)
    with reported(interrupted="nothing is left of the new model"):
        from medte_haystack.encoder import locate
        from medte_haystack.errors import TrainingConfigError
        from medte_haystack.training.model import average_models

        if out.exists():
            raise TrainingConfigError(f"{out} exists; name another folder, or delete it")
        average_models(locate(model), locate(base), base_share, out)
        typer.echo(f"{out}: {1 - base_share:.0%} {model}, {base_share:.0%} {base}")
