"""What the server says when it refuses something."""

from elasticsearch import ApiError

NOT_ALLOWED = "security_exception"
"""Type of the error that the credentials are not valid, or may not do this."""


def cause_of(error: Exception) -> tuple[str, str]:
    """Return an error's type, empty if it gives none, and its reason."""
    body = error.body if isinstance(error, ApiError) and isinstance(error.body, dict) else {}
    found = body.get("error")
    if not isinstance(found, dict):
        return "", str(error)
    return str(found.get("type", "")), str(found.get("reason", error))


def root_cause(error: object) -> tuple[str, str]:
    """Return type and reason of what lies behind a search's error: a shard's, where the search failed on shards.

    :param error: As it stands under ``error`` in an answer, or in one of a multi-search.
    """
    if not isinstance(error, dict):
        return "", str(error)
    shards = error.get("failed_shards") or [{}]
    causes = error.get("root_cause") or [{}]
    found = shards[0].get("reason") or causes[0] or error
    return str(found.get("type", error.get("type", ""))), str(found.get("reason", error.get("reason", "")))
