"""A line with `medte-eval run` in it, read as the command itself reads it."""

import inspect
import shlex

import typer

from medte_eval.checks import CheckFileError
from medte_eval.commands.run import run
from medte_eval.evaluation import ASKED_WRONGLY, Evaluation

_NOT_HERE = ("--es", "--out", "--fresh", "--json", "--quiet", "-q", "--help")


def read_line(line: str) -> Evaluation:
    """Return what a line asks for.

    :param line: As it stands in a shell, without substitutions; may be broken by backslashes.
    :raises CheckFileError: If it is no such line, or asks for what is not there.
    :raises ReadError: If it asks for the whole benchmark, and nothing of it is built.
    """
    try:
        words = shlex.split(line.replace("\\\n", " "))
    except ValueError as error:
        raise CheckFileError(f"command: cannot be split into words: {error}") from None
    if words[:2] != ["medte-eval", "run"]:
        raise CheckFileError("command: does not begin with `medte-eval run`")
    extra = next((word for word in words if word.partition("=")[0] in _NOT_HERE), None)
    if extra is not None:
        raise CheckFileError(f"command: {extra} does not belong into the line of a check; leave it out")
    app = typer.Typer(add_completion=False)
    app.command()(run)
    try:
        given = typer.main.get_command(app).make_context("medte-eval run", words[2:]).params
        return Evaluation.of(**{name: given[name] for name in inspect.signature(Evaluation.of).parameters})
    except typer.TyperException as error:
        raise CheckFileError(f"command: {' '.join(error.format_message().split())}") from None
    except ASKED_WRONGLY as error:
        raise CheckFileError(f"command: {error}") from None
