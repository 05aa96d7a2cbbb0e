"""What became of the operations of a bulk request, read from the server's answer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elastic_transport import TransportError

from medte_haystack.index.operations import Operation

BUSY = frozenset({429, 502, 503, 504})
TOO_LARGE = 413
BLOCKED = "cluster_block_exception"  # e.g. a full disk makes an index read-only until there is room again
_CREATED, _NOT_FOUND = 201, 404


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


def read_answer(
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
        reason = without_values(str(error.get("reason", "")))
        if status in BUSY or (patient and error.get("type") == BLOCKED):
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


def too_large(one: Operation) -> Failure:
    """Return the failure of a document that no request can carry."""
    reason = f"the document has {one.size} bytes, more than the server takes (its http.max_content_length); split it"
    return Failure(one.id, TOO_LARGE, "too_large", reason)


def without_values(reason: str) -> str:
    """Cut off what repeats a document's values: previews, and the first bytes of a term that is too long."""
    return re.sub(r"\.?\s*(Preview of |The prefix of the first immense term is).*", "", reason, flags=re.DOTALL)
