"""PubMed: papers that a query finds, through NCBI's E-utilities; or an export: PubMed XML, as efetch or the baseline.

A paper's abstract is its first AbstractText alone, without mark-up, as the benchmark takes it: of a structured
abstract that is often the background. Book chapters are left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, TYPE_CHECKING

from medte_eval.sources import eutils
from medte_eval.sources.access import Access
from medte_eval.sources.errors import not_none
from medte_eval.sources.exports import XML, files, read_xml
from medte_eval.sources.shapes import MissingElementError, elements, text_of

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SOURCE = "PubMed"
_AT_ONCE = 200  # ids of a request; more make its URL too long for some proxies
_ROOTS = ("PubmedArticleSet",)
_PAPER = "PubmedArticle"


@dataclass(frozen=True, slots=True)
class Paper:
    """A paper.

    :param id: PMID.
    :param title: Without mark-up; "" where there is none.
    :param abstract: The first part of the abstract, without mark-up; "" where there is none.
    :param mesh: Its MeSH descriptors.
    :param keywords: Its authors' keywords.
    """

    id: str
    title: str
    abstract: str
    mesh: tuple[str, ...]
    keywords: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PubMed:
    """PubMed, or an export of it: an .xml file or a folder of them, plain or packed."""

    access: Access

    def papers(self, query: str, *, limit: int) -> Iterator[Paper]:
        """Stream the papers of a query; those of an export are the answer to any query.

        :param limit: Most ids to look at: a query's book chapters count and are left out. PubMed gives 9,999 at most.
        :raises SourceError: If there are none, or they cannot be had or read.
        """
        export = self.access.export
        papers = read_xml(SOURCE, files(SOURCE, export, XML), _papers) if export else self._fetched(query, limit)
        return not_none(islice(papers, limit), SOURCE, str(export or f"query {query!r}"), "gives no paper")

    def _fetched(self, query: str, limit: int) -> Iterator[Paper | None]:
        host = eutils.host(SOURCE, self.access)
        ids = eutils.search(self.access, host, "pubmed", query, limit)
        return eutils.fetch(self.access, host, "pubmed", ids, _AT_ONCE, _papers)


def _papers(stream: IO[bytes]) -> Iterator[Paper | None]:
    """Give each paper, None for a book chapter."""
    for number, element in enumerate(elements(stream, (_PAPER, "PubmedBookArticle"), _ROOTS), start=1):
        if element.tag != _PAPER:
            yield None
            continue
        citation = element.find("MedlineCitation")
        pmid = "" if citation is None else text_of(citation.find("PMID"))
        if citation is None or not pmid:
            raise MissingElementError(f"article {number} has no MedlineCitation/PMID")
        yield Paper(
            pmid,
            text_of(citation.find("Article/ArticleTitle")),
            text_of(citation.find("Article/Abstract/AbstractText")),
            _texts(citation, "MeshHeadingList/MeshHeading/DescriptorName"),
            _texts(citation, "KeywordList/Keyword"),
        )


def _texts(element: "Element", path: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, map(text_of, element.iterfind(path)))))
