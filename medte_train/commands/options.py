"""Options that several subcommands have."""

from pathlib import Path
from typing import Annotated

import typer

Pairs = Annotated[
    list[str], typer.Argument(help="Files of pairs (JSON Lines, plain, .gz or .zst), folders of them, or patterns.")
]
OutFolder = Annotated[Path, typer.Option(help="Folder for a file of each source file's name.", file_okay=False)]
