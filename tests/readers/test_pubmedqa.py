import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from es_ingest.readers import detect, pubmedqa
from es_ingest.records import Malformed, ReadError, Record

ROW: dict[str, Any] = {
    "QUESTION": "Do mitochondria play a role?",
    "CONTEXTS": ["Programmed cell death is regulated.", " ", "Leaves were stained."],
    "LABELS": ["BACKGROUND", "RESULTS"],
    "MESHES": ["Mitochondria", "Plant Leaves"],
    "YEAR": "2011",
    "LONG_ANSWER": "They do.",
    "final_decision": "yes",
}


def read(path: Path, rows: object) -> list[Record | Malformed]:
    path.write_bytes(gzip.compress(json.dumps(rows).encode()))
    return list(pubmedqa.read(str(path)))


def test_a_question_is_a_record(tmp_path: Path) -> None:
    path = tmp_path / "ori_pqal.json.gz"
    (record,) = read(path, {"21645374": ROW})
    assert record == Record(
        "21645374",
        "",
        "Programmed cell death is regulated.\n\nLeaves were stained.",
        {
            "question": "Do mitochondria play a role?",
            "answer": "They do.",
            "decision": "yes",
            "year": "2011",
            "mesh": ["Mitochondria", "Plant Leaves"],
        },
        f"{path}#21645374",
    )
    assert detect([str(path)]) == "pubmedqa"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"CONTEXTS": "text"}, "field 'CONTEXTS' is no list of strings"),
        ({"CONTEXTS": []}, "empty text"),
        ({"QUESTION": 3}, "field 'QUESTION' is a number, not a string"),
    ],
)
def test_a_row_that_is_none_is_named_and_the_rest_goes_on(tmp_path: Path, change: dict[str, Any], reason: str) -> None:
    first, second, third = read(tmp_path / "pqal.json.gz", {"1": ROW | change, "2": [], "3": ROW})
    assert isinstance(first, Malformed)
    assert first.reason == reason
    assert isinstance(second, Malformed)
    assert second.reason == "is a list, not an object"
    assert isinstance(third, Record)


@pytest.mark.parametrize(("content", "reason"), [(b"[]", "is a list, not an object of"), (b"{", "not JSON")])
def test_another_file_is_refused(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "pqal.json"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=reason):
        list(pubmedqa.read(str(path)))
