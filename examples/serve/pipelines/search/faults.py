"""What went wrong, as an HTTP status and a message that a caller can act on."""

import logging
import traceback

from elastic_transport import TransportError
from elasticsearch import ApiError, NotFoundError
from fastapi import HTTPException
from haystack.core.errors import PipelineRuntimeError
from haystack.errors import FilterError

from medte_haystack.errors import FingerprintMismatchError, IndexMissingError, MedTEError, SearchError
from medte_haystack.index.server_errors import root_cause

logger = logging.getLogger("medte_haystack.serve")


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
