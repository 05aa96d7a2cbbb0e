"""PubMed and PMC against replies of the shape of NCBI's E-utilities."""

import gzip
import tracemalloc
from dataclasses import replace

import pytest

from medte_eval.sources import eutils
from medte_eval.sources.errors import SourceError
from medte_eval.sources.pmc import Article, Pmc
from medte_eval.sources.pubmed import Paper, PubMed
from tests.eval.sources.server import Query, Reply, Server

PAPERS = [str(40000000 + number) for number in range(450)]
ARTICLES = [str(9000000 + number) for number in range(120)]
BEHIND = "Search Backend failed: 'retstart' cannot be larger than 9998. For PubMed, ESearch can only retrieve the first"
BEHIND += " 9,999 records matching the query."
DOCTYPE = '<?xml version="1.0" ?>\n<!DOCTYPE PubmedArticleSet PUBLIC "-//NLM//DTD PubMedArticle, 1st January 2025//EN"'
DOCTYPE += ' "https://dtd.nlm.nih.gov/ncbi/pubmed/out/pubmed_250101.dtd">\n'


def paper(pmid: str) -> str:
    return f"""<PubmedArticle><MedlineCitation Status="MEDLINE" Owner="NLM"><PMID Version="1">{pmid}</PMID><Article>
<ArticleTitle>Effect of <i>drug</i> {pmid} on
    pain.</ArticleTitle><Abstract><AbstractText Label="BACKGROUND">Pain is <b>common</b> at 10<sup>6</sup>.
</AbstractText><AbstractText Label="METHODS">We asked.</AbstractText></Abstract></Article>
<MeshHeadingList><MeshHeading><DescriptorName UI="D010146" MajorTopicYN="N">Pain</DescriptorName></MeshHeading>
<MeshHeading><DescriptorName UI="D006801">Humans</DescriptorName></MeshHeading></MeshHeadingList>
<KeywordList Owner="NOTNLM"><Keyword MajorTopicYN="N">analgesia</Keyword></KeywordList></MedlineCitation>
<PubmedData><ArticleIdList><ArticleId IdType="pubmed">{pmid}</ArticleId></ArticleIdList></PubmedData></PubmedArticle>"""


def papers(pmids: list[str]) -> str:
    return f"{DOCTYPE}<PubmedArticleSet>{''.join(map(paper, pmids))}</PubmedArticleSet>"


def article(number: str, abstract: str = "<p>We scanned <italic>hearts</italic>.</p><p>Second.</p>") -> str:
    return f"""<article xmlns:xlink="http://www.w3.org/1999/xlink" article-type="research-article"><front><article-meta>
<article-id pub-id-type="pmcid">PMC{number}</article-id><article-id pub-id-type="pmid">1</article-id><title-group>
<article-title>Imaging of <sup>18</sup>F</article-title></title-group><permissions><license license-type="open-access"
 xlink:href="https://creativecommons.org/licenses/by/4.0/"><license-p>Open.</license-p></license></permissions>
<abstract>{abstract}</abstract></article-meta></front><body><p>Whole text.</p></body></article>"""


DIVIDED = "<sec><title>Aim</title><p>To divide.</p></sec>"


def articles(numbers: list[str]) -> str:
    """Every tenth has an abstract in titled sections."""
    made = (article(one, DIVIDED) if one.endswith("5") else article(one) for one in numbers)
    return f"<pmc-articleset>{''.join(made)}</pmc-articleset>"


def entrez(path: str, query: Query) -> object:
    ids = PAPERS if query["db"] == "pubmed" else ARTICLES
    if path == "/ncbi/esearch.fcgi":
        assert query["retmode"] == "json"
        found = ids if "nothing" not in query["term"] else []
        start = int(query["retstart"])
        most = 9_999 if query["db"] == "pubmed" else 10_000
        if query["db"] == "pubmed" and start >= most:
            return {"header": {"type": "esearch", "version": "0.3"}, "esearchresult": {"ERROR": BEHIND}}
        listed = found[start : start + min(int(query["retmax"]), most)]
        result = {"count": str(len(found)), "retmax": str(len(listed)), "retstart": str(start), "idlist": listed}
        return {"header": {"type": "esearch", "version": "0.3"}, "esearchresult": result | {"querytranslation": "x"}}
    assert path == "/ncbi/efetch.fcgi"
    assert query["retmode"] == "xml"
    asked = query["id"].split(",")
    return (papers(asked) if query["db"] == "pubmed" else articles(asked)).encode()


@pytest.fixture(autouse=True)
def api(server: Server) -> None:
    server.api = entrez


class TestPubMed:
    def test_a_paper_has_its_first_abstract_part_without_mark_up(self, access):
        found = next(PubMed(access).papers("medicine", limit=5))

        assert found == Paper(
            "40000000",
            "Effect of drug 40000000 on pain.",
            "Pain is common at 106.",
            ("Pain", "Humans"),
            ("analgesia",),
        )

    def test_ids_are_fetched_two_hundred_at_once(self, server, access):
        found = list(PubMed(access).papers("medicine", limit=16_384))

        assert [one.id for one in found] == PAPERS
        assert [path for path, _ in server.asked] == ["/ncbi/esearch.fcgi"] + ["/ncbi/efetch.fcgi"] * 3
        assert server.asked[0][1]["retmax"] == "9999"
        assert [len(query["id"].split(",")) for _, query in server.asked[1:]] == [200, 200, 50]

    def test_the_limit_is_kept(self, server, access):
        assert len(list(PubMed(access).papers("medicine", limit=3))) == 3
        assert server.asked[1][1]["id"] == ",".join(PAPERS[:3])

    def test_it_goes_on_where_it_broke_off(self, server, access):
        def failing(path: str, query: Query) -> object:
            return Reply(500) if query.get("id", "").startswith(PAPERS[200]) else entrez(path, query)

        server.api = failing
        found = []
        with pytest.raises(SourceError, match=r"PubMed: .*efetch.*answered 500.*3 tries"):
            found.extend(PubMed(access).papers("medicine", limit=450))
        server.api, server.asked = entrez, []
        assert len(list(PubMed(access).papers("medicine", limit=450))) == 450
        assert [query["id"].split(",")[0] for _, query in server.asked] == [PAPERS[200], PAPERS[400]]

    def test_the_key_and_the_address_go_along_and_raise_the_rate(self, server, access, monkeypatch):
        assert eutils.host("PubMed", access).interval == pytest.approx(1 / 3, abs=0.01)
        monkeypatch.setenv("NCBI_API_KEY", "s3cr3t")
        mine = replace(access, contact="me@example.org")
        assert eutils.host("PubMed", mine).interval == pytest.approx(1 / 10, abs=0.01)
        list(PubMed(mine).papers("medicine", limit=1))
        for _, query in server.asked:
            assert (query["api_key"], query["email"], query["tool"]) == ("s3cr3t", "me@example.org", "medte")
        server.api = lambda path, query: {"esearchresult": {"idlist": 3}}
        with pytest.raises(SourceError) as told:
            list(PubMed(mine).papers("other", limit=1))
        assert "s3cr3t" not in str(told.value)
        assert "s3cr3t" not in repr(eutils.host("PubMed", mine))

    def test_a_query_that_finds_nothing_is_an_error_and_not_kept(self, server, access):
        for asked in (1, 2):
            with pytest.raises(SourceError, match=r"term=nothing.*finds 0 and gives no id"):
                list(PubMed(access).papers("nothing", limit=5))
            assert len(server.asked) == asked

    def test_book_chapters_count_and_are_left_out(self, server, access):
        def api(path: str, query: Query) -> object:
            made = entrez(path, query)
            chapter = b"<PubmedBookArticle><BookDocument><PMID>7</PMID></BookDocument></PubmedBookArticle>"
            return made.replace(b"<PubmedArticleSet>", b"<PubmedArticleSet>" + chapter) if "id" in query else made

        server.api = api
        assert [one.id for one in PubMed(access).papers("medicine", limit=3)] == PAPERS[:2]

    def test_a_paper_without_abstract_or_title_is_given_empty(self, server, access):
        bare = "<MedlineCitation><PMID>5</PMID><Article></Article></MedlineCitation>"
        xml = f"<PubmedArticleSet><PubmedArticle>{bare}</PubmedArticle></PubmedArticleSet>"
        server.api = lambda path, query: xml.encode() if "id" in query else entrez(path, query)
        assert list(PubMed(access).papers("medicine", limit=1)) == [Paper("5", "", "", (), ())]

    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            ({"esearchresult": {"count": "1"}}, "field 'esearchresult.idlist'"),
            ({"esearchresult": {"count": "1", "idlist": ["x&y"]}}, "field 'esearchresult.idlist.0'"),
            ({"result": 1}, "field 'esearchresult'"),
            ({"esearchresult": {"ERROR": "Search Backend failed"}}, "Search Backend failed.*3 tries"),
            (b"", "not JSON"),
        ],
    )
    def test_a_search_of_another_shape_is_told(self, server, access, reply, said):
        server.api = lambda path, query: reply
        with pytest.raises(SourceError, match=f"PubMed: http://.*esearch.*{said}"):
            list(PubMed(access).papers("medicine", limit=5))

    @pytest.mark.parametrize(
        ("reply", "said"),
        [
            ("<PubmedArticleSet></PubmedArticleSet>", "without any of the records"),
            ("<PubmedArticleSet><PubmedArticle>", "not well-formed XML at line 1"),
            ("<html><p>Down</p></html>", "root element is <html>, not <PubmedArticleSet>"),
            ("<PubmedArticleSet><PubmedArticle><Other/></PubmedArticle></PubmedArticleSet>", "no MedlineCitation/PMID"),
            ("", "not well-formed"),
            (
                '<!DOCTYPE a [<!ENTITY x "y">]><PubmedArticleSet>&x;</PubmedArticleSet>',
                "declares entities, which are refused",
            ),
        ],
    )
    def test_records_of_another_shape_are_told(self, server, access, reply, said):
        server.api = lambda path, query: reply.encode() if "id" in query else entrez(path, query)
        with pytest.raises(SourceError, match=rf"PubMed: http://.*efetch(.|\n)*{said}"):
            list(PubMed(access).papers("medicine", limit=5))


class TestPubMedExport:
    def test_a_file_as_efetch_gives_it(self, server, access, tmp_path):
        path = tmp_path / "papers.xml"
        path.write_text(papers(PAPERS[:5]))
        found = list(PubMed(replace(access, export=path)).papers("medicine", limit=4))
        assert [one.id for one in found] == PAPERS[:4]
        assert found[0].mesh == ("Pain", "Humans")
        assert server.asked == []

    def test_a_folder_of_packed_files(self, access, tmp_path):
        for number in (1, 2):
            with gzip.open(tmp_path / f"pubmed26n000{number}.xml.gz", "wt") as file:
                file.write(papers([PAPERS[number]]))
        found = PubMed(replace(access, export=tmp_path)).papers("medicine", limit=9)
        assert [one.id for one in found] == PAPERS[1:3]

    def test_a_broken_file_is_named_with_its_line(self, access, tmp_path):
        path = tmp_path / "papers.xml"
        path.write_text("<PubmedArticleSet>\n" + paper("1") + "\n<PubmedArticle>")
        with pytest.raises(SourceError, match=r"papers\.xml: not well-formed XML at line 10"):
            list(PubMed(replace(access, export=path)).papers("medicine", limit=9))

    def test_a_packed_file_that_is_cut_is_named(self, access, tmp_path):
        path = tmp_path / "papers.xml.gz"
        path.write_bytes(gzip.compress(papers(PAPERS).encode())[:-20])
        with pytest.raises(SourceError, match=r"papers\.xml\.gz: "):
            list(PubMed(replace(access, export=path)).papers("medicine", limit=999))

    @pytest.mark.parametrize("xml", ["<PubmedArticleSet/>", papers([])])
    def test_one_without_papers_is_an_error(self, access, tmp_path, xml):
        (tmp_path / "papers.xml").write_text(xml)
        with pytest.raises(SourceError, match="gives no paper"):
            list(PubMed(replace(access, export=tmp_path)).papers("medicine", limit=9))

    def test_memory_stays_flat(self, access, tmp_path):
        """However many papers a file has, only the one at hand is held."""
        path = tmp_path / "papers.xml"
        path.write_text(papers(PAPERS * 8))
        tracemalloc.start()
        try:
            number = sum(1 for _ in PubMed(replace(access, export=path)).papers("medicine", limit=9999))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert number == 3600
        assert peak < path.stat().st_size


class TestPmc:
    def test_an_article_has_the_first_paragraph_and_its_licence(self, access):
        found = next(Pmc(access).articles("MRI", limit=5))

        licence = "https://creativecommons.org/licenses/by/4.0/"
        assert found == Article("PMC9000000", "Imaging of 18F", "We scanned hearts.", licence)

    def test_divided_abstracts_count_and_are_left_out(self, access):
        found = list(Pmc(access).articles("MRI", limit=20))
        assert len(found) == 18
        assert "PMC9000005" not in {one.id for one in found}

    def test_only_open_access_is_asked_for_and_in_batches(self, server, access):
        list(Pmc(access).articles("CT scan", limit=120))
        assert server.asked[0][1]["term"] == "(CT scan) AND open access[filter]"
        assert [len(query["id"].split(",")) for _, query in server.asked[1:]] == [50, 50, 20]

    def test_older_ids_and_other_licences(self, server, access):
        xml = articles(["77"]).replace('"pmcid">PMC77', '"pmc">77')
        ref = '<license><ali:license_ref xmlns:ali="http://www.niso.org/schemas/ali/1.0/">cc0</ali:license_ref>'
        start = xml.index("<license ")
        xml = xml[:start] + ref + xml[xml.index("<license-p>") :]
        server.api = lambda path, query: xml.encode() if "id" in query else entrez(path, query)
        found = next(Pmc(access).articles("MRI", limit=1))
        assert (found.id, found.licence) == ("PMC77", "cc0")

    def test_a_query_whose_articles_are_all_divided_is_an_error(self, server, access):
        xml = f"<pmc-articleset>{article('1', DIVIDED)}</pmc-articleset>"
        server.api = lambda path, query: xml.encode() if "id" in query else entrez(path, query)
        with pytest.raises(SourceError, match="query 'MRI': gives no article"):
            list(Pmc(access).articles("MRI", limit=1))

    def test_an_article_without_number_is_another_shape(self, server, access):
        xml = articles(["1"]).replace("pmcid", "other")
        server.api = lambda path, query: xml.encode() if "id" in query else entrez(path, query)
        with pytest.raises(SourceError, match=r"PMC: .*efetch.*article 1 has no PMCID"):
            list(Pmc(access).articles("MRI", limit=1))

    def test_an_export_has_a_file_or_folder_for_each_query(self, server, access, tmp_path):
        (tmp_path / "mri.xml").write_text(articles(ARTICLES[:3]))
        (tmp_path / "CT_scan").mkdir()
        for number in ("1", "2"):
            (tmp_path / "CT_scan" / f"PMC{number}.nxml").write_text(article(number))
        exported = Pmc(replace(access, export=tmp_path))
        assert [one.id for one in exported.articles("MRI", limit=2)] == ["PMC9000000", "PMC9000001"]
        assert [one.id for one in exported.articles("CT scan", limit=9)] == ["PMC1", "PMC2"]
        with pytest.raises(SourceError, match=r"holds nothing for the query 'X-ray'.*X-ray\.xml"):
            list(exported.articles("X-ray", limit=9))
        assert server.asked == []

    def test_an_export_that_is_a_file_answers_no_query(self, access, tmp_path):
        path = tmp_path / "MRI.xml"
        path.write_text(articles(["1"]))
        with pytest.raises(SourceError, match="is no folder"):
            list(Pmc(replace(access, export=path)).articles("MRI", limit=9))


def test_ids_beyond_ten_thousand_are_searched_for_again(server, access, monkeypatch):
    monkeypatch.setattr(eutils, "MOST_IDS", 50)
    host = eutils.host("PMC", access)
    assert eutils.search(access, host, "pmc", "MRI", 110) == ARTICLES[:110]
    assert [query["retstart"] for _, query in server.asked] == ["0", "50", "100"]


def test_pubmed_is_not_asked_for_more_than_it_gives(server, access, monkeypatch):
    every = [str(number) for number in range(12_000)]
    monkeypatch.setitem(globals(), "PAPERS", every)
    host = eutils.host("PubMed", access)

    assert eutils.search(access, host, "pubmed", "medicine", 16_384) == every[:9_999]
    assert [query["retmax"] for _, query in server.asked] == ["9999"]
    server.asked.clear()
    assert eutils.search(access, host, "pubmed", "medicine", 9_000) == every[:9_000]
