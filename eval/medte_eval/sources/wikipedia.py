"""English Wikipedia: the pages of a category, through MediaWiki's API; or an export: JSON Lines of its extracts.

The walk is the benchmark's: depth first, pages and subcategories in the order in which the API lists them. A page that
is reached in two ways comes twice. Text is under CC BY-SA 4.0.

A line of an export is {"category": "Cardiology", "depth": 0, "pageid": 1, "title": "...", "extract": "..."}: `category`
is the root whose walk reached the page, `depth` how many subcategories below it (0 where it is left out), `extract` the
page's plain text with its headings as the API writes them: == Causes ==.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, field_validator

from medte_eval.sources.access import Access, Host, Request
from medte_eval.sources.errors import NothingError, SourceError, TransientError, not_none
from medte_eval.sources.exports import JSON, files, rows
from medte_eval.sources.shapes import Check, checked, fetch_json

SOURCE = "Wikipedia"
HOST = Host(SOURCE, "https://en.wikipedia.org/w/api.php", "MEDTE_WIKIPEDIA_URL", interval=0.1)
_PAGE_SPACE, _CATEGORY_SPACE = 0, 14
_HEADING = re.compile(r"^ *(={2,6}) *(.*?) *\1 *$", re.MULTILINE)
_QUERY = {"action": "query", "format": "json", "formatversion": "2", "maxlag": "5"}
_PASSING = ("maxlag", "ratelimited", "readonly", "internal_api_error")
_NOTHING = "there is no such category, or no page in it; check its name"


@dataclass(frozen=True, slots=True)
class Page:
    """A page.

    :param id: Its number in Wikipedia.
    :param sections: Titles of its sections, of all levels, to each one's own text, without that of those below it. Of
        sections of one title the last counts. What stands before the first heading is in none.
    """

    id: int
    title: str
    sections: Mapping[str, str]


class _Extract(BaseModel):
    pageid: int
    title: str
    extract: str

    def page(self) -> Page:
        return Page(self.pageid, self.title, sections(self.extract))


class _Exported(_Extract):
    category: str
    depth: int = 0


class _Extracts(BaseModel):
    pages: list[_Extract]

    @field_validator("pages", mode="before")
    @classmethod
    def _there(cls, pages: Any) -> Any:
        """Leave out a page that has gone since its category was listed."""
        if not isinstance(pages, list):
            return pages
        return [page for page in pages if not (isinstance(page, dict) and page.get("missing"))]


class _ExtractReply(BaseModel):
    query: _Extracts


class _Member(BaseModel):
    pageid: int
    ns: int
    title: str


class _Members(BaseModel):
    categorymembers: list[_Member]


class _Continue(BaseModel):
    cmcontinue: str


class _MemberReply(BaseModel):
    query: _Members
    go_on: _Continue | None = Field(None, alias="continue")


@dataclass(frozen=True, slots=True)
class Wikipedia:
    """English Wikipedia, or an export of it: a .jsonl file, plain or packed, or a folder of them."""

    access: Access

    def pages(self, category: str, *, depth: int, limit: int) -> Iterator[Page]:
        """Stream the pages of a category.

        :param category: Its name, without "Category:".
        :param depth: How many levels of subcategories to walk: 0 for none, 1 for the direct ones.
        :param limit: Most pages.
        :raises NothingError: If there are none.
        :raises SourceError: If they cannot be had or read.
        """
        export = self.access.export
        root = partial(_not_empty, category)
        walked = self._exported(export, category, depth) if export else self._walk(f"Category:{category}", depth, root)
        found = (extract.page() for extract in islice(walked, limit))
        return not_none(found, SOURCE, f"category {category!r}", _NOTHING)

    def _walk(self, category: str, depth: int, check: Check) -> Iterator[_Extract]:
        for member in self._members(category, check):
            if member.ns == _PAGE_SPACE:
                yield from self._extract(member)
            elif member.ns == _CATEGORY_SPACE and depth > 0:
                yield from self._walk(member.title, depth - 1, _check)

    def _members(self, category: str, check: Check) -> Iterator[_Member]:
        asked = {"list": "categorymembers", "cmtitle": category, "cmtype": "page|subcat", "cmlimit": "500"}
        go_on: dict[str, str] = {}
        while True:
            request = HOST.request(**_QUERY, **asked, **go_on)
            reply = fetch_json(self.access, request, _MemberReply, check)
            yield from reply.query.categorymembers
            if reply.go_on is None:
                return
            if go_on == (following := reply.go_on.model_dump()):
                raise SourceError(SOURCE, request.url, "goes on with itself: field 'continue.cmcontinue' is as asked")
            go_on, check = following, _check

    def _extract(self, member: _Member) -> Iterator[_Extract]:
        """Give a page's text, unless the page has gone. The API gives one whole page a request, whatever `exlimit`."""
        asked = {"prop": "extracts", "explaintext": "1", "exsectionformat": "wiki", "exlimit": "1", "redirects": "1"}
        request = HOST.request(**_QUERY, **asked, pageids=member.pageid)
        reply = fetch_json(self.access, request, _ExtractReply, _check)
        yield from reply.query.pages

    def _exported(self, export: Path, category: str, depth: int) -> Iterator[_Extract]:
        for path in files(SOURCE, export, JSON):
            for place, row in rows(SOURCE, path):
                page = checked(_Exported, row, SOURCE, place)
                if page.category == category and page.depth <= depth:
                    yield page


def sections(extract: str) -> dict[str, str]:
    """Return the titles of an extract's sections with their own texts, stripped.

    :param extract: Plain text with headings of the form ``== Causes ==``.
    """
    parts = _HEADING.split(extract)  # the lead; then for each heading its marks, its title, and the text behind it
    return {title: text.strip() for title, text in zip(parts[2::3], parts[3::3], strict=True)}


def _check(request: Request, value: dict[str, Any]) -> None:
    """Take note of an error that MediaWiki reports with status 200."""
    error = value.get("error")
    if not isinstance(error, dict):
        return
    code = str(error.get("code"))[:80]
    if code.startswith(_PASSING):
        raise TransientError(f"answered the error {code!r}")
    raise SourceError(SOURCE, request.url, f"answered the error {code!r}")


def _not_empty(category: str, request: Request, value: dict[str, Any]) -> None:
    """Refuse the list of a root category that holds nothing: it may be there another day."""
    _check(request, value)
    query = value.get("query")
    if isinstance(query, dict) and query.get("categorymembers") == [] and "continue" not in value:
        raise NothingError(SOURCE, f"category {category!r}", _NOTHING)
