"""What can be wrong with a source."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from es_ingest.records import ReadError

T = TypeVar("T")


class SourceError(ReadError):
    """A source that cannot be reached or read, or that gives nothing.

    :param source: Its name, as users know it.
    :param place: What was asked or read: a URL without keys, a file and its line, a query.
    :param reason: What is wrong and how to mend it. Never holds text of the source.
    """

    def __init__(self, source: str, place: str, reason: str) -> None:
        super().__init__(f"{source}: {place}", reason)
        self.args = (source, place, reason)  # so that the error pickles
        self.source = source
        self.place = place


class NothingError(SourceError):
    """A source that is as it should be and gives nothing for what was asked."""


class TransientError(Exception):
    """A try that failed in a way that may pass: asking again is worth it.

    :param reason: What happened, in words that follow the URL.
    :param retry_after: Seconds that the host asks to wait; None where it says nothing.
    :param status: The reply's HTTP status; None where none came, or another thing than the status is wrong.
    """

    def __init__(self, reason: str, retry_after: float | None = None, status: int | None = None) -> None:
        super().__init__(reason, retry_after, status)
        self.reason = reason
        self.retry_after = retry_after
        self.status = status

    def __str__(self) -> str:
        return self.reason


@contextmanager
def named(source: str) -> Iterator[None]:
    """Put a source's name before what its readers find wrong."""
    try:
        yield
    except SourceError:
        raise
    except ReadError as error:
        raise SourceError(source, error.path, error.reason) from None


def not_none(items: Iterable[T | None], source: str, place: str, reason: str) -> Iterator[T]:
    """Stream the items that are not None.

    :raises NothingError: At the end, if there was none; the parameters are its own.
    """
    found = False
    for item in items:
        if item is not None:
            found = True
            yield item
    if not found:
        raise NothingError(source, place, reason)
