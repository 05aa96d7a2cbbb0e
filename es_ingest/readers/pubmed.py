"""PubMed: NLM's article XML, as its baseline and update files (pubmed26n0001.xml.gz) and efetch give it.

    <PubmedArticleSet>
      <PubmedArticle><MedlineCitation><PMID Version="1">1</PMID><Article>...</Article></MedlineCitation></PubmedArticle>
      <DeleteCitation><PMID Version="1">2</PMID></DeleteCitation>

One record per article or book chapter; its id is the PMID, so that a later file's version of it overwrites. The text is
the abstract: a paragraph per section, with its label ("METHODS: ..."), without the copyright notice; where there is
none, another abstract (the publisher's, a translation), in English if there is one. A record without any abstract has
its title for its text, and no title beside it. Inline markup and formulas are flattened: 10<sup>6</sup> becomes 106;
runs of white space that XML would lay out freely become one blank.

`year` is the issue's, `pub_date` the day of electronic publication where there is one, else the issue's, as exact as
it is known: 2024-05-07, 2024-05 or 2024.

Citations that NLM deletes, in update files, are removed from the index by whichever run reads that: read update files
in their order, and after the baseline.

These files name a DTD, which is never fetched. One that declares anything itself (entities above all) is refused. An
entity that only the DTD would define, such as &nbsp;, makes its article malformed, and the rest goes on.
"""

import datetime
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from es_ingest.readers.fields import TEXT_JOIN
from es_ingest.readers.mapping import FieldMapping
from es_ingest.readers.pubmed_parser import ARTICLES, DELETED, ROOTS, Parser
from es_ingest.readers.registry import Reader
from es_ingest.readers.streams import label, open_bytes
from es_ingest.readers.values import RowError, raw_bytes
from es_ingest.records import Deleted, Item, Malformed, ReadError, Record

# The XML packages are imported where they are used: they would double what importing the readers costs.
if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_ROOT = ROOTS[0].encode()
_NO_TITLE = "[not available]"  # stands where only the original title is known
_NO_ABSTRACT = "Abstract available from the publisher."
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = re.compile(r"pubmed.*\.xml(\.gz|\.zst)?", re.IGNORECASE)
_COMMENT = re.compile(b"<!--.*?-->", re.DOTALL)
_FIRST_ELEMENT = re.compile(rb"<([A-Za-z_][\w.:-]*)")
_YEAR = re.compile("[12][0-9]{3}")
_PMID = re.compile("[0-9]{1,18}")
_BLANKS = re.compile("[ \t\r\n]+")  # XML's own: a no-break or thin space is text


def read(source: str, fields: FieldMapping | None = None) -> Iterator[Item]:  # noqa: ARG001
    """Stream the articles of one PubMed file, and the deletions of others.

    :param source: An .xml file, plain, gzip or zstd, or "-" for standard input.
    :param fields: Not used; PubMed's fields are fixed.
    :raises ReadError: If the file cannot be read, is not PubMed XML, or breaks off before its first article's end.
    """
    name = label(source)
    number = deleted = 0
    with open_bytes(source) as stream:
        parser = Parser(cast(io.BufferedIOBase, stream))
        while not parser.ended:
            failure = parser.step()  # what came before in the same chunk is complete all the same
            for element, entity in parser.take():
                if element.tag == DELETED:
                    for pmid in map(_text, element.iterfind("PMID")):
                        deleted += 1
                        yield _deletion(pmid, name)
                else:
                    number += 1
                    yield _record(element, name, number, entity)
            if failure and not number and not deleted:
                raise ReadError(name, f"cannot be read: {failure}")
            if failure:
                yield Malformed(f"{name}#{number + 1}", f"the rest of the file is lost: {failure}", gap=True)


def again(raw: str, position: str, fields: FieldMapping | None = None) -> Iterator[Record | Malformed]:  # noqa: ARG001
    """Read an article of dead letters once more; see `Reader.again`."""
    source, _, number = position.rpartition("#")
    parser, found = Parser(io.BytesIO(b"<%b>%b</%b>" % (_ROOT, raw_bytes(raw), _ROOT))), []
    while not parser.ended:
        if failure := parser.step():
            raise RowError(failure)
        found += [one for one in parser.take() if one[0].tag != DELETED]
    if not found:
        raise RowError(f"holds no <{ARTICLES[0]}>")
    return (_record(element, source, number, entity) for element, entity in found)


def _deletion(pmid: str, source: str) -> Deleted | Malformed:
    if _PMID.fullmatch(pmid):
        return Deleted(pmid, f"{source}#{pmid}")
    return Malformed(source, f"a <{DELETED}> whose PMID is not a number")


def _record(article: "Element", source: str, number: int | str, entity: str) -> Record | Malformed:
    """Make a record of one article; `number`, from 1, is its position in the file where it has no PMID."""
    head = article.find("BookDocument")
    if head is None:
        head = _part(article, "MedlineCitation")
    body = head if head.tag == "BookDocument" else _part(head, "Article")
    pmid = _find(head, "PMID")
    known = _PMID.fullmatch(pmid) is not None
    position = f"{source}#{pmid if known else number}"
    if entity:
        return Malformed(
            position, f"refers to the entity &{entity[:40]};, which is not defined; write the character itself"
        )
    if not known:
        return Malformed(position, "its PMID is not a number" if pmid else "no PMID", _raw(article))
    titles = (_find(body, path) for path in ("ArticleTitle", "VernacularTitle", "Book/BookTitle"))
    title = next((title for title in titles if title and title.rstrip(".").lower() != _NO_TITLE), "")
    text = _abstract(_part(body, "Abstract")) or _other_abstract(head)
    if not text:
        title, text = "", title
    if not text:
        return Malformed(position, "neither title nor abstract", _raw(article))
    meta = {name: value for name, value in _meta(article, head, body).items() if value}
    if meta.get("book") in (title, text):
        del meta["book"]
    return Record(pmid, title, text, meta | {"url": f"https://pubmed.ncbi.nlm.nih.gov/{pmid}/"}, position)


def _meta(article: "Element", head: "Element", body: "Element") -> dict[str, Any]:
    """Collect the metadata; what is empty is still in it."""
    issue = _date(_part(body, "Journal/JournalIssue/PubDate")) or _date(_part(body, "Book/PubDate"))
    published = _date(_part(body, "ArticleDate")) or issue
    headings = head.findall("MeshHeadingList/MeshHeading")
    major = (heading for heading in headings if any(part.get("MajorTopicYN") == "Y" for part in heading))
    types = _distinct([*body.iterfind("PublicationTypeList/PublicationType"), *body.iterfind("PublicationType")])
    links = {link.get("RefType") for link in head.iterfind("CommentsCorrectionsList/CommentsCorrections")}
    # Not deeper: references have such lists, too.
    dois, pmcs = (article.findall(f"*/ArticleIdList/ArticleId[@IdType='{kind}']") for kind in ("doi", "pmc"))
    dois += (place for place in body.iterfind("ELocationID[@EIdType='doi']") if place.get("ValidYN") != "N")
    version = _part(head, "PMID").get("Version", "")
    return {
        "journal": _find(body, "Journal/Title"),
        "journal_iso": _find(body, "Journal/ISOAbbreviation"),
        "book": _find(body, "Book/BookTitle"),
        "year": int((issue or published or "0")[:4]),
        "pub_date": published,
        "authors": _authors(body),
        "mesh": _distinct(_part(heading, "DescriptorName") for heading in headings),
        "mesh_major": _distinct(_part(heading, "DescriptorName") for heading in major),
        "publication_types": types,
        "keywords": _distinct(head.iterfind("KeywordList/Keyword")),
        "language": _distinct(body.iterfind("Language")),
        "doi": next(iter(_distinct(dois)), ""),
        "pmc": next(iter(_distinct(pmcs)), ""),
        "issn": _find(body, "Journal/ISSN") or _find(head, "MedlineJournalInfo/ISSNLinking"),
        "retracted": "Retracted Publication" in types or "RetractionIn" in links,
        "version": int(version) if _PMID.fullmatch(version) and int(version) > 1 else 0,
    }


def _abstract(holder: "Element") -> str:
    """Join an abstract's sections, each behind its label."""
    paragraphs = []
    for section in holder.iterfind("AbstractText"):
        text, name = _text(section), section.get("Label", "").strip().rstrip(":")
        if text:
            paragraphs.append(f"{name}: {text}" if name and name.upper() != "UNLABELLED" else text)
    return TEXT_JOIN.join(paragraphs)


def _other_abstract(head: "Element") -> str:
    others = sorted(head.iterfind("OtherAbstract"), key=lambda other: other.get("Language", "eng") != "eng")
    return next((text for text in map(_abstract, others) if text and text != _NO_ABSTRACT), "")


def _authors(body: "Element") -> list[str]:
    """List the authors in order, as "Last Fore"; a chapter without any has its book's. Editors are none."""
    lists = body.findall("AuthorList") or body.findall("Book/AuthorList")
    names = []
    for author in (author for people in lists if people.get("Type") != "editors" for author in people):
        if author.get("ValidYN") != "N":  # N is a spelling that another author element corrects
            personal = (_find(author, "LastName"), _find(author, "ForeName") or _find(author, "Initials"))
            names.append(_find(author, "CollectiveName") or " ".join(filter(None, personal)))
    return [name for name in names if name]


def _date(holder: "Element") -> str:
    """Return a date as exact as it is given: `2024-05-07`, `2024-05`, `2024` or ""."""
    year, month, day = (_find(holder, name) for name in ("Year", "Month", "Day"))
    if not _YEAR.fullmatch(year):
        loose = _YEAR.search(_find(holder, "MedlineDate"))  # such as "1998 Dec-1999 Jan"
        return loose[0] if loose else ""
    name = month[:3].lower()
    number = _MONTHS.index(name) + 1 if name in _MONTHS else int(month) if month.isdecimal() else 0
    try:
        return datetime.date(int(year), number, int(day)).isoformat()
    except ValueError:  # no day, or one that the month does not have
        return f"{year}-{number:02}" if 1 <= number <= 12 else year


def _part(element: "Element", path: str) -> "Element":
    """Return the first element at a path, an empty one where there is none."""
    found = element.find(path)
    return element.makeelement("none", {}) if found is None else found


def _text(element: "Element") -> str:
    return _BLANKS.sub(" ", "".join(element.itertext())).strip()


def _find(element: "Element", path: str) -> str:
    return _text(_part(element, path))


def _distinct(elements: "Iterator[Element] | list[Element]") -> list[str]:
    """List the distinct non-blank texts of elements, in order."""
    return list(dict.fromkeys(filter(None, map(_text, elements))))


def _raw(article: "Element") -> str | None:
    from xml.etree.ElementTree import tostring

    article.tail = None
    try:
        return tostring(article, encoding="unicode")
    except RecursionError:
        return None


def _begins(data: bytes) -> bool:
    """Tell whether the root element is PubMed's."""
    root = _FIRST_ELEMENT.search(_COMMENT.sub(b"", data))
    return root is not None and root[1].decode("ascii", "replace") in ROOTS


READER = Reader(
    name="pubmed",
    description="PubMed/MEDLINE XML as NLM publishes it: one record per article, with its abstract;"
    " citations that update files delete are removed",
    source="a PubmedArticleSet .xml file, plain, .gz or .zst, or - for standard input",
    read=read,
    accepts=lambda path: _NAME.fullmatch(path.name) is not None and not path.is_dir(),
    stdin=True,
    begins=_begins,
    again=again,
)
