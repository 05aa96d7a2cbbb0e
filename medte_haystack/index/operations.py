"""Operations on documents, as a bulk request carries them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from medte_haystack.errors import IndexContractError
from medte_haystack.index.contract import check_id

Action = Literal["index", "create", "update", "delete"]


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
