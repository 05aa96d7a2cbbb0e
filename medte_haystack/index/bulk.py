"""Bulk writing: requests bounded by count and bytes, only what was rejected sent again, every failure reported."""

import logging
import math
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from elastic_transport import TransportError
from elasticsearch import ApiError, UnsupportedProductError

from medte_haystack.errors import BulkWriteError
from medte_haystack.index.operations import Operation, batches
from medte_haystack.index.outcome import (
    BLOCKED,
    BUSY,
    TOO_LARGE,
    BulkResult,
    Failure,
    read_answer,
    too_large,
    without_values,
)
from medte_haystack.index.server_errors import NOT_ALLOWED, cause_of
from medte_haystack.index.steps import AtOnce, Pause, Request, Steps

logger = logging.getLogger(__name__)

MAX_COUNT = 500
MAX_BYTES = 8 * 1024 * 1024
AT_ONCE = 4  # requests under way at a time: one alone leaves most of a server idle
_GONE = frozenset({"index_not_found_exception", "index_closed_exception"})
_ANSWER = "errors,items.*.status,items.*.error.type,items.*.error.reason"


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between tries: doubling, with jitter.

    :param first: Seconds before the first repetition.
    :param longest: Most seconds of one wait.
    :param tries: Tries in all.
    :param patient: Also wait for an index that is blocked, as on a full disk, and give up the request rather than
        documents when the tries are used up.
    """

    first: float = 0.5
    longest: float = 20.0
    tries: int = 9
    patient: bool = False

    def seconds(self, attempt: int) -> float:
        """Return the wait after try number `attempt`, counted from 1."""
        seconds: float = min(self.longest, self.first * 2.0 ** (attempt - 1)) * random.uniform(0.5, 1.0)  # noqa: S311  no secret
        return seconds


class _Seldom:
    """Warns once in a while: all requests under way meet the same server, and each tries again and again."""

    def __init__(self, every: float) -> None:
        self._every = every
        self._last = -math.inf

    def warn(self, message: str, *values: object) -> None:
        """Log a warning, or a mere information if the last one was not long ago."""
        now = time.monotonic()
        due = now - self._last >= self._every
        if due:
            self._last = now
        logger.log(logging.WARNING if due else logging.INFO, message, *values)


_SELDOM = _Seldom(10.0)


def _waves(waiting: Iterable[list[Operation]]) -> Iterator[list[list[Operation]]]:
    """Group requests that may go at the same time: no two of them about the same document, whose last state counts."""
    wave: list[list[Operation]] = []
    ids: set[str] = set()
    for batch in waiting:
        own = {one.id for one in batch}
        if len(wave) == AT_ONCE or not ids.isdisjoint(own):
            yield wave
            wave, ids = [], set()
        wave.append(batch)
        ids |= own
    if wave:
        yield wave


def write(
    index: str,
    operations: Iterable[Operation],
    *,
    pipeline: str | None = None,
    max_count: int = MAX_COUNT,
    max_bytes: int = MAX_BYTES,
    backoff: Backoff = Backoff(),
) -> Steps[BulkResult]:
    """Send operations in as many bulk requests as the bounds ask for, a few at a time.

    :param pipeline: Ingest pipeline of the server.
    :raises BulkWriteError: If the server stays unreachable, or refuses a request as a whole.
    """
    total = BulkResult()
    for wave in _waves(batches(operations, max_count, max_bytes)):
        results = yield AtOnce([send(index, batch, pipeline=pipeline, backoff=backoff) for batch in wave])
        total = sum(results, start=total)
    return total


def send(
    index: str,
    batch: Sequence[Operation],
    *,
    pipeline: str | None = None,
    backoff: Backoff = Backoff(),
    on_rejection: Callable[[], None] | None = None,
) -> Steps[BulkResult]:
    """Send one bulk request, and again what was rejected for lack of room, until the rest is done or refused.

    A request whose answer was lost is sent again too, save one that holds a ``create``: it might have been carried out,
    and its repetition would be refused as a duplicate. A request that is too large for the server is halved.

    :param on_rejection: Called whenever the server was too busy for some of it.
    :raises BulkWriteError: If the server stays unreachable, refuses the request as a whole, or forbids some of it.
    """
    result, left, attempt = BulkResult(), list(batch), 0
    while left:
        attempt += 1
        try:
            answer = yield _request(index, left, pipeline)
            done, rejected, reason = read_answer(answer, left, patient=backoff.patient)
        except (ApiError, TransportError) as error:
            if isinstance(error, ApiError) and error.status_code == TOO_LARGE:
                if len(left) == 1:
                    return result + BulkResult(failures=(too_large(left[0]),))
                half = len(left) // 2
                for part in (left[:half], left[half:]):
                    result += yield from send(
                        index, part, pipeline=pipeline, backoff=backoff, on_rejection=on_rejection
                    )
                return result
            _raise_unless_passing(error, left, index, attempt, backoff)
            _SELDOM.warn(
                "bulk request to %s failed (%s), try %d of %d; it is sent again",
                *(index, type(error).__name__, attempt, backoff.tries),
            )
            if not _is_lost(error):
                result += BulkResult(retried=len(left))
                if on_rejection is not None:
                    on_rejection()
            yield Pause(backoff.seconds(attempt))
            continue
        _raise_unless_open(done.failures, rejected, index, attempt)
        if rejected and on_rejection is not None:
            on_rejection()
        if rejected and attempt >= backoff.tries:
            if backoff.patient:
                raise _given_up(index, attempt, reason, rejected)
            failures = tuple(Failure(one.id, 429, "rejected", f"rejected {attempt} times") for one in rejected)
            return result + done + BulkResult(failures=failures)
        result += done + BulkResult(retried=len(rejected))
        left = rejected
        if left:
            yield Pause(backoff.seconds(attempt))
    return result


def _request(index: str, batch: Sequence[Operation], pipeline: str | None) -> Request:
    body = b"\n".join([*(line for one in batch for line in one.lines()), b""])
    return lambda client: client.options(max_retries=0, request_timeout=120).bulk(
        index=index, operations=body, pipeline=pipeline, filter_path=_ANSWER
    )


def _given_up(index: str, attempts: int, reason: str, rejected: Sequence[Operation]) -> BulkWriteError:
    return BulkWriteError(
        f"index {index!r} takes no documents (try {attempts}): {reason}; {len(rejected)} documents of this request are"
        " not acknowledged",
        index=index,
        attempts=attempts,
        unacknowledged=[one.id for one in rejected],
    )


def _not_allowed(index: str, attempts: int, reason: str, unacknowledged: Sequence[str]) -> BulkWriteError:
    return BulkWriteError(
        f"writing to index {index!r} is not allowed: {reason}; have these credentials given what they lack, or use"
        f" others; {len(unacknowledged)} documents of this request are not acknowledged",
        index=index,
        attempts=attempts,
        unacknowledged=unacknowledged,
    )


def _is_lost(error: ApiError | TransportError) -> bool:
    """Tell whether the answer did not arrive as a whole: one that broke off in its head lacks the product's name."""
    return not isinstance(error, ApiError) or isinstance(error, UnsupportedProductError)


def _raise_unless_open(failures: Sequence[Failure], rejected: Sequence[Operation], index: str, attempt: int) -> None:
    for failure in failures:  # no fault of this document: the others would fare the same
        unacknowledged = [*(one.id for one in failures), *(one.id for one in rejected)]
        if failure.type == NOT_ALLOWED:
            raise _not_allowed(index, attempt, failure.reason, unacknowledged)
        if failure.type in _GONE:
            raise BulkWriteError(
                f"index {index!r} takes no documents any more: {failure.reason}; {len(unacknowledged)} documents of"
                " this request are not acknowledged",
                index=index,
                attempts=attempt,
                unacknowledged=unacknowledged,
            )


def _raise_unless_passing(
    error: Exception, left: Sequence[Operation], index: str, attempt: int, backoff: Backoff
) -> None:
    repeatable = not any(one.action == "create" for one in left)
    if isinstance(error, ApiError) and not _is_lost(error):
        passing = error.status_code in BUSY and (repeatable or error.status_code == 429)
        passing = passing or (backoff.patient and cause_of(error)[0] == BLOCKED)
    else:
        passing = repeatable
    if passing and attempt < backoff.tries:
        return
    kind, reason = cause_of(error)
    if kind == NOT_ALLOWED:
        raise _not_allowed(index, attempt, reason, [one.id for one in left]) from error
    raise BulkWriteError(
        f"writing to index {index!r} failed (try {attempt}): {without_values(str(error))}; {len(left)} documents"
        " of this request are not acknowledged",
        index=index,
        attempts=attempt,
        unacknowledged=[one.id for one in left],
    ) from error
