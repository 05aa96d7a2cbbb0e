import gzip
import re
from pathlib import Path

import pytest

from es_ingest.readers import detect, read, read_qrels, read_queries
from es_ingest.readers.streams import zstd
from es_ingest.records import Malformed, ReadError, Record

QRELS = "query-id\tcorpus-id\tscore\n"


def write(folder: Path, name: str, content: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    pack = {".gz": gzip.compress, ".zst": zstd.compress}.get(path.suffix, bytes)
    path.write_bytes(pack(content.encode()))


@pytest.mark.parametrize("name", ["corpus.jsonl", "corpus.jsonl.gz", "corpus.jsonl.zst"])
def test_a_folder_and_its_corpus_file_read_alike(tmp_path: Path, name: str) -> None:
    rows = (
        '{"_id": "a", "title": "T", "text": "x", "url": "u", "metadata": {"url": "v", "year": 1, "none": null}}\n'
        '{"_id": 2, "title": "", "text": "y", "metadata": {}}\n'
        '{"id": "c", "text": "z"}\n'
        '{"_id": "d", "text": "z", "metadata": "m"}\n'
    )
    write(tmp_path, name, rows)
    corpus = tmp_path / name
    assert detect([str(tmp_path)]) == "beir"
    items = list(read([str(tmp_path)], "beir"))
    assert items == list(read([str(corpus)], "beir"))
    assert items == [
        Record("a", "T", "x", {"url": "u", "year": 1}, f"{corpus}:1"),
        Record("2", "", "y", {}, f"{corpus}:2"),
        Malformed(f"{corpus}:3", "has no field '_id'; it has 'id', 'text'"),
        Record("d", "", "z", {"metadata": "m"}, f"{corpus}:4"),
    ]


def test_a_folder_without_a_corpus(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"holds no corpus\.jsonl or corpus\.jsonl\.gz or corpus\.jsonl\.zst;"):
        list(read([str(tmp_path)], "beir"))


@pytest.mark.parametrize("first", ["corpus.jsonl", "queries.jsonl.gz", "qrels/test.tsv"])
def test_a_file_that_is_there_twice_is_not_chosen_from(tmp_path: Path, first: str) -> None:
    plain = first.removesuffix(".gz")
    both = (plain, f"{plain}.gz") if first == plain else (f"{plain}.gz", f"{plain}.zst")
    for name in both:
        write(tmp_path, name, "")
    reads = {
        "corpus.jsonl": lambda: list(read([str(tmp_path)], "beir")),
        "queries.jsonl": lambda: read_queries(tmp_path),
        "qrels/test.tsv": lambda: read_qrels(tmp_path, "test"),
    }
    told = " and ".join(Path(name).name for name in both)

    with pytest.raises(ReadError, match=f"holds both {re.escape(told)}; keep the one that counts"):
        reads[plain]()


@pytest.mark.parametrize("end", ["", ".gz", ".zst"])
def test_queries_and_judgements(tmp_path: Path, end: str) -> None:
    write(tmp_path, f"queries.jsonl{end}", '{"_id": "q1", "text": "one"}\n\n{"_id": 2, "text": "two"}\n')
    write(tmp_path, f"qrels/test.tsv{end}", QRELS + "q1\td1\t1\r\nq1\td2\t0\n2\td1\t2\n\n")
    assert read_queries(tmp_path) == {"q1": "one", "2": "two"}
    assert read_qrels(str(tmp_path)) == {"q1": {"d1": 1, "d2": 0}, "2": {"d1": 2}}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("Confidential", "queries.jsonl:2: not JSON"),
        ('{"_id": "q2"}', "queries.jsonl:2: a query needs the fields '_id' and 'text'"),
        ('{"_id": "", "text": "x"}', "queries.jsonl:2: a query needs"),
        ('{"_id": "q1", "text": "x"}', "queries.jsonl:2: query id 'q1' comes twice"),
    ],
)
def test_a_bad_query_stops_an_evaluation(tmp_path: Path, line: str, message: str) -> None:
    write(tmp_path, "queries.jsonl", '{"_id": "q1", "text": "one"}\n' + line + "\n")
    with pytest.raises(ReadError, match=message):
        read_queries(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("q1\td1\t1\n", r"test.tsv:1: the header must be query-id corpus-id score, separated by tabs"),
        (QRELS + "q1 d1 1\n", "test.tsv:2: not a query id, a document id and a whole number"),
        (QRELS + "q1\td1\thigh\n", "test.tsv:2: not a query id"),
        (QRELS + "q1\t0\td1\t1\n", "test.tsv:2: not a query id"),
        (QRELS + "q1\td1\t1\nq1\td1\t0\n", "test.tsv:3: judges document 'd1' for query 'q1' 0, an earlier line 1"),
    ],
)
def test_bad_judgements_stop_an_evaluation(tmp_path: Path, content: str, message: str) -> None:
    write(tmp_path, "qrels/test.tsv", content)
    with pytest.raises(ReadError, match=message):
        read_qrels(tmp_path)


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"has no qrels/test.tsv, plain or packed; in qrels/ there is no split"):
        read_qrels(tmp_path)
    write(tmp_path, "qrels/train.tsv.gz", QRELS)
    write(tmp_path, "qrels/dev.tsv", QRELS)
    with pytest.raises(ReadError, match="in qrels/ there is dev, train"):
        read_qrels(tmp_path)
    with pytest.raises(ReadError, match=r"holds no queries\.jsonl or"):
        read_queries(tmp_path)


@pytest.mark.parametrize("text", [', "text": " "', ', "text": null', ""])
def test_a_title_without_text_is_the_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "corpus.jsonl").write_text(f'{{"_id": "1", "title": "Scurvy"{text}}}\n{{"_id": "2", "text": ""}}\n')
    record, bad = read([str(tmp_path)], "beir")
    assert (record.title, record.text) == ("", "Scurvy")
    assert bad.reason == "empty text"
