import json
import math
from pathlib import Path

import pytest

from medte_eval.failures import failure_file, note_failure
from medte_eval.report.reading import read_folders
from medte_eval.results import ResultError

from .made import BM25, DENSE, ENCODER, MINILM, make_result


def test_several_folders_are_one(tmp_path: Path) -> None:
    make_result(tmp_path / "a", "T")
    make_result(tmp_path / "b", "T", system=BM25)

    found = read_folders([tmp_path / "a", tmp_path / "b", tmp_path / "a"])

    assert {one.run.system["name"] for one in found.results} == {"encoder", "bm25"}
    assert not found.left_out


def test_of_the_same_evaluation_the_newest_counts(tmp_path: Path) -> None:
    older = make_result(tmp_path / "a", "T", 0.1)
    newer = make_result(tmp_path / "b", "T", 0.2)

    found = read_folders([tmp_path / "b", tmp_path / "a"])

    assert [one.path for one in found.results] == [newer]
    assert [(one.file, one.damaged) for one in found.left_out] == [(older.name, False)]
    assert "newer" in found.left_out[0].reason


def test_results_of_other_data_are_not_mixed(tmp_path: Path) -> None:
    make_result(tmp_path, "T", system=ENCODER)
    make_result(tmp_path, "T", system=DENSE)
    other = make_result(tmp_path, "T", system=BM25, data="b" * 64)
    sampled = make_result(tmp_path, "T", system=BM25, task={"sampled_queries": 10})
    short = make_result(tmp_path, "T", system=BM25, task={"top_k": 10})

    found = read_folders([tmp_path])

    assert {one.run.system["name"] for one in found.results} == {"encoder", "dense"}
    reasons = {one.file: one.reason for one in found.left_out}
    assert reasons.keys() == {other.name, sampled.name, short.name}
    assert "data bbbbbbbbbbbb, not aaaaaaaaaaaa" in reasons[other.name]
    assert "queries drawn 10, not None" in reasons[sampled.name]
    assert "documents asked for 10, not 100" in reasons[short.name]


def test_what_cannot_be_read_is_told_and_the_rest_is_read(tmp_path: Path) -> None:
    make_result(tmp_path, "Good")
    half = make_result(tmp_path, "Half")
    half.write_text(half.read_text()[:100])
    gone = make_result(tmp_path, "Gone", queries=[1.0])
    (tmp_path / json.loads(gone.read_text())["files"]["items"]).unlink()
    older = make_result(tmp_path, "Older", versions={"medte": "0.0.1"}, scores=["changed since"])
    odd = make_result(tmp_path, "Odd")
    odd.write_text("[1, 2]")
    nameless = make_result(tmp_path, "Nameless", system=ENCODER)
    nameless.write_text(nameless.read_text().replace('"name": "encoder"', '"called": "encoder"'))
    linked = make_result(tmp_path, "Linked", system={**DENSE, "index_options": {"type": "int8_hnsw", "m": "16"}})
    (tmp_path / "x.failed.json").write_text('{"task": "T"')
    (tmp_path / "y.failed.json").write_text('{"task": "T", "system": null, "exit_status": 7, "message": ["x"]}')

    found = read_folders([tmp_path])

    assert [one.task.name for one in found.results] == ["Good"]
    assert all(one.damaged for one in found.left_out)
    reasons = {one.file: one.reason for one in found.left_out}
    assert reasons.keys() == {
        half.name,
        gone.name,
        older.name,
        odd.name,
        nameless.name,
        linked.name,
        "x.failed.json",
        "y.failed.json",
    }
    assert not any(str(tmp_path) in one.reason for one in found.left_out), "a page may be passed on"
    assert "is no result" in reasons[half.name]
    assert "items.jsonl, which is not there" in reasons[gone.name]
    assert "(scores: " in reasons[older.name]
    assert "made by medte 0.0.1" in reasons[older.name]


@pytest.mark.parametrize("number", [math.nan, math.inf, None])
def test_a_score_that_is_no_number_is_none(tmp_path: Path, number: float | None) -> None:
    make_result(tmp_path, "T", scores={"ndcg_at_10": number})  # written as NaN, which is no JSON

    (found,) = read_folders([tmp_path]).results

    assert found.score is None


def test_nothing_to_report_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match=r"has no result; `medte-eval run --out .*` writes them$"):
        read_folders([tmp_path])
    make_result(tmp_path / "deeper", "T")
    with pytest.raises(ResultError, match=r"name the folder with results itself, such as .*deeper"):
        read_folders([tmp_path])
    make_result(tmp_path, "T").write_text("{")
    with pytest.raises(ResultError, match=r"no result can be read; .*run\.json"):
        read_folders([tmp_path])


def test_failures_are_read(tmp_path: Path) -> None:
    told = {"task": "T", "system": None, "exit_status": 7, "message": "its source is away"}
    note_failure(failure_file(tmp_path, "T"), told)

    found = read_folders([tmp_path])

    assert [(one.task, one.system, one.message) for one in found.failures] == [("T", None, "its source is away")]


def test_setups_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    from medte_eval.report.setups import find_setups

    for system in (ENCODER, BM25, DENSE, {**DENSE, "oversample": 3.0}, {**DENSE, "chunk_tokens": 128}):
        make_result(tmp_path, "T", system=system)
    make_result(tmp_path, "T", system=ENCODER, model={**MINILM, "precision": "bf16"})
    make_result(tmp_path, "U", system=ENCODER)

    found = find_setups(read_folders([tmp_path]).results)

    assert [(one.mark, one.system, one.model) for one in found.values()] == [
        ("A", "encoder, precision bf16", "all-MiniLM-L6-v2"),
        ("B", "encoder, precision fp32", "all-MiniLM-L6-v2"),
        ("C", "dense (int8_hnsw)", "all-MiniLM-L6-v2"),
        ("D", "dense (int8_hnsw), oversample 3.0", "all-MiniLM-L6-v2"),
        ("E", "dense (int8_hnsw, chunks of 128)", "all-MiniLM-L6-v2"),
        ("F", "bm25", None),
    ]
