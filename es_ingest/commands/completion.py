"""Shell completion: the scripts for the shells, and words for the values of options.

The names of models, quantisations and precisions stand here once more: who presses Tab waits for no PyTorch.
"""

import os
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import completion_init, install_callback, show_callback  # type: ignore[attr-defined]


class Shell(StrEnum):
    """A shell that can complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"
    PWSH = "pwsh"


def scripts(
    install_completion: Annotated[
        Shell | None,
        typer.Option(
            help="Install completion for a shell.", callback=install_callback, is_eager=True, show_envvar=False
        ),
    ] = None,
    show_completion: Annotated[
        Shell | None,
        typer.Option(
            help="Print a shell's script for completion.", callback=show_callback, is_eager=True, show_envvar=False
        ),
    ] = None,
) -> None:
    """Take the shell by its name; Typer's own options guess it from the process that called."""


def formats() -> list[tuple[str, str]]:
    """Return the corpus formats with their descriptions."""
    from es_ingest.readers import formats as known

    return [(one.name, one.description) for one in known()]


def _words(*words: str) -> Callable[[], list[str]]:
    return lambda: list(words)


models = _words(
    *("medte", "gte-base", "medembed-small", "medembed-base", "medembed-large"),
    *("bge-small", "bge-base", "e5-base-v2", "minilm"),
)
quantisations = _words("hnsw", "int8", "int4", "bbq", "flat")
precisions = _words("auto", "fp32", "bf16", "int8", "fp8")
devices = _words("cpu", "cuda", "cuda:all", "mps")
analyzers = _words("auto", "english", "standard", "simple", "whitespace")  # a server may have others
servers = _words("auto", "docker", "local")
log_formats = _words("text", "json")

completion_init()
if "_ES_INGEST_COMPLETE" in os.environ:
    os.environ["COLUMNS"] = "10000"  # else Typer breaks long descriptions, and shells take their other lines for words
