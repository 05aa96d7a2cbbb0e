"""Wikipedia against replies of the shape of MediaWiki's API."""

import json
from dataclasses import replace

import pytest

from medte_eval.sources.errors import SourceError
from medte_eval.sources.wikipedia import Page, Wikipedia, sections
from tests.eval.sources.server import Query, Reply, Server

# Categories to members, in the API's order: pages first. Pages by number.
TREE = {
    "Category:Cardiology": [(11, 0, "Heart"), (12, 0, "Pulse"), (21, 14, "Category:Heart diseases")],
    "Category:Heart diseases": [(13, 0, "Angina"), (11, 0, "Heart"), (22, 14, "Category:Arrhythmias")],
    "Category:Arrhythmias": [(14, 0, "Flutter")],
    "Category:Hollow": [(23, 14, "Category:Void")],
    "Category:Void": [],
}
LEAD = "This is the lead, which no task uses."


def extract(title: str) -> str:
    return f"{LEAD}\n\n\n== Causes ==\nCauses of {title}.\n\n\n=== Genes ===\nGenes matter.\n\n\n== See also ==\n"


def mediawiki(path: str, query: Query) -> object:
    assert query["action"] == "query"
    assert query["format"] == "json"
    assert query["formatversion"] == "2"
    if query.get("list") == "categorymembers":
        members = TREE.get(query["cmtitle"], [])
        start = int(query.get("cmcontinue", "page|0").partition("|")[2])
        listed = [{"pageid": number, "ns": ns, "title": title} for number, ns, title in members[start : start + 2]]
        reply = {"batchcomplete": True, "query": {"categorymembers": listed}}
        if len(members) > start + 2:
            reply["continue"] = {"cmcontinue": f"page|{start + 2}", "continue": "-||"}
        return reply
    assert (query["prop"], query["explaintext"], query["exsectionformat"]) == ("extracts", "1", "wiki")
    number = int(query["pageids"])
    titles = {page: title for members in TREE.values() for page, ns, title in members}
    return {
        "batchcomplete": True,
        "query": {"pages": [{"pageid": number, "ns": 0, "title": titles[number], "extract": extract(titles[number])}]},
    }


@pytest.fixture(autouse=True)
def api(server: Server) -> None:
    server.api = mediawiki


def titles(access, category: str, depth: int, limit: int = 100) -> list[str]:
    return [page.title for page in Wikipedia(access).pages(category, depth=depth, limit=limit)]


def test_a_page_is_a_map_of_its_sections_without_the_lead(access):
    page = next(Wikipedia(access).pages("Cardiology", depth=0, limit=1))

    assert page == Page(11, "Heart", {"Causes": "Causes of Heart.", "Genes": "Genes matter.", "See also": ""})


def test_the_walk_goes_depth_first_in_the_order_listed(access):
    assert titles(access, "Cardiology", 0) == ["Heart", "Pulse"]
    assert titles(access, "Cardiology", 1) == ["Heart", "Pulse", "Angina", "Heart"]
    assert titles(access, "Cardiology", 2) == ["Heart", "Pulse", "Angina", "Heart", "Flutter"]


def test_the_limit_counts_pages_and_spares_requests(server, access):
    assert titles(access, "Cardiology", 2, limit=2) == ["Heart", "Pulse"]
    assert len(server.asked) == 3  # the first page of members, and two extracts


def test_a_second_walk_asks_nothing_and_works_offline(server, access):
    first = titles(access, "Cardiology", 2)
    asked = len(server.asked)
    assert titles(replace(access, offline=True), "Cardiology", 2) == first
    assert len(server.asked) == asked


def test_offline_names_what_is_missing(access):
    with pytest.raises(SourceError, match=r"Wikipedia: http://.*Category%3APain.*not in the cache"):
        titles(replace(access, offline=True), "Pain", 1)


@pytest.mark.parametrize("category", ["No such thing", "Hollow"])
def test_a_category_without_pages_is_an_error(access, category):
    with pytest.raises(SourceError, match=f"category '{category}': there is no such category"):
        titles(access, category, 1)


def test_an_empty_category_is_asked_for_again_another_time(server, access):
    for asked in (1, 2):
        with pytest.raises(SourceError):
            titles(access, "No such thing", 1)
        assert len(server.asked) == asked


def test_a_page_that_has_gone_is_left_out(server, access):
    def api(path: str, query: Query) -> object:
        if query.get("pageids") == "12":
            return {"batchcomplete": True, "query": {"pages": [{"pageid": 12, "missing": True}]}}
        return mediawiki(path, query)

    server.api = api
    assert titles(access, "Cardiology", 0) == ["Heart"]


def test_a_server_that_lags_is_asked_again(server, access):
    lagging = json.dumps({"error": {"code": "maxlag", "info": "Waiting for a database server"}}).encode()
    server.faults = [Reply(body=lagging, headers={"Retry-After": "0"})] * 2
    assert titles(access, "Cardiology", 0) == ["Heart", "Pulse"]


def test_another_error_of_the_api_is_told_and_not_tried_again(server, access):
    server.faults = [Reply(body=b'{"error": {"code": "invalidcategory", "info": "x"}}')]
    with pytest.raises(SourceError, match="answered the error 'invalidcategory'"):
        titles(access, "Cardiology", 0)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("reply", "field"),
    [
        ({"query": {}}, "query.categorymembers"),
        ({"query": {"categorymembers": [{"pageid": "x", "ns": 0, "title": "T"}]}}, "query.categorymembers.0.pageid"),
        ({"parse": {}}, "query"),
    ],
)
def test_a_list_of_another_shape_names_url_and_field(server, access, reply, field):
    server.api = lambda path, query: reply
    with pytest.raises(SourceError, match=rf"Wikipedia: http://.*cmtitle.*field '{field}'"):
        titles(access, "Cardiology", 0)


def test_a_page_of_another_shape_names_url_and_field(server, access):
    def api(path: str, query: Query) -> object:
        reply = mediawiki(path, query)
        if "pageids" in query:
            reply["query"]["pages"][0]["text"] = reply["query"]["pages"][0].pop("extract")
        return reply

    server.api = api
    with pytest.raises(SourceError, match=r"pageids=11.*field 'query\.pages\.0\.extract'"):
        titles(access, "Cardiology", 0)


def test_what_is_no_json_is_tried_again_and_told(server, access):
    server.api = lambda path, query: b"<html>sorry</html>"
    with pytest.raises(SourceError, match=r"not JSON.*3 tries"):
        titles(access, "Cardiology", 0)


def test_a_list_that_goes_on_with_itself_ends(server, access):
    def api(path: str, query: Query) -> object:
        reply = mediawiki(path, query)
        if "list" in query:
            reply["continue"] = {"cmcontinue": "page|0"}
        return reply

    server.api = api
    with pytest.raises(SourceError, match="goes on with itself"):
        titles(access, "Cardiology", 0)


def test_sections_of_one_title_and_texts_that_look_like_headings():
    text = "lead\n== A ==\nfirst\n\n== B ==\na == b == c\n==== Deep ====\ndeep\n\n\n== A ==\nlast\n"
    assert sections(text) == {"A": "last", "B": "a == b == c", "Deep": "deep"}
    assert sections("only a lead") == {}


class TestExport:
    @pytest.fixture
    def exported(self, access, tmp_path):
        lines = [
            {"category": "Cardiology", "pageid": 11, "title": "Heart", "extract": extract("Heart")},
            {"category": "Pain", "depth": 0, "pageid": 31, "title": "Ache", "extract": extract("Ache")},
            {"category": "Cardiology", "depth": 1, "pageid": 13, "title": "Angina", "extract": extract("Angina")},
        ]
        path = tmp_path / "wikipedia.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return replace(access, export=path)

    def test_its_pages_are_those_of_the_category_and_depth(self, exported, server):
        assert titles(exported, "Cardiology", 0) == ["Heart"]
        assert titles(exported, "Cardiology", 1) == ["Heart", "Angina"]
        assert titles(exported, "Cardiology", 1, limit=1) == ["Heart"]
        assert next(Wikipedia(exported).pages("Pain", depth=0, limit=9)).sections["Genes"] == "Genes matter."
        assert server.asked == []

    def test_a_category_that_it_lacks_is_an_error(self, exported):
        with pytest.raises(SourceError, match="category 'Fever'"):
            titles(exported, "Fever", 1)

    @pytest.mark.parametrize(
        ("line", "said"),
        [
            ("{", r"wikipedia\.jsonl:4: not JSON"),
            ('{"pageid": 1, "title": "T", "extract": ""}', r"wikipedia\.jsonl:4: field 'category'"),
            ("[]", r"wikipedia\.jsonl:4: .*not a JSON object"),
        ],
    )
    def test_a_line_that_is_none_is_named(self, exported, line, said):
        with exported.export.open("a") as file:
            file.write(line + "\n")
        with pytest.raises(SourceError, match=said):
            titles(exported, "Cardiology", 1)

    def test_one_that_does_not_exist_is_named(self, access, tmp_path):
        with pytest.raises(SourceError, match="nowhere: does not exist"):
            titles(replace(access, export=tmp_path / "nowhere"), "Pain", 1)
