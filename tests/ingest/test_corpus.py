"""What a command reads, and what it tells before anything is written."""

import io
import sys

import numpy as np
import pytest

from es_ingest.corpus import Corpus
from es_ingest.readers import FieldMapping
from es_ingest.records import Malformed, ReadError, Record

ROWS = '{"id": "a", "text": "one"}\nbroken\n{"id": "b", "text": "two"}\n'
UNIT = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_text(ROWS)
    return path


@pytest.fixture
def npy(tmp_path):
    def write(vectors):
        np.save(tmp_path / "vectors.npy", vectors)
        return tmp_path / "vectors.npy"

    return write


def test_a_corpus_without_vectors(notes):
    corpus = Corpus.of([str(notes)])
    dim, items = corpus.begin()
    assert (corpus.format, corpus.brings_vectors, dim) == ("jsonl", False, None)
    assert [type(item) for item in items] == [Record, Malformed, Record]
    assert sum(1 for _ in corpus.rows()) == 3


def test_a_source_that_cannot_be_read_is_told_at_the_beginning(tmp_path):
    (tmp_path / "a.csv").write_text("")
    with pytest.raises(ReadError, match="is empty"):
        Corpus.of([str(tmp_path / "a.csv")]).begin()


def test_vectors_beside_are_paired_by_row(notes, npy):
    dim, items = Corpus.of([str(notes)], vectors=npy(UNIT)).begin()
    a, bad, b = items
    assert dim == 3
    assert isinstance(bad, Malformed)
    np.testing.assert_array_equal([a.vector, b.vector], UNIT[[0, 2]])


@pytest.mark.parametrize("count", [2, 4])
def test_other_numbers_are_told_before_the_first_record_where_rows_can_be_counted(notes, npy, count):
    corpus = Corpus.of([str(notes)], vectors=npy(np.ones((count, 2))))
    with pytest.raises(ReadError, match=rf"vectors.npy: holds {count} vectors where the sources have 3 rows"):
        corpus.begin()


def test_and_otherwise_when_they_come_out(npy, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(ROWS.encode())))
    dim, items = Corpus.of(["-"], "jsonl", vectors=npy(UNIT[:2])).begin()
    assert dim == 3
    with pytest.raises(ReadError, match="holds 2 vectors where the sources have at least 3 rows"):
        list(items)


def test_vectors_of_a_field(tmp_path):
    (tmp_path / "a.jsonl").write_text(
        'broken\n{"id": 1, "text": "x", "v": [0.6, 0.8]}\n{"id": 2, "text": "y", "v": [1]}\n'
    )
    dim, items = Corpus.of([str(tmp_path / "a.jsonl")], fields=FieldMapping(vector="v")).begin()
    bad, good, short = items
    assert (dim, good.vector.tolist()) == (2, pytest.approx([0.6, 0.8]))
    assert short == Malformed(f"{tmp_path / 'a.jsonl'}:3", "its vector has 1 dimensions where the first one has 2")
    assert "not JSON" in bad.reason


def test_sizes_are_compared_across_sources(tmp_path):
    for name, vector in (("a", "[1]"), ("b", "[0.6, 0.8]")):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"id": "{name}", "text": "x", "v": {vector}}}\n')
    a, b = Corpus.of([str(tmp_path / "*.jsonl")], fields=FieldMapping(vector="v")).read()
    assert a.id == "a"
    assert b.reason == "its vector has 2 dimensions where the first one has 1"


def test_vectors_of_another_length_are_told_with_the_remedy(notes, npy):
    vectors = npy(UNIT * 5)
    with pytest.raises(ReadError, match=r"notes.jsonl:1: the vector of record 'a' has length 5.*--normalise scales"):
        Corpus.of([str(notes)], vectors=vectors).begin()
    _, items = Corpus.of([str(notes)], vectors=vectors, normalise=True).begin()
    assert [item.vector.tolist() for item in items if isinstance(item, Record)] == [[1, 0, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"has no record that tells the dimensions of the vectors \(it is empty\)"),
        (
            ROWS * 100,
            r"notes.jsonl:1: has no field 'v', nor has any other of the \d+ rows that .*; it has 'id', 'text'",
        ),
    ],
)
def test_without_a_vector_there_are_no_dimensions(notes, content, said):
    notes.write_text(content)
    with pytest.raises(ReadError, match=said):
        Corpus.of([str(notes)], fields=FieldMapping(vector="v")).begin()


def test_a_file_of_vectors_tells_the_dimensions_without_a_record(notes, npy):
    notes.write_text("broken\n")
    dim, items = Corpus.of([str(notes)], vectors=npy(UNIT[:1])).begin()
    assert (dim, len(list(items))) == (3, 1)


def test_what_tells_it_apart(notes, npy):
    plain, paired = Corpus.of([str(notes)]), Corpus.of([str(notes)], vectors=npy(UNIT))
    assert plain.job == paired.job, "the hash of a record tells whether its vector has changed"
    assert (plain.mapping, paired.mapping) == ({}, {})
    assert Corpus.of([str(notes)], fields=FieldMapping(vector="v")).mapping["vector-field"] == "v"
