import gzip
import io
import random
import re
import socket
import sys
import threading
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest

from es_ingest.readers import pubmed, pubmed_parser, rows
from es_ingest.readers.streams import zstd
from es_ingest.records import Deleted, Item, Malformed, ReadError, Record

DOCTYPE = (
    '<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2026//EN" '
    '"https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_260101.dtd">'
)
HEAD = f'<?xml version="1.0" encoding="utf-8"?>\n{DOCTYPE}\n'

# The order and the attributes of pubmed_250101.dtd.
FULL = """
<PubmedArticle>
  <MedlineCitation Status="MEDLINE" Owner="NLM" IndexingMethod="Curated">
    <PMID Version="2">31452104</PMID>
    <DateCompleted><Year>2020</Year><Month>01</Month><Day>03</Day></DateCompleted>
    <DateRevised><Year>2021</Year><Month>11</Month><Day>30</Day></DateRevised>
    <Article PubModel="Print-Electronic">
      <Journal>
        <ISSN IssnType="Electronic">1432-1234</ISSN>
        <JournalIssue CitedMedium="Internet">
          <Volume>41</Volume><Issue>2</Issue><PubDate><Year>2020</Year><Month>Feb</Month></PubDate>
        </JournalIssue>
        <Title>Journal of neurology &amp; psychiatry</Title>
        <ISOAbbreviation>J Neurol Psychiatry</ISOAbbreviation>
      </Journal>
      <ArticleTitle>Loss of <i>SNCA</i> at 10<sup>-6</sup> M: β<sub>2</sub>\xa0receptors.</ArticleTitle>
      <Pagination><StartPage>1</StartPage><EndPage>9</EndPage><MedlinePgn>1-9</MedlinePgn></Pagination>
      <ELocationID EIdType="doi" ValidYN="N">10.1000/wrong</ELocationID>
      <ELocationID EIdType="doi" ValidYN="Y">10.1007/located</ELocationID>
      <Abstract>
        <AbstractText Label="BACKGROUND" NlmCategory="BACKGROUND">Cells (<i>n</i> = 12)
          were lost.</AbstractText>
        <AbstractText Label="UNLABELLED" NlmCategory="UNASSIGNED">No label here.</AbstractText>
        <AbstractText Label="RESULTS:" NlmCategory="RESULTS">Of <mml:math xmlns:mml="http://www.w3.org/1998/Math/MathML">
          <mml:mrow><mml:mi>x</mml:mi><mml:mo>=</mml:mo><mml:mn>2</mml:mn></mml:mrow></mml:math>
          patients.</AbstractText>
        <AbstractText Label="EMPTY"/>
        <CopyrightInformation>Copyright © 2020 A Publisher.</CopyrightInformation>
      </Abstract>
      <AuthorList CompleteYN="Y" Type="authors">
        <Author ValidYN="Y" EqualContrib="Y"><LastName>Müller</LastName><ForeName>Anna B</ForeName>
          <Initials>AB</Initials><Suffix>Jr</Suffix><Identifier Source="ORCID">0000-0001-2345-6789</Identifier>
          <AffiliationInfo><Affiliation>Somewhere.</Affiliation></AffiliationInfo></Author>
        <Author ValidYN="N"><LastName>Smiht</LastName><ForeName>Wrong</ForeName></Author>
        <Author ValidYN="Y"><LastName>Smith</LastName><Initials>C</Initials></Author>
        <Author ValidYN="Y"><LastName>Sukarno</LastName></Author>
        <Author ValidYN="Y"><CollectiveName>The Synuclein Group</CollectiveName></Author>
      </AuthorList>
      <Language>eng</Language><Language>ger</Language>
      <PublicationTypeList>
        <PublicationType UI="D016428">Journal Article</PublicationType>
        <PublicationType UI="D016441">Retracted Publication</PublicationType>
      </PublicationTypeList>
      <ArticleDate DateType="Electronic"><Year>2019</Year><Month>08</Month><Day>27</Day></ArticleDate>
    </Article>
    <MedlineJournalInfo><Country>Germany</Country><MedlineTA>J Neurol</MedlineTA>
      <NlmUniqueID>0423161</NlmUniqueID><ISSNLinking>0340-5354</ISSNLinking></MedlineJournalInfo>
    <CommentsCorrectionsList><CommentsCorrections RefType="CommentIn"><RefSource>J. 2021</RefSource>
      <PMID Version="1">99</PMID></CommentsCorrections></CommentsCorrectionsList>
    <MeshHeadingList>
      <MeshHeading><DescriptorName UI="D006801" MajorTopicYN="N">Humans</DescriptorName></MeshHeading>
      <MeshHeading><DescriptorName UI="D010300" MajorTopicYN="N">Parkinson Disease</DescriptorName>
        <QualifierName UI="Q000235" MajorTopicYN="Y">genetics</QualifierName></MeshHeading>
      <MeshHeading><DescriptorName UI="D051844" MajorTopicYN="Y">alpha-Synuclein</DescriptorName></MeshHeading>
    </MeshHeadingList>
    <OtherAbstract Type="Publisher" Language="ger"><AbstractText>Nicht dieser.</AbstractText></OtherAbstract>
    <KeywordList Owner="NOTNLM"><Keyword MajorTopicYN="N">Parkinson's disease</Keyword>
      <Keyword MajorTopicYN="N"><i>SNCA</i></Keyword><Keyword MajorTopicYN="N"> </Keyword></KeywordList>
    <KeywordList Owner="KIE"><Keyword MajorTopicYN="Y">Bioethics</Keyword></KeywordList>
  </MedlineCitation>
  <PubmedData>
    <PublicationStatus>ppublish</PublicationStatus>
    <ArticleIdList><ArticleId IdType="pubmed">31452104</ArticleId><ArticleId IdType="pmc">PMC6888888</ArticleId>
      <ArticleId IdType="doi">10.1007/s00415-019-09516-x</ArticleId></ArticleIdList>
    <ReferenceList><Reference><Citation>Cited.</Citation><ArticleIdList><ArticleId IdType="doi">10.9/cited</ArticleId>
      </ArticleIdList></Reference></ReferenceList>
  </PubmedData>
</PubmedArticle>"""

BOOK = """
<PubmedBookArticle>
  <BookDocument>
    <PMID Version="1">20301295</PMID>
    <ArticleIdList><ArticleId IdType="bookaccession">NBK1116</ArticleId>
      <ArticleId IdType="doi">10.1000/chapter</ArticleId></ArticleIdList>
    <Book>
      <Publisher><PublisherName>University of Washington, Seattle</PublisherName>
        <PublisherLocation>Seattle (WA)</PublisherLocation></Publisher>
      <BookTitle book="gene">GeneReviews<sup>®</sup></BookTitle>
      <PubDate><Year>1993</Year></PubDate>
      <BeginningDate><Year>1993</Year></BeginningDate>
      <AuthorList Type="editors" CompleteYN="Y"><Author ValidYN="Y"><LastName>Adam</LastName>
        <ForeName>Margaret P</ForeName></Author></AuthorList>
      <Medium>Internet</Medium>
    </Book>
    <ArticleTitle book="gene" part="pd">Parkinson Disease Overview</ArticleTitle>
    <Language>eng</Language>
    <AuthorList Type="authors" CompleteYN="Y"><Author ValidYN="Y"><LastName>Cook</LastName>
      <ForeName>Lola</ForeName></Author></AuthorList>
    <PublicationType UI="D016454">Review</PublicationType>
    <Abstract><AbstractText Label="CLINICAL CHARACTERISTICS">Tremor.</AbstractText></Abstract>
    <Sections><Section><SectionTitle book="gene" part="pd">1.</SectionTitle></Section></Sections>
    <KeywordList Owner="NLM"><Keyword MajorTopicYN="N">Tremor</Keyword></KeywordList>
  </BookDocument>
  <PubmedBookData><PublicationStatus>ppublish</PublicationStatus>
    <ArticleIdList><ArticleId IdType="pubmed">20301295</ArticleId></ArticleIdList></PubmedBookData>
</PubmedBookArticle>"""


def article(
    pmid: object = 1, title: str = "T", body: str = "<Abstract><AbstractText>A</AbstractText></Abstract>"
) -> str:
    return citation(f"<PMID>{pmid}</PMID><Article><ArticleTitle>{title}</ArticleTitle>{body}</Article>")


def citation(inside: str) -> str:
    return f"<PubmedArticle><MedlineCitation>{inside}</MedlineCitation></PubmedArticle>"


def whole(*articles: str, head: str = HEAD) -> str:
    return f"{head}<PubmedArticleSet>{''.join(articles)}</PubmedArticleSet>\n"


def items(path: Path, content: str | bytes) -> list[Item]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(pubmed.read(str(path)))


def meta_of(tmp_path: Path, inside: str) -> dict[str, object]:
    (record,) = items(tmp_path / "a.xml", whole(citation("<PMID>1</PMID>" + inside)))
    assert isinstance(record, Record), record
    return {name: value for name, value in record.meta.items() if name != "url"}


def test_an_article_with_everything(tmp_path: Path) -> None:
    assert items(tmp_path / "a.xml", whole(FULL)) == [
        Record(
            "31452104",
            "Loss of SNCA at 10-6 M: β2\xa0receptors.",
            "BACKGROUND: Cells (n = 12) were lost.\n\nNo label here.\n\nRESULTS: Of x=2 patients.",
            {
                "journal": "Journal of neurology & psychiatry",
                "journal_iso": "J Neurol Psychiatry",
                "year": 2020,
                "pub_date": "2019-08-27",
                "authors": ["Müller Anna B", "Smith C", "Sukarno", "The Synuclein Group"],
                "mesh": ["Humans", "Parkinson Disease", "alpha-Synuclein"],
                "mesh_major": ["Parkinson Disease", "alpha-Synuclein"],
                "publication_types": ["Journal Article", "Retracted Publication"],
                "keywords": ["Parkinson's disease", "SNCA", "Bioethics"],
                "language": ["eng", "ger"],
                "doi": "10.1007/s00415-019-09516-x",
                "pmc": "PMC6888888",
                "issn": "1432-1234",
                "retracted": True,
                "version": 2,
                "url": "https://pubmed.ncbi.nlm.nih.gov/31452104/",
            },
            f"{tmp_path}/a.xml#31452104",
        )
    ]


def test_a_book_chapter(tmp_path: Path) -> None:
    assert items(tmp_path / "a.xml", whole(BOOK)) == [
        Record(
            "20301295",
            "Parkinson Disease Overview",
            "CLINICAL CHARACTERISTICS: Tremor.",
            {
                "book": "GeneReviews®",
                "year": 1993,
                "pub_date": "1993",
                "authors": ["Cook Lola"],
                "publication_types": ["Review"],
                "keywords": ["Tremor"],
                "language": ["eng"],
                "doi": "10.1000/chapter",
                "url": "https://pubmed.ncbi.nlm.nih.gov/20301295/",
            },
            f"{tmp_path}/a.xml#20301295",
        )
    ]


def test_a_whole_book_has_its_own_title_and_no_book_beside_it(tmp_path: Path) -> None:
    book = BOOK.replace('<ArticleTitle book="gene" part="pd">Parkinson Disease Overview</ArticleTitle>', "")
    start, end = book.index('<AuthorList Type="authors"'), book.rindex("</AuthorList>") + len("</AuthorList>")
    edited = book[:start] + book[end:]
    written = edited.replace('Type="editors"', 'Type="authors"')
    for found, authors in zip(
        items(tmp_path / "a.xml", whole(edited, written)), (None, ["Adam Margaret P"]), strict=True
    ):
        assert isinstance(found, Record)
        assert found.title == "GeneReviews®"
        assert "book" not in found.meta
        assert found.meta.get("authors") == authors


OTHER = '<OtherAbstract Type="Publisher"{}><AbstractText{}>{}</AbstractText></OtherAbstract>'
URL = {"url": "https://pubmed.ncbi.nlm.nih.gov/1/"}


@pytest.mark.parametrize(
    ("title", "after", "others", "expected"),
    [
        ("T", "", "", ("", "T")),
        ("T", "<Abstract><AbstractText/><CopyrightInformation>C</CopyrightInformation></Abstract>", "", ("", "T")),
        ("T", "", OTHER.format(' Language="spa"', "", "R") + OTHER.format("", ' Label="AIM"', "E"), ("T", "AIM: E")),
        ("T", "", OTHER.format(' Language="spa"', "", "R"), ("T", "R")),
        ("T", "", OTHER.format("", "", "Abstract available from the publisher."), ("", "T")),
        ("[Not Available].", "<VernacularTitle>Über <b>X</b></VernacularTitle>", "", ("", "Über X")),
        ("", "<VernacularTitle>Über X</VernacularTitle>", OTHER.format("", "", "E"), ("Über X", "E")),
        ("[Not Available].", "", OTHER.format("", "", "E"), ("", "E")),
        ("  T\n  U ", "<Abstract><AbstractText> A\n  B </AbstractText></Abstract>", "", ("T U", "A B")),
    ],
)
def test_which_title_and_text_an_article_has(
    tmp_path: Path, title: str, after: str, others: str, expected: tuple[str, str]
) -> None:
    inside = f"<PMID>1</PMID><Article><ArticleTitle>{title}</ArticleTitle>{after}</Article>{others}"
    position = f"{tmp_path}/a.xml#1"
    assert items(tmp_path / "a.xml", whole(citation(inside))) == [Record("1", *expected, URL, position)]


@pytest.mark.parametrize(
    ("dates", "year", "pub_date"),
    [
        ("<Year>2024</Year><Month>May</Month><Day>7</Day>", 2024, "2024-05-07"),
        ("<Year>2024</Year><Month>05</Month><Day>07</Day>", 2024, "2024-05-07"),
        ("<Year>2023</Year><Month>Feb</Month><Day>29</Day>", 2023, "2023-02"),
        ("<Year>2024</Year><Month>December</Month>", 2024, "2024-12"),
        ("<Year>2024</Year><Month>13</Month>", 2024, "2024"),
        ("<Year>2024</Year><Season>Spring</Season>", 2024, "2024"),
        ("<MedlineDate>1998 Dec-1999 Jan</MedlineDate>", 1998, "1998"),
        ("<MedlineDate>Spring 2001</MedlineDate>", 2001, "2001"),
    ],
)
def test_dates_are_as_exact_as_they_are_given(tmp_path: Path, dates: str, year: int, pub_date: str) -> None:
    journal = f"<Journal><JournalIssue><PubDate>{dates}</PubDate></JournalIssue></Journal>"
    found = meta_of(tmp_path, f"<Article>{journal}<ArticleTitle>T</ArticleTitle></Article>")
    assert found == {"year": year, "pub_date": pub_date}


@pytest.mark.parametrize("dates", ["<MedlineDate>unknown</MedlineDate>", "<Year>in press</Year>", "<Year/>", ""])
def test_no_date_is_made_up(tmp_path: Path, dates: str) -> None:
    journal = f"<Journal><JournalIssue><PubDate>{dates}</PubDate></JournalIssue></Journal>"
    assert meta_of(tmp_path, f"<Article>{journal}<ArticleTitle>T</ArticleTitle></Article>") == {}


def test_the_year_of_an_article_that_is_in_no_issue_yet(tmp_path: Path) -> None:
    date = "<ArticleDate DateType='Electronic'><Year>2025</Year><Month>01</Month><Day>31</Day></ArticleDate>"
    found = meta_of(tmp_path, f"<Article><ArticleTitle>T</ArticleTitle>{date}</Article>")
    assert found == {"year": 2025, "pub_date": "2025-01-31"}


def test_where_metadata_falls_back(tmp_path: Path) -> None:
    place = (
        '<ELocationID EIdType="pii">x</ELocationID><ELocationID EIdType="doi" ValidYN="N">10.1/wrong</ELocationID>'
        '<ELocationID EIdType="doi">10.1/a</ELocationID>'
    )
    inside = (
        f"<Article><ArticleTitle>T</ArticleTitle>{place}</Article>"
        "<MedlineJournalInfo><ISSNLinking>0340-5354</ISSNLinking></MedlineJournalInfo>"
        '<CommentsCorrectionsList><CommentsCorrections RefType="RetractionIn"/></CommentsCorrectionsList>'
        "</MedlineCitation><PubmedData><ReferenceList><Reference><ArticleIdList>"
        '<ArticleId IdType="doi">10.1/cited</ArticleId><ArticleId IdType="pmc">PMC1</ArticleId>'
        "</ArticleIdList></Reference></ReferenceList></PubmedData><MedlineCitation>"
    )
    assert meta_of(tmp_path, inside) == {"doi": "10.1/a", "issn": "0340-5354", "retracted": True}


@pytest.mark.parametrize("kind", ["PartialRetractionIn", "RetractionOf", "ErratumIn"])
def test_what_is_no_retraction(tmp_path: Path, kind: str) -> None:
    links = f'<CommentsCorrectionsList><CommentsCorrections RefType="{kind}"/></CommentsCorrectionsList>'
    types = "<PublicationTypeList><PublicationType>Retraction of Publication</PublicationType></PublicationTypeList>"
    found = meta_of(tmp_path, f"<Article><ArticleTitle>T</ArticleTitle>{types}</Article>{links}")
    assert found == {"publication_types": ["Retraction of Publication"]}


@pytest.mark.parametrize(
    ("bad", "position", "reason"),
    [
        (citation("<Article><ArticleTitle>Secret</ArticleTitle></Article>"), 2, "no PMID"),
        (article(" "), 2, "no PMID"),
        (article("secret"), 2, "its PMID is not a number"),
        ("<PubmedArticle/>", 2, "no PMID"),
        ("<PubmedBookArticle><BookDocument/></PubmedBookArticle>", 2, "no PMID"),
        (article(7, "", ""), 7, "neither title nor abstract"),
        (article(7, "[Not Available].", ""), 7, "neither title nor abstract"),
        (citation("<PMID>7</PMID>"), 7, "neither title nor abstract"),
    ],
)
def test_a_bad_article_is_named_and_the_rest_goes_on(tmp_path: Path, bad: str, position: int, reason: str) -> None:
    path = tmp_path / "a.xml"
    first, second, third = items(path, whole(article(1), bad, "\n  ", article(3)))
    assert second == Malformed(f"{path}#{position}", reason)
    assert isinstance(second, Malformed)
    assert second.raw is not None
    assert second.raw.endswith(">")
    assert "".join(fromstring(second.raw).itertext()) == "".join(fromstring(bad).itertext())
    assert [first.position, third.position] == [f"{path}#1", f"{path}#3"]


def test_an_undefined_entity_costs_its_article_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    bad = article(2, "Secret&nbsp;&middot;title")
    assert items(path, whole(article(1), bad, article(3))) == [
        Record("1", "T", "A", URL, f"{path}#1"),
        Malformed(f"{path}#2", "refers to the entity &nbsp;, which is not defined; write the character itself"),
        Record("3", "T", "A", {"url": "https://pubmed.ncbi.nlm.nih.gov/3/"}, f"{path}#3"),
    ]


def test_an_undefined_entity_in_a_file_without_a_dtd_ends_it(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    first, last = items(path, whole(article(1), article(2, "&nbsp;"), article(3), head=""))
    assert first.position == f"{path}#1"
    assert isinstance(last, Malformed)
    assert last.position == f"{path}#2"
    assert last.reason.startswith("the rest of the file is lost: not well-formed XML at line 1, column ")
    assert last.reason.endswith(": undefined entity")


LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))


@pytest.mark.parametrize(
    "subset",
    [
        '<!ENTITY e "secret">',
        f'<!ENTITY l0 "lol">{LAUGHS}',
        '<!ENTITY e SYSTEM "{file}">',
        '<!ENTITY e PUBLIC "x" "{url}">',
        '<!ENTITY % p SYSTEM "{url}"> %p; <!ENTITY e "secret">',
        "<!ENTITY % p \"<!ENTITY e 'secret'>\"> %p;",
        '<!NOTATION n SYSTEM "n"><!ENTITY e SYSTEM "{file}" NDATA n>',
        f'<!ATTLIST PMID Version CDATA "{"9" * 1000}">',
    ],
)
@pytest.mark.parametrize("external", ["", ' PUBLIC "-//NLM//DTD PubMedArticle//EN" "{url}"'])
def test_declarations_are_refused_and_nothing_is_expanded_or_fetched(
    tmp_path: Path, subset: str, external: str
) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    with Listener() as listener:
        doctype = f"<!DOCTYPE PubmedArticleSet{external} [{subset}]>"
        doctype = doctype.replace("{url}", listener.url).replace("{file}", (tmp_path / "secret.txt").as_uri())
        with pytest.raises(ReadError, match="its DOCTYPE declares entities or other markup, which is refused") as found:
            items(tmp_path / "a.xml", whole(article(1, "&e; &l9;"), head=doctype))
    assert "secret" not in str(found.value)
    assert listener.calls == 0


def test_the_dtd_is_accepted_and_never_fetched(tmp_path: Path) -> None:
    (tmp_path / "local.dtd").write_text('<!ENTITY e "expanded">')
    with Listener() as listener:
        for address in (listener.url, (tmp_path / "local.dtd").as_uri(), "local.dtd"):
            doctype = f'<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle//EN" "{address}">'
            good, bad = items(tmp_path / "a.xml", whole(article(1), article(2, "&e;"), head=doctype))
            assert isinstance(good, Record)
            assert isinstance(bad, Malformed)
    assert listener.calls == 0


class Listener:
    """Counts who connects to it: expat must not."""

    def __enter__(self) -> "Listener":
        self.calls = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(0.02)
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}/pubmed.dtd"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count)
        self._thread.start()
        return self

    def _count(self) -> None:
        while not self._over.is_set():
            try:
                self._server.accept()[0].close()
                self.calls += 1
            except TimeoutError:
                pass

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._server.close()


def test_deleted_citations_come_in_their_place(tmp_path: Path) -> None:
    deleted = "<DeleteCitation>\n<PMID Version='1'>8</PMID>\n<PMID Version='1'> 9\n</PMID>\n</DeleteCitation>"
    path = tmp_path / "pubmed26n1335.xml"
    first, *gone, last = items(path, whole(article(1), deleted, article(9)))
    assert gone == [Deleted("8", f"{path}#8"), Deleted("9", f"{path}#9")]
    assert [isinstance(one, Record) for one in (first, last)] == [True, True]
    path = tmp_path / "b.xml"
    assert items(path, whole("<DeleteCitation><PMID>all</PMID></DeleteCitation>")) == [
        Malformed(str(path), "a <DeleteCitation> whose PMID is not a number")
    ]
    assert items(path, whole(deleted)) == [Deleted("8", f"{path}#8"), Deleted("9", f"{path}#9")]
    assert list(rows([str(path)], "pubmed")) == [], "no rows"


def test_a_file_of_deletions_that_breaks_off(tmp_path: Path) -> None:
    _, lost = items(tmp_path / "a.xml", f"{HEAD}<PubmedArticleSet><DeleteCitation><PMID>8</PMID></DeleteCitation>")
    assert isinstance(lost, Malformed)
    assert lost.reason == "the rest of the file is lost: not well-formed XML at line 3, column 66: no element found"


def test_an_empty_set_has_no_records(tmp_path: Path) -> None:
    assert items(tmp_path / "a.xml", f"{HEAD}<PubmedArticleSet></PubmedArticleSet>") == []
    assert items(tmp_path / "a.xml", f"{HEAD}<PubmedBookArticleSet/>") == []


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress, bytes])
def test_packing_is_told_by_content(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    found = items(tmp_path / "a.xml", pack(whole(FULL, BOOK).encode()))
    assert [item.position for item in found] == [f"{tmp_path}/a.xml#31452104", f"{tmp_path}/a.xml#20301295"]


def many(count: int) -> str:
    words = random.Random(7)
    texts = (" ".join(f"w{words.randrange(10**6)}" for _ in range(40)) for _ in range(count))
    bodies = (f"<Abstract><AbstractText>{text}</AbstractText></Abstract>" for text in texts)
    return whole(*(article(n, "T", body) for n, body in enumerate(bodies, 1)))


@pytest.mark.parametrize("pack", [gzip.compress, zstd.compress])
def test_a_packed_file_that_breaks_off_gives_what_is_there(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "pubmed26n0001.xml.gz"
    packed = pack(many(4000).encode())
    *records, last = items(path.with_suffix(".gz" if pack is gzip.compress else ".zst"), packed[: len(packed) // 2])
    assert 1000 < len(records) < 3000
    assert all(isinstance(record, Record) and record.id == str(n) for n, record in enumerate(records, 1))
    assert isinstance(last, Malformed)
    assert last.position.endswith(f"#{len(records) + 1}")
    assert last.reason.startswith("the rest of the file is lost: Compressed file ended before the end-of-stream marker")


@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_nothing_complete_is_lost_where_a_file_breaks_off(tmp_path: Path, pack) -> None:  # type: ignore[no-untyped-def]
    text = whole(article(1), article(2)).encode()
    cut = text.index(b"<PMID>2")
    packed = pack(text[:cut])
    *records, last = items(tmp_path / "a.xml", packed[:-8] if pack is gzip.compress else packed)
    assert [item.position for item in records] == [f"{tmp_path}/a.xml#1"]
    assert isinstance(last, Malformed)
    assert last.reason.startswith("the rest of the file is lost: ")


@pytest.mark.parametrize(
    ("behind", "reason"),
    [
        (article(2).replace("</Article>", ""), "mismatched tag"),
        (article(2, "a < b"), r"not well-formed \(invalid token\)"),
        (article(2, "\x01"), r"not well-formed \(invalid token\)"),
        (article(2, "&#xD800;"), "reference to invalid character number"),
        ("</PubmedArticleSet>\n" + HEAD + "<PubmedArticleSet>", "another document begins; split the file there"),
        ("</PubmedArticleSet><PubmedArticleSet>", "another document begins; split the file there"),
    ],
)
def test_a_place_that_is_no_xml_ends_the_file(tmp_path: Path, behind: str, reason: str) -> None:
    first, last = items(tmp_path / "a.xml", whole(article(1), behind, article(3)))
    assert first.position == f"{tmp_path}/a.xml#1"
    assert isinstance(last, Malformed)
    assert last.position == f"{tmp_path}/a.xml#2"
    pattern = rf"the rest of the file is lost: not well-formed XML at line \d, column \d+: {reason}"
    assert re.fullmatch(pattern, last.reason)


@pytest.mark.parametrize("bad", [b"\xff", "\ud800".encode("utf-8", "surrogatepass")])
def test_bytes_that_are_no_utf8_end_the_file(tmp_path: Path, bad: bytes) -> None:
    text = whole(article(1), article(2, "@"), article(3)).encode().replace(b"@", bad)
    first, last = items(tmp_path / "a.xml", text)
    assert isinstance(first, Record)
    assert isinstance(last, Malformed)
    assert last.reason.startswith("the rest of the file is lost: not well-formed XML at line 3, column ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read: not well-formed XML at line 1, column 1: no element found"),
        ("PMID- 1\nTI  - Title\n", "cannot be read: not well-formed XML at line 1, column 1: syntax error"),
        (HEAD, "cannot be read: not well-formed XML at line 3, column 1: no element found"),
        (f"{HEAD}<PubmedArticleSet><PubmedArticle>", "cannot be read: not well-formed XML at line 3, column "),
        ("<html></html>", "not PubMed XML: its root element is <html>, not <PubmedArticleSet>"),
        ("<eFetchResult><ERROR>No</ERROR></eFetchResult>", "its root element is <eFetchResult>, not"),
        (f"<{'x' * 90}/>", f"its root element is <{'x' * 40}>, not"),
        ('<?xml version="1.0" encoding="klingon"?><PubmedArticleSet/>', "declares an encoding that cannot be read"),
        (gzip.compress(whole(article(1)).encode())[:30], "cannot be read: Compressed file ended"),
    ],
)
def test_a_source_that_cannot_be_read_at_all(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(ReadError) as found:
        items(tmp_path / "a.xml", content)
    assert found.value.path == f"{tmp_path}/a.xml"
    assert message in found.value.reason


@pytest.mark.parametrize("encoding", ["iso-8859-1", "utf-16", "windows-1252"])
def test_declared_encodings(tmp_path: Path, encoding: str) -> None:
    text = whole(article(1, "Ménière"), head=f'<?xml version="1.0" encoding="{encoding}"?>')
    (record,) = items(tmp_path / "a.xml", text.encode(encoding))
    assert isinstance(record, Record)
    assert record.title == "Ménière"


def test_an_article_over_the_limit_ends_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pubmed_parser, "MAX_ARTICLE_BYTES", 100_000)
    path = tmp_path / "a.xml"
    found = items(path, whole(*(article(n, "x" * 99_000) for n in range(1, 6))))
    assert [item.position for item in found if isinstance(item, Record)] == [f"{path}#{n}" for n in range(1, 6)]
    for huge in (article(2, "x" * 10**6), f"<Other a='{'x' * 10**6}'/>", "<PubmedArticle>" + "<a>" * 10**5):
        first, last = items(path, whole(article(1), huge, article(3)))
        assert isinstance(first, Record)
        reason = "the rest of the file is lost: an article is larger than the limit of 100000 bytes"
        assert last == Malformed(f"{path}#2", reason)


def test_an_article_nested_very_deeply(tmp_path: Path) -> None:
    deep = "<i>" * 50_000 + "x" + "</i>" * 50_000
    good, bad = items(tmp_path / "a.xml", whole(article(1, deep), article("", deep)))
    assert isinstance(good, Record)
    assert good.title == "x"
    assert bad == Malformed(f"{tmp_path}/a.xml#2", "no PMID")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    content = whole(article(1), "<PubmedArticle/>", "<DeleteCitation><PMID>5</PMID></DeleteCitation>")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(gzip.compress(content.encode()))))
    assert [item.position for item in pubmed.read("-")] == ["<stdin>#1", "<stdin>#2", "<stdin>#5"]


def test_memory_stays_flat_over_a_long_file(tmp_path: Path, traced) -> None:
    path = tmp_path / "a.xml"
    one = FULL.replace("Cells", "Cells " + "word " * 200)
    with path.open("w") as file:
        file.write(f"{HEAD}<PubmedArticleSet>")
        file.writelines(one for _ in range(1_500))
        file.write("</PubmedArticleSet>")
    count, peak = traced(lambda: pubmed.read(str(path)))
    assert count == 1_500
    assert peak < 2**20 < path.stat().st_size / 7


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("pubmed26n0001.xml.gz", True),
        ("PubMed_results.XML", True),
        ("pubmed26n0001.xml.zst", True),
        ("pubmed26n0001.xml.gz.md5", False),
        ("pubmed.txt", False),
        ("0000001.xml", False),
    ],
)
def test_which_names_look_like_pubmed(tmp_path: Path, name: str, accepted: bool) -> None:
    assert pubmed.READER.accepts(tmp_path / name) is accepted
    (tmp_path / name).mkdir()
    assert not pubmed.READER.accepts(tmp_path / name)
