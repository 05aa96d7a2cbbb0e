import copy
import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from es_ingest.readers import clinicaltrials
from es_ingest.readers.streams import zstd
from es_ingest.records import Malformed, ReadError, Record

# The modules and the field names of the API's study data structure.
STUDY: dict[str, Any] = {
    "protocolSection": {
        "identificationModule": {
            "nctId": "NCT04267848",
            "orgStudyIdInfo": {"id": "A081801"},
            "organization": {"fullName": "Alliance", "class": "NETWORK"},
            "briefTitle": "Chemotherapy With or Without Immunotherapy",
            "officialTitle": "Testing MK-3475 After Surgery (ALCHEMIST)",
        },
        "statusModule": {
            "statusVerifiedDate": "2024-01",
            "overallStatus": "ACTIVE_NOT_RECRUITING",
            "startDateStruct": {"date": "2020-06-08", "type": "ACTUAL"},
            "primaryCompletionDateStruct": {"date": "2024-12-31", "type": "ESTIMATED"},
            "completionDateStruct": {"date": "2026-05", "type": "ESTIMATED"},
            "lastUpdateSubmitDate": "2024-02-01",
            "lastUpdatePostDateStruct": {"date": "2024-02-05", "type": "ACTUAL"},
        },
        "sponsorCollaboratorsModule": {
            "leadSponsor": {"name": "National Cancer Institute (NCI)", "class": "NIH"},
            "collaborators": [{"name": "Another", "class": "OTHER"}],
        },
        "descriptionModule": {
            "briefSummary": "This phase III trial compares.\n\nIt ends.",
            "detailedDescription": "PRIMARY OBJECTIVES:\n\nI. Compare ≥ 1.",
        },
        "conditionsModule": {"conditions": ["Lung Carcinoma", "Stage II"], "keywords": ["NSCLC"]},
        "designModule": {
            "studyType": "INTERVENTIONAL",
            "phases": ["PHASE2", "PHASE3"],
            "designInfo": {"allocation": "RANDOMIZED"},
            "enrollmentInfo": {"count": 1263, "type": "ESTIMATED"},
        },
        "armsInterventionsModule": {
            "armGroups": [{"label": "Arm A", "interventionNames": ["Drug: Cisplatin"]}],
            "interventions": [
                {"type": "DRUG", "name": "Cisplatin", "otherNames": ["CDDP"]},
                {"type": "DRUG", "name": "Pemetrexed"},
                {"type": "OTHER", "name": "Observation"},
            ],
        },
        "eligibilityModule": {
            "eligibilityCriteria": "Inclusion Criteria:\n\n* Age \\>= 18\n",
            "healthyVolunteers": False,
            "sex": "ALL",
            "minimumAge": "18 Years",
            "maximumAge": "120 Years",
            "stdAges": ["ADULT", "OLDER_ADULT"],
        },
        "contactsLocationsModule": {
            "locations": [
                {
                    "facility": "A",
                    "city": "Anchorage",
                    "country": "United States",
                    "geoPoint": {"lat": 61.2, "lon": -1},
                },
                {"facility": "B", "city": "Toronto", "country": "Canada"},
                {"facility": "C", "city": "Boston", "country": "United States"},
            ]
        },
    },
    "derivedSection": {"miscInfoModule": {"versionHolder": "2024-03-01"}},
    "hasResults": False,
}
TEXT = (
    "Brief summary:\nThis phase III trial compares.\n\nIt ends.\n\n"
    "Detailed description:\nPRIMARY OBJECTIVES:\n\nI. Compare ≥ 1.\n\n"
    "Eligibility criteria:\nInclusion Criteria:\n\n* Age \\>= 18"
)
META: dict[str, Any] = {
    "official_title": "Testing MK-3475 After Surgery (ALCHEMIST)",
    "conditions": ["Lung Carcinoma", "Stage II"],
    "keywords": ["NSCLC"],
    "interventions": ["Cisplatin", "Pemetrexed", "Observation"],
    "intervention_types": ["DRUG", "OTHER"],
    "phases": ["PHASE2", "PHASE3"],
    "study_type": "INTERVENTIONAL",
    "enrollment": 1263,
    "status": "ACTIVE_NOT_RECRUITING",
    "start_date": "2020-06-08",
    "completion_date": "2026-05",
    "last_update": "2024-02-05",
    "sponsor": "National Cancer Institute (NCI)",
    "sex": "ALL",
    "minimum_age": "18 Years",
    "maximum_age": "120 Years",
    "countries": ["United States", "Canada"],
    "has_results": False,
    "url": "https://clinicaltrials.gov/study/NCT04267848",
}


def small(number: int = 1, **protocol: Any) -> dict[str, Any]:
    head = {"nctId": f"NCT{number:08}", "briefTitle": "T"}
    return {"protocolSection": {"identificationModule": head, "descriptionModule": {"briefSummary": "S"}, **protocol}}


def small_record(number: int, position: str) -> Record:
    url = {"url": f"https://clinicaltrials.gov/study/NCT{number:08}"}
    return Record(f"NCT{number:08}", "T", "Brief summary:\nS", url, position)


def changed(path: str, value: Any) -> dict[str, Any]:
    """The study with one field changed, or taken out where the value is ...; digits in the path are list indexes."""
    study = copy.deepcopy(STUDY)
    *way, last = path.split(".")
    holder: Any = study
    for step in way:
        holder = holder[int(step) if step.isdecimal() else step]
    if value is ...:
        del holder[last]
    else:
        holder[int(last) if last.isdecimal() else last] = value
    return study


def items(path: Path, content: Any) -> list[Record | Malformed]:
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return list(clinicaltrials.read(str(path)))


def one(tmp_path: Path, study: Any) -> Record | Malformed:
    (item,) = items(tmp_path / "a.json", study)
    return item


@pytest.mark.parametrize(
    ("name", "content", "behind"),
    [
        ("NCT04267848.json", json.dumps(STUDY), ""),
        ("NCT04267848.json", json.dumps(STUDY, indent=2, ensure_ascii=False), ""),
        ("page.json", json.dumps({"totalCount": 1, "studies": [STUDY], "nextPageToken": "abc"}), "#1"),
        ("ctg-studies.json", json.dumps([STUDY], indent=1), "#1"),
        ("all.jsonl", json.dumps(STUDY), ":1"),
        ("all.ndjson", "\n" + json.dumps(STUDY) + "\r\n", ":2"),
        ("pages.jsonl", json.dumps({"studies": [STUDY]}), ":1#1"),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstd.compress])
def test_a_study_with_everything_in_every_kind_of_file(
    tmp_path: Path, name: str, content: str, behind: str, pack: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / name
    expected = Record("NCT04267848", "Chemotherapy With or Without Immunotherapy", TEXT, META, f"{path}{behind}")
    assert items(path, pack(content.encode())) == [expected]


def test_a_page_holds_its_studies_in_order(tmp_path: Path) -> None:
    path = tmp_path / "page.json"
    bad = small(2, designModule="Confidential")
    found = items(path, {"studies": [small(1), bad, None, "Confidential", small(5)]})
    assert found == [
        small_record(1, f"{path}#1"),
        Malformed(f"{path}#2", "field 'protocolSection.designModule' is a string, not an object"),
        Malformed(
            f"{path}#3", "not a study of the API's version 2, which is an object with the field 'protocolSection'"
        ),
        Malformed(
            f"{path}#4", "not a study of the API's version 2, which is an object with the field 'protocolSection'"
        ),
        small_record(5, f"{path}#5"),
    ]
    assert isinstance(found[1], Malformed)
    assert json.loads(found[1].raw or "") == bad


@pytest.mark.parametrize("content", [{"studies": []}, {"studies": None}, {"totalCount": 0, "studies": []}, [], b""])
def test_what_holds_no_study(tmp_path: Path, content: Any) -> None:
    name = "a.jsonl" if content == b"" else "a.json"
    assert items(tmp_path / name, content) == []


def test_lines_in_a_file_named_json(tmp_path: Path) -> None:
    path = tmp_path / "saved.json"
    bad = b'{"protocolSection": {"identificationModule": '
    content = b"\xef\xbb\xbf" + json.dumps(small(1)).encode() + b"\n\n" + bad + b"\r\n" + json.dumps(small(4)).encode()
    found = items(path, content)
    assert found == [
        small_record(1, f"{path}:1"),
        Malformed(f"{path}:3", "not JSON: Expecting value at line 1, column 46"),
        small_record(4, f"{path}:4"),
    ]
    assert isinstance(found[1], Malformed)
    assert found[1].raw == bad.decode()


def test_a_malformed_line_keeps_its_study(tmp_path: Path) -> None:
    (bad,) = items(tmp_path / "a.jsonl", small(1, statusModule={"overallStatus": ["\ud800"]}))
    assert bad == Malformed(
        f"{tmp_path}/a.jsonl:1", "field 'protocolSection.statusModule.overallStatus' is a list, not a string"
    )
    assert isinstance(bad, Malformed)
    assert bad.raw is not None
    assert json.loads(bad.raw)["protocolSection"]["statusModule"] == {"overallStatus": ["\ud800"]}
    bad.raw.encode()


@pytest.mark.parametrize(
    ("path", "value", "meta"),
    [
        ("hasResults", True, {"has_results": True}),
        ("hasResults", ..., {"has_results": None}),
        ("protocolSection.designModule.enrollmentInfo.count", 0, {"enrollment": 0}),
        ("protocolSection.designModule.enrollmentInfo", None, {"enrollment": None}),
        ("protocolSection.designModule", ..., {"phases": None, "study_type": None, "enrollment": None}),
        ("protocolSection.statusModule.startDateStruct.date", "2020", {"start_date": "2020"}),
        ("protocolSection.statusModule.startDateStruct.date", "", {"start_date": None}),
        ("protocolSection.conditionsModule.conditions", ["A", None, " A ", "", "B"], {"conditions": ["A", "B"]}),
        ("protocolSection.conditionsModule.keywords", [], {"keywords": None}),
        ("protocolSection.armsInterventionsModule.interventions.2", {"name": "Wait"}, {
            "interventions": ["Cisplatin", "Pemetrexed", "Wait"], "intervention_types": ["DRUG"]}),
        ("protocolSection.contactsLocationsModule", {}, {"countries": None}),
        ("protocolSection.sponsorCollaboratorsModule.leadSponsor.name", "a\ud800b", {"sponsor": "a\ufffdb"}),
        ("protocolSection.identificationModule.officialTitle", ..., {"official_title": None}),
    ],
)  # fmt: skip
def test_any_metadata_may_be_missing_or_odd(tmp_path: Path, path: str, value: Any, meta: dict[str, Any]) -> None:
    expected = {name: value for name, value in (META | meta).items() if value is not None}
    title = "Chemotherapy With or Without Immunotherapy"
    assert one(tmp_path, changed(path, value)) == Record("NCT04267848", title, TEXT, expected, f"{tmp_path}/a.json")


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("hasResults", "Confidential", "field 'hasResults' is a string, not true or false"),
        ("hasResults", 1, "field 'hasResults' is a whole number, not true or false"),
        ("protocolSection", ["Confidential"], "field 'protocolSection' is a list, not an object"),
        ("protocolSection", None, "field 'protocolSection.identificationModule.nctId' is missing"),
        ("protocolSection.identificationModule", {}, "field 'protocolSection.identificationModule.nctId' is missing"),
        (
            "protocolSection.identificationModule.nctId",
            "Confidential",
            "field 'protocolSection.identificationModule.nctId' is not like NCT01234567",
        ),
        (
            "protocolSection.identificationModule.nctId",
            4267848,
            "field 'protocolSection.identificationModule.nctId' is a whole number, not a string",
        ),
        (
            "protocolSection.identificationModule.briefTitle",
            {"Confidential": 1},
            "field 'protocolSection.identificationModule.briefTitle' is an object, not a string",
        ),
        (
            "protocolSection.eligibilityModule.eligibilityCriteria",
            ["Confidential"],
            "field 'protocolSection.eligibilityModule.eligibilityCriteria' is a list, not a string",
        ),
        (
            "protocolSection.designModule.enrollmentInfo.count",
            "12",
            "field 'protocolSection.designModule.enrollmentInfo.count' is a string, not a whole number",
        ),
        (
            "protocolSection.designModule.enrollmentInfo.count",
            12.5,
            "field 'protocolSection.designModule.enrollmentInfo.count' is a number, not a whole number",
        ),
        (
            "protocolSection.designModule.enrollmentInfo.count",
            float("nan"),
            "field 'protocolSection.designModule.enrollmentInfo.count' is a number, not a whole number",
        ),
        (
            "protocolSection.designModule.enrollmentInfo.count",
            True,
            "field 'protocolSection.designModule.enrollmentInfo.count' is true or false, not a whole number",
        ),
        (
            "protocolSection.designModule.phases",
            "PHASE1",
            "field 'protocolSection.designModule.phases' is a string, not a list",
        ),
        (
            "protocolSection.designModule.phases.1",
            3,
            "field 'protocolSection.designModule.phases[]' is a whole number, not a string",
        ),
        (
            "protocolSection.armsInterventionsModule.interventions.1",
            "Confidential",
            "field 'protocolSection.armsInterventionsModule.interventions[]' is a string, not an object",
        ),
        (
            "protocolSection.contactsLocationsModule.locations.2.country",
            ["Confidential"],
            "field 'protocolSection.contactsLocationsModule.locations[].country' is a list, not a string",
        ),
        *(
            (
                "protocolSection.statusModule.completionDateStruct.date",
                date,
                "field 'protocolSection.statusModule.completionDateStruct.date' is not a date like 2020-05-07, "
                "2020-05 or 2020",
            )
            for date in ("May 2020", "2020-13", "2020-02-30", "20200507", "2020-05-07T00:00", "٢٠٢٠")
        ),
    ],
)
def test_a_wrong_type_makes_the_study_malformed(tmp_path: Path, path: str, value: Any, reason: str) -> None:
    assert one(tmp_path, changed(path, value)) == Malformed(f"{tmp_path}/a.json", reason)


@pytest.mark.parametrize(
    ("texts", "titles", "expected"),
    [
        ({"detailedDescription": " D "}, {"briefTitle": "B"}, ("B", "Detailed description:\nD")),
        ({"briefSummary": " \n"}, {"briefTitle": "B", "officialTitle": "O"}, ("", "B")),
        ({"briefSummary": "S"}, {"officialTitle": "O"}, ("O", "Brief summary:\nS")),
        ({"briefSummary": "S"}, {}, ("", "Brief summary:\nS")),
        (None, {"officialTitle": "O"}, ("", "O")),
        ({"briefSummary": "a\ud800b"}, {"briefTitle": "\udfff"}, ("\ufffd", "Brief summary:\na\ufffdb")),
    ],
)
def test_which_title_and_text_a_study_has(
    tmp_path: Path, texts: Any, titles: dict[str, str], expected: tuple[str, str]
) -> None:
    head = {"nctId": "NCT00000001", **titles}
    item = one(tmp_path, {"protocolSection": {"identificationModule": head, "descriptionModule": texts}})
    meta = {"url": "https://clinicaltrials.gov/study/NCT00000001"}
    if "officialTitle" in titles:
        meta["official_title"] = "O"
    assert item == Record("NCT00000001", *expected, meta, f"{tmp_path}/a.json")


def test_a_study_with_neither_title_nor_text(tmp_path: Path) -> None:
    item = one(tmp_path, {"protocolSection": {"identificationModule": {"nctId": "NCT00000001"}}})
    assert item == Malformed(f"{tmp_path}/a.json", "neither title nor text")


NO_STUDY = "not a study of the API's version 2, which is an object with the field 'protocolSection'"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON: Expecting value at line 1, column 1"),
        (b"<html>Confidential</html>", "not JSON: Expecting value at line 1, column 1"),
        (b'{\n "studies": [\n  {"protocolSection"', "not JSON: Expecting ':' delimiter at line 3, column 21"),
        (b'{"protocolSection": "Confidential \xff"}', "not UTF-8 at byte 35"),
        (json.dumps(STUDY).encode("utf-16"), "not UTF-8 at byte 1"),
        (b'"Confidential"', NO_STUDY),
        (b"null", NO_STUDY),
        (b'{"FullStudiesResponse": {"FullStudies": []}}', NO_STUDY),
        (b'{"studies": {"NCT00000001": {}}}', "field 'studies' is an object, not a list"),
        (
            b'{"protocolSection": ' + b"9" * 5000 + b"}",
            "not JSON that can be indexed: an integer with thousands of digits",
        ),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
@pytest.mark.parametrize("folder", [False, True])
def test_a_file_that_is_no_study_is_named(tmp_path: Path, content: bytes, reason: str, folder: bool) -> None:
    path = tmp_path / "NCT00000001.json"
    path.write_bytes(content)
    (tmp_path / "NCT00000002.json").write_text(json.dumps(small(2)))
    found = list(clinicaltrials.read(str(tmp_path if folder else path)))
    assert found[0] == Malformed(f"{path}", reason)
    assert found[1:] == ([small_record(2, f"{tmp_path}/NCT00000002.json")] if folder else [])


def test_a_field_nobody_reads_may_be_nested_deeply(tmp_path: Path) -> None:
    deep: Any = []
    for _ in range(400):
        deep = [deep]
    assert one(tmp_path, small(1) | {"resultsSection": deep}) == small_record(1, f"{tmp_path}/a.json")


def test_a_folder_is_read_sorted_and_only_its_studies(tmp_path: Path) -> None:
    (tmp_path / "NCT0000xxxx").mkdir()
    (tmp_path / "NCT00000009.json").mkdir()
    files = {
        "NCT00000003.json": json.dumps(small(3)).encode(),
        "NCT0000xxxx/NCT00000001.json": json.dumps(small(1)).encode(),
        "nct00000004.JSON.gz": gzip.compress(json.dumps(small(4)).encode()),
        "NCT00000005.json.gz": gzip.compress(json.dumps(small(5)).encode())[:40],
        "._NCT00000003.json": b"mac",
        "NCT00000003.json.bak": b"old",
        "package.json": b"{}",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert clinicaltrials.READER.accepts(tmp_path)
    assert list(clinicaltrials.read(str(tmp_path))) == [
        small_record(3, f"{tmp_path}/NCT00000003.json"),
        Malformed(
            f"{tmp_path}/NCT00000005.json.gz",
            "cannot be read: Compressed file ended before the end-of-stream marker was reached",
        ),
        small_record(1, f"{tmp_path}/NCT0000xxxx/NCT00000001.json"),
        small_record(4, f"{tmp_path}/nct00000004.JSON.gz"),
    ]


def test_the_archive_of_the_site(tmp_path: Path) -> None:
    path = tmp_path / "ctg-studies.json.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("NCT00000002.json", json.dumps(small(2)))
        archive.writestr("NCT00000001.json", json.dumps(small(1)))
        archive.writestr("NCT00000003.json", "Confidential")
        archive.writestr("README.txt", "text")
        archive.writestr("page.json", json.dumps({"studies": [small(4)]}))
    assert list(clinicaltrials.read(str(path))) == [
        small_record(2, f"{path}!NCT00000002.json"),
        small_record(1, f"{path}!NCT00000001.json"),
        Malformed(f"{path}!NCT00000003.json", "not JSON: Expecting value at line 1, column 1"),
        small_record(4, f"{path}!page.json#1"),
    ]


@pytest.mark.parametrize("name", ["all.json", "all.json.gz", "all.jsonl", "all.jsonl.zst"])
def test_lines_of_a_file_that_breaks_off(tmp_path: Path, name: str) -> None:
    lines = b"\n".join(json.dumps(small(n) | {"x": f"{n**7 % 10007} {n**9}"}).encode() for n in range(6_000))
    packed = (
        lines if name.endswith(("n", "l")) else gzip.compress(lines) if name.endswith("gz") else zstd.compress(lines)
    )
    *records, last = items(tmp_path / name, packed[: len(packed) // 2])
    assert 1_500 < len(records) < 4_500
    assert all(isinstance(record, Record) and record.id == f"NCT{n:08}" for n, record in enumerate(records))
    assert isinstance(last, Malformed)
    assert last.position == f"{tmp_path / name}:{len(records) + 1}"
    assert last.reason.startswith(("not JSON: ", "the rest of the file is lost: Compressed file ended"))


def test_the_limit_of_a_file_that_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = json.dumps([small(n) for n in range(1, 2001)]).encode()
    monkeypatch.setattr(clinicaltrials, "MAX_FILE_BYTES", len(exact))
    assert len(items(tmp_path / "a.json", exact)) == 2000
    over = Malformed(
        f"{tmp_path}/a.json",
        f"larger than the limit of {len(exact)} bytes; save it as JSON Lines, one study on each line",
    )
    assert items(tmp_path / "a.json", exact + b" ") == [over]
    assert items(tmp_path / "a.json", b"[\n" + exact[1:]) == [over]
    lines = b"\n".join(json.dumps(small(n)).encode() for n in range(1, 3001))
    assert len(lines) > len(exact)
    assert len(items(tmp_path / "a.json", lines)) == 3000
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("big.json", exact + b" ")
    assert list(clinicaltrials.read(str(tmp_path / "a.zip"))) == [
        Malformed(f"{tmp_path}/a.zip!big.json", f"larger than the limit of {len(exact)} bytes")
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json.gz", b"{}", "is named .gz and is not gzip"),
        ("a.json", b"\x1f\x8b\x08", "cannot be read: Compressed file ended"),
        ("a.jsonl", "{}\n".encode("utf-16"), "is UTF-16; convert it"),
        ("a.zip", b"{}", "not a tar or zip archive"),
    ],
)
def test_a_source_that_cannot_be_read_at_all(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    with pytest.raises(ReadError, match=message):
        items(tmp_path / name, content)


def test_a_folder_or_an_archive_without_studies(tmp_path: Path) -> None:
    (tmp_path / "page.json").write_text("[]")
    assert not clinicaltrials.READER.accepts(tmp_path)
    with pytest.raises(ReadError, match=r"holds no file like NCT01234567\.json; name its files, or a pattern"):
        list(clinicaltrials.read(str(tmp_path)))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("README.txt", "text")
    with pytest.raises(ReadError, match=r"holds no \.json file"):
        list(clinicaltrials.read(str(tmp_path / "a.zip")))


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_memory_stays_flat_over_many_lines(tmp_path: Path, name: str, traced) -> None:
    path = tmp_path / name
    line = json.dumps(STUDY | {"resultsSection": {"x": "word " * 500}}) + "\n"
    path.write_text(line * 2_000)
    count, peak = traced(lambda: clinicaltrials.read(str(path)))
    assert count == 2_000
    assert peak < 2**20 < path.stat().st_size / 8


@pytest.mark.parametrize(
    ("name", "accepted"),
    [
        ("NCT04267848.json", True),
        ("nct04267848.json.gz", True),
        ("ctg-studies.json", True),
        ("ctg-studies.json.zip", True),
        ("ctg-studies.zip", True),
        ("ctg-studies.jsonl.zst", True),
        ("ctg-studies.csv", False),
        ("NCT04267848.xml", False),
        ("NCT042678.json", False),
        ("studies.json", False),
        ("corpus.jsonl", False),
    ],
)
def test_which_names_look_like_clinicaltrials(tmp_path: Path, name: str, accepted: bool) -> None:
    assert clinicaltrials.READER.accepts(tmp_path / name) is accepted
