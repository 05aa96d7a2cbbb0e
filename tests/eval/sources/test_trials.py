"""ClinicalTrials.gov against replies of the shape of its API."""

import gzip
import json
from dataclasses import replace

import pytest

from medte_eval.sources.errors import SourceError
from medte_eval.sources.trials import Outcome, Study, Trials
from tests.eval.sources.server import Query, Server


def study(number: int) -> dict:
    """Every third lacks a description, every fifth outcomes."""
    protocol = {
        "identificationModule": {"nctId": f"NCT{number:08}", "officialTitle": f"A trial of drug {number}"},
        "descriptionModule": {"briefSummary": "In brief.", "detailedDescription": f"Drug {number} is given.\nTwice."},
        "outcomesModule": {
            "primaryOutcomes": [
                {"measure": "Pain", "description": "By scale", "timeFrame": "1 week"},
                {"measure": "Death", "timeFrame": "1 year"},
            ]
        },
    }
    if number % 3 == 0:
        del protocol["descriptionModule"]
    if number % 5 == 0:
        del protocol["outcomesModule"]
    return {"protocolSection": protocol, "hasResults": False}


def register(path: str, query: Query) -> object:
    """2,500 studies."""
    assert path == "/clinicaltrials/studies"
    assert query["format"] == "json"
    start, size = int(query.get("pageToken", "t0")[1:]), int(query["pageSize"])
    page = {"studies": [study(number) for number in range(start, min(start + size, 2500))]}
    return page | ({"nextPageToken": f"t{start + size}"} if start + size < 2500 else {})


@pytest.fixture(autouse=True)
def api(server: Server) -> None:
    server.api = register


def test_a_study(access):
    found = list(Trials(access).studies(limit=16))

    assert found[1] == Study(
        "NCT00000001",
        "A trial of drug 1",
        "Drug 1 is given.\nTwice.",
        (Outcome("Pain", "By scale", "1 week"), Outcome("Death", "", "1 year")),
    )
    assert (found[3].detailed_description, found[5].outcomes) == ("", ())


def test_pages_of_a_thousand_up_to_the_limit(server, access):
    found = list(Trials(access).studies(limit=1200))
    assert [one.id for one in found] == [f"NCT{number:08}" for number in range(1200)]
    assert [query.get("pageToken") for _, query in server.asked] == [None, "t1000"]
    assert {query["pageSize"] for _, query in server.asked} == {"1000"}
    assert "PrimaryOutcomeMeasure" in server.asked[0][1]["fields"].split("|")


def test_the_end_of_the_register(server, access):
    assert len(list(Trials(access).studies(limit=17_000))) == 2500
    assert len(server.asked) == 3


def test_it_goes_on_after_a_stop_and_offline(server, access):
    studies = Trials(access).studies(limit=17_000)
    for _ in range(1500):
        next(studies)
    assert len(server.asked) == 2
    assert len(list(Trials(access).studies(limit=17_000))) == 2500
    assert len(server.asked) == 3
    assert len(list(Trials(replace(access, offline=True)).studies(limit=17_000))) == 2500


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ({"items": []}, "field 'studies'"),
        ({"studies": [{}]}, r"field 'studies\.0\.protocolSection\.identificationModule\.nctId'"),
        ({"studies": [study(1) | {"protocolSection": {"identificationModule": {"nctId": 5}}}]}, "nctId'"),
        ({"studies": []}, "a page without studies"),
        ([study(1)], "not an object"),
        (b'{"studies": [', "not JSON.*3 tries"),
    ],
)
def test_a_page_of_another_shape_names_url_and_field(server, access, reply, said):
    server.api = lambda path, query: reply
    with pytest.raises(SourceError, match=rf"ClinicalTrials\.gov: http://.*/studies\?.*{said}"):
        list(Trials(access).studies(limit=5))


def test_an_empty_page_in_the_middle_is_an_error_and_not_kept(server, access):
    server.api = lambda path, query: {"studies": []} if "pageToken" in query else register(path, query)
    with pytest.raises(SourceError, match=r"pageToken=t1000.*without studies"):
        list(Trials(access).studies(limit=2000))
    server.api = register
    assert len(list(Trials(access).studies(limit=2000))) == 2000


class TestExport:
    @pytest.mark.parametrize("kind", ["page.json", "list.json", "one.json", "studies.jsonl.gz", "pages.jsonl"])
    def test_the_forms_it_may_have(self, server, access, tmp_path, kind):
        some = [study(number) for number in range(1, 4)]
        text = {
            "page.json": json.dumps({"studies": some, "nextPageToken": "x"}),
            "list.json": json.dumps(some, indent=1),
            "one.json": json.dumps(some[0]),
            "studies.jsonl.gz": "\n".join(map(json.dumps, some)),
            "pages.jsonl": "\n".join(json.dumps({"studies": [one]}) for one in some),
        }[kind]
        path = tmp_path / kind
        path.write_bytes(gzip.compress(text.encode()) if kind.endswith(".gz") else text.encode())
        found = list(Trials(replace(access, export=path)).studies(limit=9))
        assert [one.id for one in found] == [f"NCT{number:08}" for number in range(1, 2 if kind == "one.json" else 4)]
        assert found[0].outcomes[0].measure == "Pain"
        assert server.asked == []

    def test_a_folder_and_the_limit(self, access, tmp_path):
        for number in (3, 1, 2):
            (tmp_path / f"NCT{number:08}.json").write_text(json.dumps(study(number)))
        found = list(Trials(replace(access, export=tmp_path)).studies(limit=2))
        assert [one.id for one in found] == ["NCT00000001", "NCT00000002"]

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("a.jsonl", json.dumps(study(1)) + "\n{]", r"a\.jsonl:2: not JSON"),
            ("a.jsonl", json.dumps(study(1)) + '\n{"nctId": "NCT00000001"}', r"a\.jsonl:2: field 'protocolSection"),
            ("a.json", json.dumps({"studies": [study(1), 5]}), r"a\.json#2: is no JSON object"),
            ("a.json", "{]", r"a\.json: not JSON: .*line 1.*end in \.jsonl"),
            ("a.json", '{"studies": []}', "gives no study"),
            ("a.jsonl.gz", "not packed", r"a\.jsonl\.gz: is named \.gz and is not gzip"),
        ],
    )
    def test_a_bad_one_is_told_with_its_place(self, access, tmp_path, name, text, said):
        path = tmp_path / name
        path.write_text(text)
        with pytest.raises(SourceError, match=said):
            list(Trials(replace(access, export=path)).studies(limit=9))

    def test_a_folder_without_any_is_told(self, access, tmp_path):
        with pytest.raises(SourceError, match=r"holds no file that ends in \.jsonl"):
            list(Trials(replace(access, export=tmp_path)).studies(limit=9))
