"""Dead letters written once more, by the command and on the real server."""

import json

import pytest

pytestmark = pytest.mark.usefixtures("connection")

ROWS = [
    {"id": "a", "body": "Aspirin thins the blood.", "kind": "drug"},
    {"id": "b", "body": "Insulin lowers the sugar in the blood.", "kind": {"not": "a word"}},
    {"id": "c", "body": ""},
    {"id": "d", "body": "Warfarin thins the blood as well.", "kind": "drug"},
]


@pytest.fixture
def letters(es_ingest, index, tmp_path):
    """Dead letters of a run of which one record was refused and one row was no record."""
    (tmp_path / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    dead = tmp_path / "dead.jsonl"
    arguments = ["run", "notes.jsonl", "--text-field", "body", "--model", "minilm", "--dead", str(dead), "--json"]
    done = es_ingest(*arguments, "--index", index)
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["malformed"], summary["refused"]) == (3, 1, 1), done.stderr
    return dead


def found(connection, index):
    with connection.client() as client:
        hits = client.search(index=index, body={"size": 10})["hits"]["hits"]
    return {hit["_source"]["parent_id"]: hit["_source"]["content"] for hit in hits}


def test_mended_letters_are_written(es_ingest, index, connection, letters, tmp_path):
    kept = [json.loads(line) for line in letters.read_text().splitlines()]
    for letter in kept:
        if "record" in letter:
            letter["record"]["meta"]["kind"] = "drug"
        else:
            letter["raw"] = letter["raw"].replace('"body": ""', '"body": "Heparin thins it at once."')
    mended = tmp_path / "mended.jsonl"
    mended.write_text("".join(json.dumps(letter) + "\n" for letter in kept))
    done = es_ingest("replay", str(mended), "--index", index, "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["records"], summary["failed"]) == (0, 2, 0), done.stderr
    assert found(connection, index) == {
        "a": "Aspirin thins the blood.",
        "b": "Insulin lowers the sugar in the blood.",
        "c": "Heparin thins it at once.",
        "d": "Warfarin thins the blood as well.",
    }
    (tmp_path / "notes.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    again = es_ingest(
        *["run", "notes.jsonl", "--text-field", "body", "--model", "minilm", "--delete-missing", "--json"],
        "--index",
        index,
    )
    assert json.loads(again.stdout)["missing"] == 3  # what was replayed is the job's own
    assert found(connection, index).keys() == {"a"}


def test_letters_that_are_not_mended_stay_dead(es_ingest, index, letters, tmp_path):
    done = es_ingest("replay", str(letters), "--index", index, "--dead", str(tmp_path / "still.jsonl"), "--json")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["malformed"], summary["refused"]) == (3, 1, 1), done.stderr
    before, after = (
        [json.loads(line) for line in file.read_text().splitlines()] for file in (letters, tmp_path / "still.jsonl")
    )
    assert all(one.pop("run") for one in [*before, *after])
    assert sorted(map(str, before)) == sorted(map(str, after))


def test_dead_letters_are_counted_over_all_jobs(es_ingest, index, letters, tmp_path):
    several = tmp_path / "several.jsonl"
    kept = [json.loads(line) for line in letters.read_text().splitlines()]
    several.write_text("".join(json.dumps({**one, "job": f"jsonl {n}"}) + "\n" for n in range(3) for one in kept))
    enough = es_ingest("replay", str(several), "--index", index, "--max-dead", "6", "--json")
    assert (enough.returncode, json.loads(enough.stdout)["failed"]) == (3, 6), enough.stderr
    done = es_ingest("replay", str(several), "--index", index, "--max-dead", "4", "--dead", str(tmp_path / "still"))
    assert (done.returncode, "more than 4 dead letters (--max-dead)" in done.stderr) == (8, True), done.stderr
    assert len((tmp_path / "still").read_text().splitlines()) == 5
    assert "failed        5 (3 malformed, 2 refused), kept in" in done.stderr, "of all jobs"


def test_a_letter_that_a_later_run_has_overtaken_is_left_out(es_ingest, index, connection, letters, tmp_path):
    kept = [json.loads(line) for line in letters.read_text().splitlines()]
    for letter in kept:
        if "record" in letter:
            letter["record"]["meta"]["kind"] = "drug"
    letters.write_text("".join(json.dumps(letter) + "\n" for letter in kept))
    newer = {**ROWS[1], "body": "Insulin is measured in units.", "kind": "drug"}
    (tmp_path / "notes.jsonl").write_text(json.dumps(newer) + "\n")
    arguments = ["run", "notes.jsonl", "--text-field", "body", "--model", "minilm", "--json"]
    assert es_ingest(*arguments, "--index", index).returncode == 0
    done = es_ingest("replay", str(letters), "--index", index, "--json")
    summary = json.loads(done.stdout)
    assert (summary["read"], summary["malformed"], summary["records"]) == (1, 1, 0), done.stderr
    assert "1 records were left out: a later run or replay has written or removed them" in done.stderr
    assert found(connection, index)["b"] == newer["body"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["no.jsonl"], 7, "no.jsonl"),
        (["notes.jsonl"], 7, "is no dead letter"),
        (["dead.jsonl", "--dead", "dead.jsonl"], 7, "name another file with --dead"),
        (["dead.jsonl", "--index", "not-there"], 6, "not-there"),
    ],
)
def test_bad_input(es_ingest, index, letters, arguments, status, said):
    done = es_ingest("replay", "--index", index, *arguments)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


NOTE = (
    "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n"
    '1-DS-3,1,{},DS,3,2180-05-06 00:00:00,,"Made up.\nChief Complaint:\nwheeze\nDischarge Diagnosis:\nAsthma\n"\n'
)
DOCUMENT = (
    '{{"resourceType": "DocumentReference", "id": "d1", "type": {{"text": "Note"}},'
    ' "content": [{{"attachment": {{"contentType": "text/{}", "data": "QXN0aG1hIG5vdGU="}}}}]}}\n'
)
STUDY = (
    '{{"protocolSection": {{"identificationModule": {{"nctId": "{}", "briefTitle": "T"}}, "descriptionModule":'
    ' {{"briefSummary": "It compares two drugs."}}}}}}'
)


@pytest.mark.parametrize(
    ("name", "content", "bad", "good", "options"),
    [
        ("discharge.csv", NOTE, "abc", "20000001", []),
        ("discharge.csv", NOTE, "abc", "20000001", ["--format", "mimic-notes"]),
        ("DocumentReference.ndjson", DOCUMENT, "pdf", "plain", []),
        ("NCT01234567.json", STUDY, "NCT01", "NCT01234567", []),
        ("corpus.jsonl", '{{"_id": "{}", "text": "x", "metadata": {{"url": "u"}}}}\n', "", "d", ["--format", "beir"]),
        ("a.csv", "note,body,year\n7,{},\n", " ", "cough", ["--text-field", "body", "--id-field", "note"]),
    ],
    ids=["mimic", "mimic-notes", "fhir", "clinicaltrials", "beir", "csv"],
)
def test_a_mended_row_is_what_the_mended_source_has(
    es_ingest, index, connection, tmp_path, name, content, bad, good, options
):
    source, dead = tmp_path / name, tmp_path / "dead.jsonl"
    run = ["run", name, "--index", index, "--model", "minilm", "--dead", str(dead), "--json", *options]
    source.write_text(content.format(bad), newline="")
    assert json.loads(es_ingest(*run).stdout)["malformed"] == 1
    still = es_ingest("replay", str(dead), "--index", index, "--dead", str(tmp_path / "still"), "--json")
    assert (json.loads(still.stdout)["malformed"], found(connection, index)) == (1, {}), "not mended"
    letter = json.loads(dead.read_text())
    marked = bad if bad.strip() else f'"{bad}"'
    letter["raw"] = letter["raw"].replace(marked, good if bad.strip() else f'"{good}"', 1)
    dead.write_text(json.dumps(letter) + "\n")
    replayed = json.loads(es_ingest("replay", str(dead), "--index", index, "--json").stdout)
    assert (replayed["failed"], replayed["records"] > 0) == (0, True)
    source.write_text(content.format(good), newline="")
    after = json.loads(es_ingest(*run).stdout)
    assert (after["unchanged"], after["records"], after["failed"]) == (replayed["records"], 0, 0)


def test_a_mended_row_that_a_later_run_has_overtaken_is_left_out(es_ingest, index, connection, letters, tmp_path):
    letters.write_text(letters.read_text().replace(r"\"body\": \"\"", r"\"body\": \"mended in the letter\""))
    newer = {**ROWS[2], "body": "mended in the source"}
    (tmp_path / "notes.jsonl").write_text(json.dumps(newer) + "\n")
    arguments = ["run", "notes.jsonl", "--text-field", "body", "--model", "minilm", "--json"]
    assert es_ingest(*arguments, "--index", index).returncode == 0
    done = es_ingest("replay", str(letters), "--index", index, "--json")
    assert (json.loads(done.stdout)["malformed"], found(connection, index)["c"]) == (0, "mended in the source")
    assert "1 records were left out: a later run or replay has written or removed them" in done.stderr
