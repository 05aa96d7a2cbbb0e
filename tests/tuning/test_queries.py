"""Queries from files."""

import gzip

import pytest

from es_ingest.records import ReadError
from es_ingest.tuning.queries import read_queries


def test_a_query_a_line(tmp_path):
    path = tmp_path / "queries.txt"
    path.write_bytes(b"\xef\xbb\xbfwhat causes gout?\r\n\n  \n{braces} are text here\nwhat causes gout?")
    assert read_queries(str(path), 10) == ["what causes gout?", "{braces} are text here", "what causes gout?"]


def test_json_lines_with_text(tmp_path):
    path = tmp_path / "queries.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"_id": "1", "text": "gout"}\n\n{"text": "asthma"}\n'))
    assert read_queries(str(path), 10) == ["gout", "asthma"]


def test_a_share_of_many_is_the_same_each_time(tmp_path):
    path = tmp_path / "queries.txt"
    path.write_text("\n".join(map(str, range(100))))
    some = read_queries(str(path), 10)
    assert len(set(some)) == 10
    assert some != [str(number) for number in range(10)]
    assert some == read_queries(str(path), 10)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("queries.txt", b"", "holds no queries"),
        ("queries.txt", b"\n \n", "holds no queries"),
        ("queries.jsonl", b"", "holds no queries"),
        ("queries.txt", b"gout\n\xff\n", "queries.txt:2: not UTF-8"),
        ("queries.jsonl", b'{"text": "gout"}\nsecret\n', "queries.jsonl:2: not JSON"),
        ("queries.jsonl", b'{"query": "secret"}\n', "queries.jsonl:1: a query needs the field 'text'"),
        ("queries.jsonl", b'{"text": " "}\n', "a query needs the field 'text', not blank"),
        ("queries.txt.gz", b"gout\n", "is not gzip"),
    ],
)
def test_what_is_no_query_is_refused(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ReadError, match=said) as caught:
        read_queries(str(tmp_path / name), 10)
    assert "secret" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ReadError, match=r"none\.txt: does not exist"):
        read_queries(str(tmp_path / "none.txt"), 10)
