"""A source that breaks off does not become what an alias stands for."""

import gzip
import json
import os
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from es_ingest.indices.verify import verify
from es_ingest.ingest import Ingester, RunOptions
from es_ingest.readers import read
from es_ingest.readers.mapping import FieldMapping
from es_ingest.records import Record
from tests.indices.conftest import DIM, MADE_BY, NOT_LOOKED_AT


def test_an_alias_stays_where_it_is(es_ingest, alias, client, tmp_path):
    rows = [{"id": str(n), "text": f"Note {n} speaks of {n * n} things."} for n in range(3000)]
    packed = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    (tmp_path / "notes.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    arguments = ["run", "notes.jsonl.gz", "--alias", alias, "--model", "minilm", "--json", "--quiet"]
    broken = es_ingest(*arguments)
    summary = json.loads(broken.stdout)
    assert (broken.returncode, summary["gaps"]) == (6, 1), broken.stderr
    assert "a source broke off" in broken.stderr
    assert not client.indices.exists_alias(name=alias)
    (tmp_path / "notes.jsonl.gz").write_bytes(packed)
    mended = es_ingest(*arguments)
    again = json.loads(mended.stdout)
    assert (mended.returncode, again["unchanged"]) == (0, summary["records"]), mended.stderr
    assert client.count(index=alias)["count"] == 3000


@pytest.mark.parametrize("change", ["append", "cut", "replace", "remove"])
def test_a_source_that_changes_while_it_is_read_is_told_and_the_next_run_completes_it(
    fill, index, client, stored, tmp_path, change
):
    path, new = tmp_path / "notes.jsonl", tmp_path / "new.jsonl"
    vector = [1.0] + [0.0] * (DIM - 1)
    rows = [json.dumps({"id": f"n{n}", "text": f"Note {n}.", "vector": vector}) + "\n" for n in range(4000)]
    path.write_text("".join(rows))
    new.write_text("".join(rows[:3000]))

    def items(change=None):
        found = read([str(path)], "jsonl", FieldMapping(vector="vector"))
        yield next(found)
        if change == "append":
            with path.open("a") as file:
                file.write(rows[0])
        elif change == "cut":
            os.truncate(path, path.stat().st_size // 2)
        elif change:
            path.rename(tmp_path / "old.jsonl")
            if change == "replace":
                new.rename(path)
        yield from found

    first = fill(index, items(change))
    assert first.read == first.unchanged + first.records + first.failed
    assert (first.gaps, first.failed, first.dead_letters) == (1, 1, None)
    assert len(stored(index)) == first.records - first.repeated
    path.write_text("".join(rows))
    second = fill(index, items())
    assert (second.read, second.unchanged + second.records, second.failed) == (4000, 4000, 0)
    assert Counter(body["parent_id"] for body in stored(index).values()).keys() >= {f"n{n}" for n in range(4000)}
    assert client.count(index=index)["count"] == 4000
    assert verify(client, index, expected=NOT_LOOKED_AT).holds


def test_nothing_is_missing_of_a_folder_whose_file_is_cut_while_it_is_read(client, index, tmp_path):
    corpus, vector = tmp_path / "corpus.jsonl", np.eye(1, DIM, dtype=np.float32)[0]
    rows = [json.dumps({"_id": f"n{n}", "title": "", "text": f"Note {n}."}) + "\n" for n in range(20_000)]
    corpus.write_text("".join(rows))

    def items(length):
        for item in read([str(tmp_path)], "beir"):
            yield replace(item, vector=vector) if isinstance(item, Record) else item
            if length is not None:
                os.truncate(corpus, length)

    def write(length=None):
        options = RunOptions(ledger=True, delete_missing=True)
        return Ingester(client, index, None, vectors_by=MADE_BY, replicas=0).run(items(length), options=options)

    assert write().records == 20_000
    cut = write(sum(map(len, rows[:15_000])))
    assert cut.unchanged < 20_000
    assert (cut.gaps, cut.missing, cut.removed) == (1, 0, 0)
    assert client.count(index=index)["count"] == 20_000
    assert write().missing == 20_000 - 15_000
