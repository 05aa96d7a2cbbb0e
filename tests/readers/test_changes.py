"""A source file that changes while it is read."""

import os

import pytest

from es_ingest.readers import read
from es_ingest.records import Malformed


@pytest.mark.parametrize("change", ["append", "cut", "replace", "remove"])
def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, change):
    path = tmp_path / "notes.jsonl"
    path.write_text("".join(f'{{"id": "{n}", "text": "Note {n}."}}\n' for n in range(20_000)))
    items = read([str(path)], "jsonl")
    first = next(items)
    if change == "append":
        with path.open("a") as file:
            file.write('{"id": "new", "text": "Late.')
    elif change == "cut":
        os.truncate(path, path.stat().st_size // 2)
    else:
        path.rename(tmp_path / "old.jsonl")
        if change == "replace":
            path.write_text('{"id": "0", "text": "Note 0."}\n')
    rest = list(items)
    assert first.id == "0"
    assert isinstance(rest[-1], Malformed)
    assert "changed while it was read" in rest[-1].reason
    assert rest[-1].position == str(path)
