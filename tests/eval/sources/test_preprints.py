"""bioRxiv and medRxiv against replies of the shape of their API."""

import datetime
import json
from dataclasses import replace

import pytest

from medte_eval.sources.errors import SourceError
from medte_eval.sources.preprints import Preprint, Preprints
from tests.eval.sources.server import Query, Reply, Server

START, END = datetime.date(2018, 1, 1), datetime.date(2022, 12, 20)
NUMBER = 250


def record(number: int, server: str = "bioRxiv") -> dict:
    return {
        "doi": f"10.1101/2020.01.01.{number // 2:06}",
        "title": f"Preprint {number // 2}",
        "authors": "Doe, J.; Roe, R.",
        "author_corresponding": "Jo Doe",
        "author_corresponding_institution": "A place",
        "date": "2020-01-02",
        "version": str(number % 2 + 1),
        "type": "new results",
        "license": "cc_by",
        "category": "cell biology",
        "jatsxml": "https://www.biorxiv.org/content/early/x.source.xml",
        "abstract": f"We did {number}.",
        "published": "NA",
        "server": server,
    }


def rxiv(path: str, query: Query) -> object:
    place, server, start, end, cursor = path.removeprefix("/biorxiv/").split("/")
    assert (place, start, end) == ("details", "2018-01-01", "2022-12-20")
    at = int(cursor)
    some = [record(number, server) for number in range(at, min(at + 100, NUMBER))]
    if not some:
        return {"messages": [{"status": "no posts found"}], "collection": []}
    message = {"status": "ok", "interval": f"{start}:{end}", "cursor": cursor, "count": len(some), "total": str(NUMBER)}
    return {"messages": [message], "collection": some}


@pytest.fixture(autouse=True)
def api(server: Server) -> None:
    server.api = rxiv


def preprints(access, limit: int = 40_000, server: str = "biorxiv") -> list[Preprint]:
    return list(Preprints(access, server).preprints(start=START, end=END, limit=limit))


def test_a_version_of_a_preprint(access):
    found = preprints(access, 2)

    assert found[1] == Preprint(
        "10.1101/2020.01.01.000000", 2, "Preprint 0", "We did 1.", datetime.date(2020, 1, 2), "cc_by"
    )


def test_the_cursor_goes_on_by_what_came_to_an_empty_page(server, access):
    assert len(preprints(access)) == NUMBER
    assert [path.rsplit("/", 1)[1] for path, _ in server.asked] == ["0", "100", "200", "250"]
    assert "/biorxiv/details/biorxiv/" in server.asked[0][0]


def test_the_limit_spares_requests(server, access):
    assert len(preprints(access, 150, "medrxiv")) == 150
    assert len(server.asked) == 2
    assert "/details/medrxiv/" in server.asked[0][0]


def test_days_without_any_are_an_error(server, access):
    server.api = lambda path, query: {"messages": [{"status": "no posts found"}], "collection": []}
    with pytest.raises(SourceError, match=r"bioRxiv: http.*gives no preprint"):
        preprints(access)


def test_an_empty_page_before_the_end_is_asked_for_again(server, access):
    empty = json.dumps({"messages": [{"status": "ok", "total": NUMBER}], "collection": []}).encode()
    server.faults = [Reply(body=empty)]
    assert len(preprints(access)) == NUMBER
    server.api = lambda path, query: Reply(body=empty)
    with pytest.raises(SourceError, match="an empty page at 0 of 250"):
        preprints(access, 5, "medrxiv")


def test_an_end_before_the_end_is_not_believed(server, access):
    end = {"messages": [{"status": "no posts found"}], "collection": []}
    server.api = lambda path, query: end if path.endswith("/200") else rxiv(path, query)
    with pytest.raises(SourceError, match="an empty page at 200 of 250"):
        preprints(access)
    server.api = rxiv
    assert len(preprints(access)) == NUMBER


@pytest.mark.parametrize(
    ("reply", "field"),
    [
        ({"messages": []}, "collection"),
        ({"collection": [{"doi": "10.1101/1"}]}, "collection.0.version"),
        ({"collection": [record(1) | {"date": "soon"}]}, "collection.0.date"),
        ({"collection": [record(1) | {"version": "one"}]}, "collection.0.version"),
    ],
)
def test_a_page_of_another_shape_names_url_and_field(server, access, reply, field):
    server.api = lambda path, query: reply
    with pytest.raises(SourceError, match=rf"bioRxiv: http://.*/0: field '{field}'"):
        preprints(access)


def test_what_is_null_is_empty(server, access):
    nothing = record(1) | {"title": None, "abstract": None, "license": None}
    server.api = lambda path, query: {"collection": [nothing]}
    found = preprints(access, 1)[0]
    assert (found.title, found.abstract, found.licence) == ("", "", "")


class TestExport:
    @pytest.fixture
    def exported(self, access, tmp_path):
        early, late = record(7) | {"date": "2017-12-31"}, record(8) | {"date": "2022-12-21"}
        lines = [record(0), record(1, "medrxiv"), early, late, record(2)]
        path = tmp_path / "preprints.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return replace(access, export=path)

    def test_its_records_of_the_server_and_the_days(self, server, exported):
        assert [one.abstract for one in preprints(exported)] == ["We did 0.", "We did 2."]
        assert [one.abstract for one in preprints(exported, 9, "medrxiv")] == ["We did 1."]
        assert len(preprints(exported, 1)) == 1
        assert server.asked == []

    def test_a_page_of_the_api(self, access, tmp_path):
        (tmp_path / "page.json").write_text(json.dumps(rxiv("/biorxiv/details/biorxiv/2018-01-01/2022-12-20/200", {})))
        assert len(preprints(replace(access, export=tmp_path))) == 50

    def test_a_line_that_is_none_is_named(self, exported):
        with exported.export.open("a") as file:
            file.write('{"doi": "10.1101/1", "title": "T"}\n')
        with pytest.raises(SourceError, match=r"preprints\.jsonl:6: field 'version'"):
            preprints(exported)

    def test_one_without_any_of_these_days_is_told(self, access, tmp_path):
        (tmp_path / "late.jsonl").write_text(json.dumps(record(1) | {"date": "2024-01-01"}))
        with pytest.raises(SourceError, match="gives no preprint"):
            preprints(replace(access, export=tmp_path))
