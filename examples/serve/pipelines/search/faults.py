"""What went wrong, as an HTTP status and a message that a caller can act on."""

import logging

from elastic_transport import TransportError
from elasticsearch import ApiError, NotFoundError
from fastapi import HTTPException
from haystack.core.errors import PipelineRuntimeError
from haystack.errors import FilterError

from medte_haystack.errors import FingerprintMismatchError, IndexMissingError, MedTEError, SearchError

logger = logging.getLogger("medte_haystack.serve")


def http_error(error: Exception) -> HTTPException:
    """Return an error as the answer to a request; a server's fault is logged, without the request and its result.

    404 is a missing index, 409 an index of another model than the one that embeds queries, 422 a query or filter that
    cannot be searched for, 503 an Elasticsearch that does not answer or refuses, 500 a bug.
    """
    if isinstance(error, PipelineRuntimeError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # what the component raised
    status = _status(error)
    message = str(error) if status != 500 else f"internal error ({type(error).__name__})"
    if isinstance(error, TransportError | ApiError):
        message = f"Elasticsearch does not answer as it should: {error}"
    if status >= 500:
        logger.error("%d: %s", status, message, exc_info=error if status == 500 else None)
    return HTTPException(status, message, headers={"Retry-After": "5"} if status == 503 else None)


def _status(error: Exception) -> int:
    match error:
        case IndexMissingError() | NotFoundError():
            return 404
        case FingerprintMismatchError():
            return 409
        case SearchError() | TransportError() | ApiError():
            return 503
        case MedTEError() | FilterError() | ValueError():
            return 422
    return 500
