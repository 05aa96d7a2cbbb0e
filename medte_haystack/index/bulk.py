"""Bulk writing: requests bounded by count and bytes, only what was rejected sent again, every failure reported."""

import logging
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from elastic_transport import TransportError
from elasticsearch import ApiError, UnsupportedProductError

from medte_haystack.errors import BulkWriteError, IndexContractError
from medte_haystack.index.contract import check_id
from medte_haystack.index.server_errors import NOT_ALLOWED, cause_of
from medte_haystack.index.steps import AtOnce, Pause, Request, Steps

logger = logging.getLogger(__name__)

Action = Literal["index", "create", "update", "delete"]

MAX_COUNT = 500
MAX_BYTES = 8 * 1024 * 1024
AT_ONCE = 4  # requests under way at a time: one alone leaves most of a server idle
_BUSY = frozenset({429, 502, 503, 504})
_TOO_LARGE = 413
_BLOCKED = "cluster_block_exception"  # e.g. a full disk makes an index read-only until there is room again
_GONE = frozenset({"index_not_found_exception", "index_closed_exception"})
_CREATED, _NOT_FOUND = 201, 404
_ANSWER = "errors,items.*.status,items.*.error.type,items.*.error.reason"


@dataclass(frozen=True, slots=True)
class Operation:
    """One document operation, serialised.

    :param action: ``index`` overwrites, ``create`` refuses an id that is there, ``update`` merges, ``delete`` removes.
    :param id: Document id.
    :param body: JSON of the document, None for ``delete``.
    """

    action: Action
    id: str
    body: bytes | None = None

    def lines(self) -> list[bytes]:
        """Return the operation as lines of a bulk body."""
        header = orjson.dumps({self.action: {"_id": self.id}})
        return [header] if self.body is None else [header, self.body]

    @property
    def size(self) -> int:
        """Bytes in a bulk body."""
        return len(self.id) + 24 + len(self.body or b"")


@dataclass(frozen=True, slots=True)
class Failure:
    """A document that the server refused for good; never holds the document's text.

    :param id: Document id.
    :param status: HTTP status of the item.
    :param type: Elasticsearch's error type.
    :param reason: Its reason, without the value previews the server adds.
    """

    id: str
    status: int
    type: str
    reason: str


@dataclass(frozen=True, slots=True)
class BulkResult:
    """What became of some operations.

    :param created: Documents that were new.
    :param updated: Documents that replaced or changed one.
    :param deleted: Deletions that found theirs.
    :param failures: Documents that were refused for good.
    :param retried: How many times a rejected document was sent again, by itself or with its whole request.
    """

    created: int = 0
    updated: int = 0
    deleted: int = 0
    failures: tuple[Failure, ...] = ()
    retried: int = 0

    @property
    def written(self) -> int:
        """Operations that the server acknowledged and that changed something."""
        return self.created + self.updated + self.deleted

    def __add__(self, other: "BulkResult") -> "BulkResult":
        return BulkResult(
            self.created + other.created,
            self.updated + other.updated,
            self.deleted + other.deleted,
            self.failures + other.failures,
            self.retried + other.retried,
        )


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


def operation(action: Action, id: str, body: Mapping[str, Any] | None = None) -> Operation:  # noqa: A002
    """Serialise one operation.

    :param body: The document; for ``update`` the fields to merge.
    :raises IndexContractError: If a value cannot be written as JSON, e.g. a lone surrogate, or the id is too long.
    """
    check_id(id)
    if body is None:
        return Operation(action, id)
    try:
        return Operation(action, id, orjson.dumps(body, default=str, option=orjson.OPT_SERIALIZE_NUMPY))
    except (TypeError, ValueError) as error:
        raise IndexContractError(f"document {id!r} cannot be written as JSON: {error}", id=id) from error


def batches(operations: Iterable[Operation], max_count: int, max_bytes: int) -> Iterator[list[Operation]]:
    """Group operations into requests under both bounds; one that is above by itself goes alone."""
    batch: list[Operation] = []
    size = 0
    for one in operations:
        if batch and (len(batch) == max_count or size + one.size > max_bytes):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += one.size
    if batch:
        yield batch


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
            done, rejected, reason = _read(answer, left, patient=backoff.patient)
        except (ApiError, TransportError) as error:
            if isinstance(error, ApiError) and error.status_code == _TOO_LARGE:
                if len(left) == 1:
                    return result + BulkResult(failures=(_too_large(left[0]),))
                half = len(left) // 2
                for part in (left[:half], left[half:]):
                    result += yield from send(
                        index, part, pipeline=pipeline, backoff=backoff, on_rejection=on_rejection
                    )
                return result
            _raise_unless_passing(error, left, index, attempt, backoff)
            logger.warning("bulk request to %s failed (%s), try %d", index, type(error).__name__, attempt)
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


def _read(
    answer: Mapping[str, Any], batch: Sequence[Operation], *, patient: bool
) -> tuple[BulkResult, list[Operation], str]:
    """Tell what became of a request's operations, which were rejected for now, and why.

    :raises TransportError: If the answer is not one to this request.
    """
    body = getattr(answer, "body", answer)  # None if the answer broke off before it
    items = body.get("items", ()) if isinstance(body, Mapping) else ()
    if len(items) != len(batch):
        raise TransportError(f"the answer is about {len(items)} operations, not {len(batch)}")
    created = updated = deleted = 0
    failures, rejected, why = [], [], ""
    for one, item in zip(batch, items, strict=True):
        (outcome,) = item.values()
        status = outcome["status"]
        error = outcome.get("error") or {}
        reason = _without_values(str(error.get("reason", "")))
        if status in _BUSY or (patient and error.get("type") == _BLOCKED):
            rejected.append(one)
            why = why or reason
        elif error:
            failures.append(Failure(one.id, status, str(error.get("type", "")), reason))
        elif status == _CREATED:
            created += 1
        elif one.action != "delete":
            updated += 1
        elif status != _NOT_FOUND:
            deleted += 1
    return BulkResult(created, updated, deleted, tuple(failures)), rejected, why


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


def _too_large(one: Operation) -> Failure:
    reason = f"the document has {one.size} bytes, more than the server takes (its http.max_content_length); split it"
    return Failure(one.id, _TOO_LARGE, "too_large", reason)


def _without_values(reason: str) -> str:
    """Cut off what repeats a document's values: previews, and the first bytes of a term that is too long."""
    return re.sub(r"\.?\s*(Preview of |The prefix of the first immense term is).*", "", reason, flags=re.DOTALL)


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
        passing = error.status_code in _BUSY and (repeatable or error.status_code == 429)
        passing = passing or (backoff.patient and cause_of(error)[0] == _BLOCKED)
    else:
        passing = repeatable
    if passing and attempt < backoff.tries:
        return
    kind, reason = cause_of(error)
    if kind == NOT_ALLOWED:
        raise _not_allowed(index, attempt, reason, [one.id for one in left]) from error
    raise BulkWriteError(
        f"writing to index {index!r} failed (try {attempt}): {_without_values(str(error))}; {len(left)} documents"
        " of this request are not acknowledged",
        index=index,
        attempts=attempt,
        unacknowledged=[one.id for one in left],
    ) from error
