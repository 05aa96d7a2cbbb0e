"""What the commands have in common on a terminal: where notes go, and how a command ends."""

import io
import logging
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


def notes_to_stderr(quiet: bool) -> "Console":
    """Send notes to stderr, where they do not mix with results, and return the console that shows progress there.

    :param quiet: Only warnings and errors.
    """
    from rich.console import Console
    from rich.logging import RichHandler

    from es_ingest.progress import COUNTING_THREAD

    console = Console(stderr=True, soft_wrap=True)
    handler: logging.Handler = logging.StreamHandler()
    if console.is_terminal:  # a bar may be shown below the notes
        handler = RichHandler(console=console, show_time=False, show_level=False, show_path=False)
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.addFilter(
        lambda record: record.threadName != COUNTING_THREAD
    )  # it reads what the run reads, and would say it twice
    for name in ("es_ingest", "medte_haystack", "medte_eval"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
        logger.handlers = [handler]
        logger.propagate = False
    return console


def run_command(app: typer.Typer) -> None:
    """Run a command so that SIGTERM unwinds it: servers and indices made for it are ended and removed."""
    signal.signal(signal.SIGTERM, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character is no reason to end
    app()


def _stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
    typer.echo("terminated; what the server acknowledged stays", err=True)
    sys.exit(128 + number)
