import gzip
import json
from dataclasses import replace

import pytest

from es_ingest.records import ReadError
from medte_haystack.errors import TrainingOutputError
from medte_haystack.training.pairs import Pair, PairError, pair_of
from medte_train.pair_files import pair_paths, read_pairs, write_pairs

PAIRS = [
    Pair("1", "pubmed", "Acromegaly", "A disorder of growth hormone.", ("Gigantism.",), {"pmid": "1"}),
    Pair("2", "pubmed", "Gout überall", "Uric acid\u2028in joints.", anchor_keys={"pmid": "2"}, group="gout"),
]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.zst"])
def test_what_is_written_is_read(tmp_path, name):
    assert write_pairs(tmp_path / "new" / name, PAIRS) == 2
    assert list(read_pairs([tmp_path / "new"])) == PAIRS
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_the_same_pairs_are_the_same_bytes(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        write_pairs(tmp_path / name, PAIRS)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()


def test_what_is_of_patients_or_closed_files_is_closed(tmp_path):
    def mode_of(name, pairs, sources=()):
        write_pairs(tmp_path / name, pairs, sources)
        return (tmp_path / name).stat().st_mode & 0o777

    (tmp_path / "new").touch()
    usual = (tmp_path / "new").stat().st_mode & 0o777
    assert mode_of("a.jsonl", PAIRS) == usual != 0o600
    assert mode_of("b.jsonl", [*PAIRS, replace(PAIRS[0], anchor_keys={"subject_id": "1"})]) == 0o600
    assert mode_of("c.jsonl", PAIRS, [str(tmp_path / name) for name in ("a.jsonl", "b.jsonl")]) == 0o600


def test_a_file_stays_until_another_is_whole(tmp_path):
    path = tmp_path / "a.jsonl"
    write_pairs(path, PAIRS)

    def broken():
        yield PAIRS[0]
        raise OSError(28, "No space left on device")

    with pytest.raises(TrainingOutputError, match=r"a\.jsonl cannot be written: No space left on device; free space"):
        write_pairs(path, broken())
    assert list(read_pairs([path])) == PAIRS
    assert list(tmp_path.iterdir()) == [path]


def test_a_lone_surrogate_is_replaced(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "1", "source": "s", "anchor": "a\\ud800", "positive": "b"}\n')
    assert [pair.anchor for pair in read_pairs([path])] == ["a\ufffd"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"anchor": None}, "field 'anchor' is missing"),
        ({"positive": " \n"}, "field 'positive' is blank"),
        ({"id": 3}, "field 'id' is not a string"),
        ({"negatives": "text"}, "field 'negatives' is not a list"),
        ({"negatives": ["text", ""]}, "field 'negatives' is not a list of strings that are not blank"),
        ({"keys": {"pmid": 3}}, "field 'keys' is not an object of strings"),
        ({"anchor_keys": ["pmid"]}, "field 'anchor_keys' is not an object of strings"),
        ({"group": 3}, "field 'group' is not a string"),
    ],
)
def test_a_row_that_is_no_pair_is_named(tmp_path, change, message):
    row = PAIRS[0].to_row() | change
    with pytest.raises(PairError, match=message):
        pair_of(row)
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(f"{json.dumps(PAIRS[0].to_row())}\n{json.dumps(row)}\n".encode()))
    pairs = read_pairs([path])
    assert next(pairs) == PAIRS[0]
    with pytest.raises(ReadError, match=rf"a\.jsonl\.gz:2: {message}"):
        next(pairs)


def test_a_folder_without_pairs_is_refused(tmp_path):
    with pytest.raises(ReadError, match="holds no pairs"):
        pair_paths([tmp_path])
    with pytest.raises(ReadError, match="does not exist"):
        read_pairs([tmp_path / "missing.jsonl"])
