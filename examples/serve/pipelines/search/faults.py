"""What went wrong, as an HTTP status and a message that a caller can act on."""

import logging
import traceback
from typing import Annotated, Any

from elastic_transport import TransportError
from elasticsearch import ApiError, NotFoundError
from fastapi import HTTPException
from haystack.core.errors import PipelineRuntimeError
from haystack.errors import FilterError
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from medte_haystack.errors import FingerprintMismatchError, IndexMissingError, MedTEError, SearchError
from medte_haystack.index.server_errors import root_cause

logger = logging.getLogger("medte_haystack.serve")

_STATUSES = {
    404: "There is no such document, or the index is missing.",
    409: "Another model than the one that embeds queries made the index.",
    422: "This cannot be searched for, or is not what the API takes.",
    503: "The index cannot be searched now, such as where Elasticsearch does not answer; `detail` says why.",
}


class Slip(TypedDict):
    """What does not fit the API in a request."""

    type: str
    loc: Annotated[list[str | int], Field(description="Where: body or query, then the names down to the value.")]
    msg: str


class Fault(BaseModel):
    """Why a request was not answered."""

    detail: Annotated[
        str | list[Slip], Field(description="What is wrong; a list if the request is not of the API's form.")
    ]


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the faults that a route may answer with, as FastAPI takes them for its `responses`."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": Fault, "description": _STATUSES[status]} for status in statuses
    }
    if 503 in found:
        found[503]["headers"] = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer"}}}
    return found


def http_error(error: Exception) -> HTTPException:
    """Return an error as the answer to a request; a server's fault is logged, without a word of the request.

    404 is a missing index, 409 an index of another model than the one that embeds queries, 422 a query or filter that
    cannot be searched for, 503 an Elasticsearch that does not answer or refuses, 500 a bug.
    """
    if isinstance(error, PipelineRuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # what the component raised
    status = _status(error)
    if status == 500:  # neither here nor below the message, which may hold what was asked for
        logger.error("500: %s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
    elif status == 503:
        logger.error("503: %s, Elasticsearch's status %s", type(error).__name__, _status_of_server(error))
    return HTTPException(status, _message(error, status), headers={"Retry-After": "5"} if status == 503 else None)


def _message(error: Exception, status: int) -> str:
    if status == 500:
        return f"internal error ({type(error).__name__})"
    if isinstance(error, ApiError) and status == 422:
        found = error.body if isinstance(error.body, dict) else {}
        return f"Elasticsearch cannot search for this: {root_cause(found.get('error', error))[1]}"
    if isinstance(error, TransportError | ApiError):
        return f"Elasticsearch does not answer as it should: {error}"
    return str(error)


def _status(error: Exception) -> int:
    match error:
        case IndexMissingError() | NotFoundError():
            return 404
        case FingerprintMismatchError():
            return 409
        case SearchError() | TransportError() | ApiError():
            return 422 if _status_of_server(error) == 400 else 503
        case MedTEError() | FilterError() | ValueError():
            return 422
    return 500


def _status_of_server(error: Exception) -> int | None:
    """Return the HTTP status that Elasticsearch answered with, None if it did not answer."""
    return error.meta.status if isinstance(error, ApiError) else getattr(error, "status", None)
