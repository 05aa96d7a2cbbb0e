"""NCBI's E-utilities: ids by a query, and records by ids, many at once."""

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from io import BytesIO
from typing import IO, Annotated, Any, TypeVar

from pydantic import BaseModel, Field

from medte_eval.sources.access import Access, Host, Request
from medte_eval.sources.errors import SourceError, TransientError
from medte_eval.sources.shapes import MissingElementError, XmlError, fetch_json

T = TypeVar("T")
KEY = "NCBI_API_KEY"
MOST_IDS = 10_000  # of one esearch
MOST_OF_PUBMED = 9_999  # of a query of PubMed; a retstart behind them is refused
_INTERVAL, _INTERVAL_WITH_KEY = 0.34, 0.1  # seconds: NCBI allows 3 requests a second, 10 with a key


class _Result(BaseModel):
    count: int
    idlist: list[Annotated[str, Field(pattern="^[0-9]+$")]]


class _Search(BaseModel):
    esearchresult: _Result


def host(source: str, access: Access) -> Host:
    """Return where NCBI answers, asked as often as it allows.

    :param source: PubMed or PMC, for messages.
    """
    key = os.environ.get(KEY, "").strip()
    credentials = {"tool": "medte", "email": access.contact, "api_key": key}
    return Host(
        source,
        "https://eutils.ncbi.nlm.nih.gov/entrez/eutils",
        "MEDTE_NCBI_URL",
        _INTERVAL_WITH_KEY if key else _INTERVAL,
        {name: value for name, value in credentials.items() if value},
    )


def search(access: Access, where: Host, database: str, query: str, limit: int) -> list[str]:
    """Return the ids that a query finds, in the database's default order.

    :param limit: Most ids. Of PubMed, 9,999 can be had.
    :raises SourceError: If the query finds nothing, or cannot be asked.
    """
    limit = min(limit, MOST_OF_PUBMED) if database == "pubmed" else limit
    ids: list[str] = []
    while len(ids) < limit:
        number = min(limit - len(ids), MOST_IDS)
        request = where.request(
            "/esearch.fcgi", db=database, term=query, retmode="json", retstart=len(ids), retmax=number
        )
        result = fetch_json(access, request, _Search, _check).esearchresult
        ids += result.idlist
        if len(ids) >= result.count:
            break
    return ids[:limit]


def fetch(
    access: Access,
    where: Host,
    database: str,
    ids: Sequence[str],
    at_once: int,
    read: Callable[[IO[bytes]], Iterator[T]],
) -> Iterator[T]:
    """Stream the records of ids.

    :param at_once: Ids of one request.
    :param read: Reads a reply's records; may raise `XmlError`.
    :raises SourceError: If they cannot be had, or a reply holds none of its ids.
    """
    for first in range(0, len(ids), at_once):
        some = ",".join(ids[first : first + at_once])
        request = where.request("/efetch.fcgi", db=database, id=some, retmode="xml")
        yield from access.fetch(request, partial(_records, request, read))


def _records(request: Request, read: Callable[[IO[bytes]], Iterator[T]], body: bytes) -> list[T]:
    try:
        found = list(read(BytesIO(body)))
    except MissingElementError as error:
        raise SourceError(request.host.source, request.url, f"is not as documented: {error}") from None
    except XmlError as error:
        raise TransientError(f"answered XML that cannot be read: {error}") from None
    if not found:
        raise TransientError("answered without any of the records asked for")
    return found


def _check(request: Request, value: dict[str, Any]) -> None:
    result = value.get("esearchresult")
    if not isinstance(result, dict):
        return
    if result.get("ERROR"):
        raise TransientError(f"answered an error: {str(result['ERROR'])[:200]}")
    if result.get("idlist") == []:
        raise SourceError(request.host.source, request.url, f"the query finds {result.get('count')} and gives no id")
