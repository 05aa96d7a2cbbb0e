"""PubMed Central: open-access articles that a query finds, through NCBI's E-utilities; or an export: PMC's JATS XML.

The abstract is the first paragraph of the first abstract, as the benchmark takes it: an article whose abstract is
divided into titled sections has no such paragraph and is left out. Only the open-access subset is asked for, and each
article's licence is kept: no other may be passed on.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING

from medte_eval.sources import eutils
from medte_eval.sources.access import Access
from medte_eval.sources.errors import not_none
from medte_eval.sources.exports import XML, files_of_query, read_xml
from medte_eval.sources.shapes import MissingElementError, elements, text_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SOURCE = "PMC"
OPEN_ACCESS = "open access[filter]"
_AT_ONCE = 50  # articles of a request: they come whole, some 100 kB each
_ROOTS = ("pmc-articleset", "article")
_HREF = "{http://www.w3.org/1999/xlink}href"
_LICENCE_REF = "{http://www.niso.org/schemas/ali/1.0/}license_ref"
_ID = re.compile("(PMC)?([0-9]+)")


@dataclass(frozen=True, slots=True)
class Article:
    """An article.

    :param id: PMCID, such as PMC1234567.
    :param title: Without mark-up.
    :param abstract: The first paragraph of its abstract, without mark-up.
    :param licence: Its licence's URL, or what the article calls its kind; "" where it names none.
    """

    id: str
    title: str
    abstract: str
    licence: str


@dataclass(frozen=True, slots=True)
class Pmc:
    """PubMed Central, or an export of it: a folder with an .xml or .nxml file, or a folder of them, for each query."""

    access: Access

    def articles(self, query: str, *, limit: int) -> Iterator[Article]:
        """Stream the articles of a query that have a title and an undivided abstract.

        :param limit: Most articles to look at; those without such an abstract count and are left out.
        :raises SourceError: If there are none, or they cannot be had or read.
        """
        articles = self._exported(query, self.access.export) if self.access.export else self._fetched(query, limit)
        reason = "gives no article with a title and an undivided abstract"
        return not_none(islice(articles, limit), SOURCE, f"query {query!r}", reason)

    def _fetched(self, query: str, limit: int) -> Iterator[Article | None]:
        host = eutils.host(SOURCE, self.access)
        ids = eutils.search(self.access, host, "pmc", f"({query}) AND {OPEN_ACCESS}", limit)
        return eutils.fetch(self.access, host, "pmc", ids, _AT_ONCE, _articles)

    def _exported(self, query: str, export: Path) -> Iterator[Article | None]:
        return read_xml(SOURCE, files_of_query(SOURCE, export, query, XML), _articles)


def _articles(stream: IO[bytes]) -> Iterator[Article | None]:
    """Give each article, None for one that lacks a title or an undivided abstract."""
    for number, element in enumerate(elements(stream, ("article",), _ROOTS), start=1):
        meta = element.find("front/article-meta")
        if meta is None:
            raise MissingElementError(f"article {number} has no front/article-meta")
        pmcid = _pmcid(meta)
        if not pmcid:
            raise MissingElementError(f"article {number} has no PMCID")
        title = text_of(meta.find("title-group/article-title"))
        abstract = meta.find("abstract")
        text = "" if abstract is None else text_of(abstract.find("p"))
        yield Article(pmcid, title, text, _licence(meta)) if title and text else None


def _pmcid(meta: "Element") -> str:
    """Return an article's PMCID: newer files call it pmcid and write PMC1, older ones pmc and 1."""
    for kind in ("pmcid", "pmc"):
        found = _ID.fullmatch(text_of(meta.find(f"article-id[@pub-id-type='{kind}']")))
        if found:
            return f"PMC{found[2]}"
    return ""


def _licence(meta: "Element") -> str:
    licence = meta.find("permissions/license")
    if licence is None:
        return ""
    return text_of(licence.find(_LICENCE_REF)) or licence.get(_HREF, "") or licence.get("license-type", "")
