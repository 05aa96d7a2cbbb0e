"""A source file that changes while it is read."""

import os

import pytest

from es_ingest.readers import formats, read
from es_ingest.records import Malformed

CHANGES = pytest.mark.parametrize("change", ["append", "cut", "replace", "remove"])


def alter(path, change, elsewhere):
    """Do to a file what somebody might while it is read.

    :param elsewhere: Where the former file goes if it is replaced or removed.
    """
    if change == "append":
        with path.open("a") as file:
            file.write('{"id": "new", "text": "Late.')
    elif change == "cut":
        content = path.read_bytes()
        os.truncate(path, content.rfind(b"\n", 0, len(content) // 2) + 1)  # where a row ends: no row is broken
    else:
        path.rename(elsewhere)
        if change == "replace":
            path.write_text('{"id": "0", "text": "Note 0."}\n')


def told(items):
    """Return which files are said to have changed; each of these rows may stand for several."""
    malformed = [item for item in items if isinstance(item, Malformed)]
    changed = [item.position for item in malformed if "changed while it was read" in item.reason]
    assert len(changed) == sum(item.gap for item in malformed)
    return changed


@CHANGES
def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, change):
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(f'{{"id": "{n}", "text": "Note {n}."}}\n' for n in range(20_000)))
    items = read([str(path)], "jsonl")
    first = next(items)
    alter(path, change, tmp_path / "old.jsonl")
    rest = list(items)
    assert first.id == "0"
    assert told(rest[-1:]) == told(rest) == [str(path)]


STUDY = (
    '{"protocolSection": {"identificationModule": {"nctId": "NCT%08d", "briefTitle": "Gout"}, "descriptionModule":'
    ' {"briefSummary": "Of gout."}}}\n'
)
RESOURCE = (
    '{"resourceType": "DiagnosticReport", "id": "%d", "status": "final", "code": {"text": "Chest"}, "conclusion":'
    ' "Clear."}\n'
)
PAIR = '<QAPair pid="%d"><Question qid="q" qtype="information">What?</Question><Answer>Rest.</Answer></QAPair>\n'
DOCUMENT = '<Document id="%d" source="NIDDK" url="">\n<Focus>Gout</Focus>\n<QAPairs>\n%s</QAPairs>\n</Document>\n'
FOLDERS = {
    "beir": {"corpus.jsonl": "".join(f'{{"_id": "{n}", "title": "", "text": "Note {n}."}}\n' for n in range(20_000))},
    "clinicaltrials": {f"NCT0000000{n}.json": STUDY % n for n in (1, 2)},
    "fhir": {f"{n}.ndjson": "".join(RESOURCE % (1000 * n + row) for row in range(1000)) for n in (1, 2)},
    "medquad": {f"{n}.xml": DOCUMENT % (n, "".join(PAIR % pair for pair in range(5))) for n in (1, 2)},
    "text": {f"{n}.txt": f"Note {n}.\nOf gout.\n" for n in (1, 2)},
}


@CHANGES
@pytest.mark.parametrize("format", FOLDERS)
def test_a_file_of_a_folder_that_changes_while_it_is_read_is_told(tmp_path, format, change):  # noqa: A002
    folder = tmp_path / "corpus"
    folder.mkdir()
    for name, content in FOLDERS[format].items():
        (folder / name).write_text(content)
    whole = [item.id for item in read([str(folder)], format)]
    items = read([str(folder)], format)
    first, path = next(items), folder / next(iter(FOLDERS[format]))
    alter(path, change, tmp_path / "old")
    rest = list(items)
    assert told(rest) == [str(path)]
    if format != "beir":  # the other file is read all the same
        assert rest[-1].id == whole[-1] != first.id


@pytest.mark.parametrize("format", sorted(FOLDERS.keys() - {"beir"}))
def test_a_file_of_a_folder_that_is_gone_before_its_turn_is_told(tmp_path, format):  # noqa: A002
    for name, content in FOLDERS[format].items():
        (tmp_path / name).write_text(content)
    items = read([str(tmp_path)], format)
    next(items)
    path = tmp_path / list(FOLDERS[format])[-1]
    path.unlink()
    gone = list(items)[-1]
    assert (gone.position, gone.reason) == (str(path), "cannot be opened: No such file or directory")
    assert gone.gap == (format != "text")  # where a file is one record, no more than that is missing


@pytest.mark.parametrize("format", sorted(FOLDERS.keys() - {"beir"}))
def test_a_folder_within_one_that_cannot_be_listed_is_told(tmp_path, monkeypatch, format):  # noqa: A002
    for folder in ("", "closed"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name, content in FOLDERS[format].items():
            (tmp_path / folder / name).write_text(content)
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    *_, last = read([str(tmp_path)], format)
    assert (last.position, last.reason) == (f"{tmp_path}/closed", "cannot be listed: Permission denied")
    assert last.gap


def test_every_format_that_takes_folders_was_tried():
    assert {reader.name for reader in formats() if "a folder" in reader.source} == FOLDERS.keys()
