"""What the commands have in common on a terminal: where notes go, and how a command ends."""

import datetime
import io
import json
import logging
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


def notes_to_stderr(quiet: bool, log_format: str = "text") -> "Console":
    """Send notes to stderr, where they do not mix with results, and return the console that shows progress there.

    :param quiet: Only warnings and errors.
    :param log_format: ``text``, or ``json`` for one JSON object a line.
    :raises BadParameter: If the format is none of these.
    """
    from rich.console import Console
    from rich.logging import RichHandler

    from es_ingest.progress import COUNTING_THREAD

    console = Console(stderr=True, soft_wrap=True)
    handler: logging.Handler = logging.StreamHandler()
    if console.is_terminal:  # a bar may be shown below the notes
        handler = RichHandler(console=console, show_time=False, show_level=False, show_path=False)
    if log_format not in ("text", "json"):
        raise typer.BadParameter(f"log format {log_format!r} is unknown; there are text and json")
    if log_format == "json":
        handler = logging.StreamHandler()
    handler.setFormatter(_JsonLines() if log_format == "json" else logging.Formatter("%(message)s"))
    handler.addFilter(
        lambda record: record.threadName != COUNTING_THREAD
    )  # it reads what the run reads, and would say it twice
    for name in ("es_ingest", "medte_haystack", "medte_eval"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.WARNING if quiet else logging.INFO)
        logger.handlers = [handler]
        logger.propagate = False
    return console


def tell_error(message: str) -> None:
    """Print what ended a command: on stderr, in the form that notes have there."""
    logger = logging.getLogger("es_ingest")
    if any(isinstance(handler.formatter, _JsonLines) for handler in logger.handlers):
        logger.error("%s", message)
    else:
        typer.echo(f"error: {message}", err=True)


class _JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC, ISO 8601), level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.datetime.fromtimestamp(record.created, datetime.UTC).isoformat(timespec="milliseconds")
        line = {"time": when, "level": record.levelname, "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["error"] = str(record.exc_info[1])
        return json.dumps(line, ensure_ascii=False)


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
