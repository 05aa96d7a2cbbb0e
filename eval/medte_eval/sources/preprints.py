"""bioRxiv and medRxiv: the versions of preprints posted between two days, by their API; or an export of its records.

The API lists versions, so a preprint may come several times. Each carries its own licence: keep and respect it.
"""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field

from medte_eval.sources.access import Access, Host, Request
from medte_eval.sources.errors import SourceError, TransientError, not_none
from medte_eval.sources.exports import JSON, files, rows
from medte_eval.sources.shapes import Text, checked, fetch_json

Server = Literal["biorxiv", "medrxiv"]
NAMES: dict[Server, str] = {"biorxiv": "bioRxiv", "medrxiv": "medRxiv"}
_URL, _VARIABLE, _INTERVAL = "https://api.medrxiv.org", "MEDTE_BIORXIV_URL", 0.5  # one API for both servers
_NOTHING = "gives no preprint of these days"


@dataclass(frozen=True, slots=True)
class Preprint:
    """One version of a preprint.

    :param doi: The same for all its versions.
    :param version: From 1.
    :param title: "" where there is none, as for `abstract`.
    :param date: When the version was posted.
    :param licence: As the server calls it, such as cc_by; "" where it names none.
    """

    doi: str
    version: int
    title: str
    abstract: str
    date: datetime.date
    licence: str


class _Record(BaseModel):
    doi: str = Field(min_length=1)
    version: int
    title: Text
    abstract: Text
    date: datetime.date
    licence: Text = Field("", alias="license")
    server: Text = ""

    def preprint(self) -> Preprint:
        return Preprint(self.doi, self.version, self.title, self.abstract, self.date, self.licence)


class _Message(BaseModel):
    total: int = 0


class _Page(BaseModel):
    messages: list[_Message] = []
    collection: list[_Record]

    @property
    def total(self) -> int:
        return max((message.total for message in self.messages), default=0)


@dataclass(frozen=True, slots=True)
class Preprints:
    """A preprint server, or an export: JSON Lines of the API's records, or JSON of its pages; may hold both servers'.

    :param server: biorxiv or medrxiv.
    """

    access: Access
    server: Server

    def preprints(self, *, start: datetime.date, end: datetime.date, limit: int) -> Iterator[Preprint]:
        """Stream the versions posted from one day to another, both included, in the server's order.

        :param limit: Most versions.
        :raises SourceError: If there are none, or they cannot be had or read.
        """
        export = self.access.export
        records = self._exported(export, start, end) if export else self._fetched(start, end)
        found = (record.preprint() for record in islice(records, limit))
        return not_none(found, NAMES[self.server], str(export or f"{start} to {end}"), _NOTHING)

    def _fetched(self, start: datetime.date, end: datetime.date) -> Iterator[_Record]:
        host = Host(NAMES[self.server], _URL, _VARIABLE, _INTERVAL)
        cursor = total = 0
        while True:
            request = host.request(f"/details/{self.server}/{start}/{end}/{cursor}")
            page = fetch_json(self.access, request, _Page, partial(_check, cursor, total))
            if not page.collection:
                return
            yield from page.collection
            cursor, total = cursor + len(page.collection), max(total, page.total)

    def _exported(self, export: Path, start: datetime.date, end: datetime.date) -> Iterator[_Record]:
        name = NAMES[self.server]
        for path in files(name, export, JSON):
            for place, row in rows(name, path, "collection"):
                record = checked(_Record, row, name, place)
                if record.server.lower() in ("", self.server) and start <= record.date <= end:
                    yield record


def _check(cursor: int, total: int, request: Request, value: dict[str, Any]) -> None:
    """Tell the end of the list, an empty page, from one that is empty too early."""
    if value.get("collection") != []:
        return
    total = max(total, checked(_Page, value, request.host.source, request.url).total)
    if cursor < total:
        raise TransientError(f"answered an empty page at {cursor} of {total}")
    if cursor == 0:
        raise SourceError(request.host.source, request.url, _NOTHING)
