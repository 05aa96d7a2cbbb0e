"""What the commands have in common on a terminal: where notes go, and how a command ends."""

import datetime
import io
import json
import logging
import os
import signal
import sys
import threading
from types import FrameType
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.console import Console


_AGAIN = 0.1  # seconds until a signal that came amid an import is heard again


class Terminated(SystemExit):
    """SIGTERM was heard: what is under way is given up, and cleared away."""

    def __init__(self) -> None:
        super().__init__(128 + signal.SIGTERM)


def is_plain() -> bool:
    """Tell whether a terminal is to be sent text alone, without escape sequences: https://no-color.org."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") in ("dumb", "unknown")


def console_on(*, stderr: bool = False) -> "Console":
    """Return what prints on stdout or stderr: lines as long as they are, in colours where there is a terminal."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True, highlight=False, force_terminal=False if is_plain() else None)


def notes_to_stderr(quiet: bool, log_format: str = "text") -> "Console":
    """Send notes to stderr, where they do not mix with results, and return the console that shows progress there.

    :param quiet: Only warnings and errors.
    :param log_format: ``text``, or ``json`` for one JSON object a line.
    :raises BadParameter: If the format is none of these.
    """
    from rich.logging import RichHandler

    from es_ingest.progress import COUNTING_THREAD

    console = console_on(stderr=True)
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
    for name in ("es_ingest", "medte_haystack", "medte_eval", "medte_train"):
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
    """Run a command so that signals unwind it: servers and indices made for it are ended and removed."""
    signal.signal(signal.SIGTERM, _unwind)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else whoever started us wants it ignored
        signal.signal(signal.SIGINT, _unwind)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character is no reason to end
    if is_plain() or not (sys.stdout.isatty() or os.environ.get("FORCE_COLOR")):
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"  # Typer has colours in some surroundings all the same
    try:
        app()
    except Terminated:  # before a command could say more
        typer.echo("terminated", err=True)
        raise


def _unwind(number: int, frame: FrameType | None) -> None:
    """End what the main thread does, but for imports: some libraries abort the process at an exception there."""
    if _is_importing(frame):
        later = threading.Timer(_AGAIN, os.kill, (os.getpid(), number))
        later.daemon = True
        later.start()
    elif number == signal.SIGTERM:
        raise Terminated
    else:
        raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None
