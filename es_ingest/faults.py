"""Exit statuses of the commands, and how an error becomes one."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from es_ingest.terminal import Terminated, tell_error


class Exit(IntEnum):
    """What a command's exit status says."""

    OK = 0
    BUG = 1
    USAGE = 2
    SOME_DEAD = 3
    MODEL = 4
    CLUSTER = 5
    INDEX = 6
    SOURCE = 7
    LEDGER = 8
    ENGINE = 9
    CHECK = 10
    INTERRUPTED = 130


class Ended(typer.Exit):
    """An error has ended a command, and is told.

    :ivar message: What was said of it.
    """

    def __init__(self, status: Exit, message: str) -> None:
        super().__init__(status)
        self.message = message


_GOES_ON = "what the server acknowledged stays, and the same command again completes it"


@contextmanager
def reported(*, interrupted: str = _GOES_ON) -> Iterator[None]:
    """Turn the errors a user can act on into one message on stderr and an exit status.

    :param interrupted: What to say on Ctrl-C and SIGTERM.
    """
    try:
        yield
    except (KeyboardInterrupt, Terminated) as error:
        typer.echo(f"{message_of(error)}; {interrupted}", err=True)
        raise typer.Exit(128 + signal.SIGTERM if isinstance(error, Terminated) else Exit.INTERRUPTED) from None
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(Exit.OK) from None
    except Exception as error:
        status = status_of(error)
        if status is None:
            raise
        message = message_of(error)
        tell_error(message)
        raise Ended(status, message) from None


def message_of(error: BaseException) -> str:
    """Return what a user is told of an error: its message, or only its name if it is none that a user can act on."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, Terminated):
        return "terminated"
    if not isinstance(error, Exception) or status_of(error) is None:
        return type(error).__name__
    from medte_haystack.index.server_errors import NOT_ALLOWED, cause_of

    kind, reason = cause_of(error)
    if kind != NOT_ALLOWED:
        return str(error)
    return (
        f"the server does not allow this: {reason}; have these credentials given what they lack, or use others:"
        " ES_API_KEY, or ES_USERNAME and ES_PASSWORD"
    )


def status_of(error: Exception) -> Exit | None:
    """Return the exit status of an error that a user can act on; None for a bug."""
    # Imported here, since `es-ingest --help` needs none of them.
    from elastic_transport import TransportError
    from elasticsearch import ApiError

    from es_ingest.cluster import ClusterError, OptionError
    from es_ingest.distributed.errors import EngineError
    from es_ingest.metrics import MetricsError
    from es_ingest.records import ReadError
    from es_ingest.stream.dead_letters import DeadLetterError
    from es_ingest.stream.locking import LedgerError
    from medte_haystack import errors

    match error:
        case OptionError():
            return Exit.USAGE
        case ClusterError() | TransportError() | ApiError() | errors.BulkWriteError() | errors.SearchError():
            return Exit.CLUSTER
        case errors.EncoderOptionError() | errors.TrainingConfigError():
            return Exit.USAGE
        case errors.ModelNotAvailableError() | errors.ModelError():
            return Exit.MODEL
        case ReadError() | errors.TrainingDataError():
            return Exit.SOURCE
        case errors.TrainingOutputError():
            return Exit.LEDGER
        case errors.MedTEError():
            return Exit.INDEX
        case LedgerError() | DeadLetterError() | MetricsError():
            return Exit.LEDGER
        case EngineError():
            return Exit.ENGINE
    return None
