"""One request to a host, and what its failure means."""

import email.utils
import time
from dataclasses import dataclass
from functools import cache

import requests

from medte_eval.sources.access import Host, Request
from medte_eval.sources.errors import SourceError, TransientError

MAX_BYTES = 512 * 2**20  # the largest reply we know, a page of 1,000 whole studies, has some 30 MB
_CONNECT_SECONDS = 15.0
_PASSING = frozenset({403, 408, 425, 429, 500, 502, 503, 504})
_BAD_REQUESTS = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidHeader,
    requests.exceptions.TooManyRedirects,
)


@dataclass(frozen=True, slots=True)
class Reply:
    """What a host answered: the body, and the seconds it asks to wait, None where it says nothing."""

    body: bytes
    retry_after: float | None


@cache
def _session() -> requests.Session:
    return requests.Session()


def ask(request: Request, agent: str, timeout: float) -> Reply:
    """Send a request once.

    :param agent: How the sender is named.
    :param timeout: Seconds without an answer, and a tenth of the seconds that all of it may take.
    :raises TransientError: If another try may help.
    :raises SourceError: If none would.
    """
    host = request.host
    until = time.monotonic() + 10 * timeout
    try:
        with _session().get(
            request.url,
            params=dict(host.credentials),
            headers={"User-Agent": agent},
            timeout=(min(timeout, _CONNECT_SECONDS), timeout),
            stream=True,
        ) as response:
            status, retry_after = response.status_code, _seconds(response.headers.get("Retry-After"))
            if status in _PASSING:
                raise TransientError(f"answered {status}", retry_after, status)
            if status != requests.codes.ok:
                raise SourceError(host.source, request.url, _refusal(host, status))
            return Reply(_body(response, until), retry_after)
    except requests.Timeout:
        raise TransientError(f"did not answer within {timeout:g} s") from None
    except _BAD_REQUESTS as error:
        reason = f"cannot be asked ({type(error).__name__}); is {host.variable} right?"
        raise SourceError(host.source, request.url, reason) from None
    except requests.RequestException as error:  # its own message may hold the whole URL, credentials included
        raise TransientError(f"cannot be reached, or broke off: {_innermost(error)}") from None


def _body(response: requests.Response, until: float) -> bytes:
    body = bytearray()
    for piece in response.iter_content(2**16):
        body += piece
        if len(body) > MAX_BYTES:
            raise TransientError(f"sent more than {MAX_BYTES} bytes")
        if time.monotonic() > until:
            raise TransientError("did not come to an end")
    return bytes(body)


def _seconds(retry_after: str | None) -> float | None:
    """Read a Retry-After header: seconds, or a date."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None


def _refusal(host: Host, status: int) -> str:
    key = ", the key in NCBI_API_KEY is wrong" if "api_key" in host.credentials else ""
    return (
        f"answered {status}: either the API has changed{key}, or {host.variable} names no such API; read a local"
        " export instead"
    )


def _innermost(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return str(error.args[-1]) if isinstance(error, OSError) and error.args else type(error).__name__
