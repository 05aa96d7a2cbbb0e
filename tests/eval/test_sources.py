import gzip
import logging
from pathlib import Path

import pytest

from es_ingest.records import ReadError
from medte_eval.sources.beir import read_beir
from medte_eval.sources.medquad import read_medquad


def test_medquad_pairs_are_the_answered_questions(medquad: Path) -> None:
    found = read_medquad(medquad)

    assert len(found.pairs) == 31
    assert found.left_out == 0
    assert found.pairs[3].id == "TEST:0000001-5"
    assert found.pairs[3].question == "What causes gout?"
    assert found.pairs[3].answer == "Crystals of uric acid."


def test_the_sample_is_read_by_default() -> None:
    found = read_medquad()

    assert len(found.pairs) == 2839
    assert all(pair.question for pair in found.pairs)


def test_a_damaged_medquad_file_is_counted_and_told(medquad: Path, caplog: pytest.LogCaptureFixture) -> None:
    (medquad / "0000099.xml").write_text("<Document>")

    with caplog.at_level(logging.WARNING):
        assert read_medquad(medquad).left_out == 1
    assert "0000099.xml" in caplog.text


def test_beir_keeps_only_judged_queries(beir: Path) -> None:
    found = read_beir(beir)

    assert len(found.corpus) == 30
    assert list(found.queries) == [str(number) for number in range(10)]
    assert found.relevant["0"] == {"gout-0": 1, "gout-1": 2}


def test_a_judged_query_without_text_is_an_error(beir: Path) -> None:
    with (beir / "qrels" / "test.tsv").open("a") as qrels:
        qrels.write("\n77\tgout-0\t1\n")

    with pytest.raises(ReadError, match="judges query '77'"):
        read_beir(beir)


def test_beir_corpus_rows_without_text_are_counted(beir: Path) -> None:
    with (beir / "corpus.jsonl").open("a") as corpus:
        corpus.write('\n{"_id": "blank", "title": "", "text": ""}\n')

    found = read_beir(beir)

    assert (len(found.corpus), found.left_out) == (30, 1)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="is no folder"):
        read_beir(tmp_path / "nothing")


def test_a_corpus_that_breaks_off_is_an_error(beir: Path) -> None:
    """A score over what is left of it would be of another data set, and mostly a better one."""
    packed = gzip.compress((beir / "corpus.jsonl").read_bytes())
    (beir / "corpus.jsonl").unlink()
    (beir / "corpus.jsonl.gz").write_bytes(packed[: len(packed) // 2])

    with pytest.raises(ReadError, match="the rest of the file is lost"):
        read_beir(beir)
