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
