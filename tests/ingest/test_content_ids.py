"""Rows without an id of their own, by the command and on the real server."""

import json

import pytest

ROWS = [
    {"text": "No acute findings.", "patient": 1, "visit": ""},
    {"text": "No acute findings.", "patient": 2, "visit": ""},
    {"text": "No acute findings.", "patient": 2, "visit": ""},
    {"text": "A stone in the left kidney.", "patient": 2, "visit": "x"},
]


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_none_is_lost_and_none_is_there_twice(es_ingest, connection, index, tmp_path, kind):
    lines = {
        "jsonl": [json.dumps(row) for row in ROWS],
        "csv": ["text,patient,visit", *(",".join(map(str, row.values())) for row in ROWS)],
    }[kind]
    (tmp_path / f"notes.{kind}").write_text("\n".join(lines) + "\n")
    command = ["run", f"notes.{kind}", "--index", index, "--model", "minilm", "--json", "--quiet"]
    done = es_ingest(*command)
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["read"], summary["repeated"]) == (0, 4, 1), done.stderr
    with connection.client() as client:
        hits = client.search(index=index, size=10)["hits"]["hits"]
    found = sorted((int(hit["_source"]["patient"]), hit["_source"]["content"]) for hit in hits)
    assert found == sorted({(row["patient"], row["text"]) for row in ROWS})
    again = json.loads(es_ingest(*command).stdout)
    assert (again["unchanged"], again["written"]) == (4, 0)
