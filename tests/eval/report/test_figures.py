import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from medte_eval.comparison import compare_results
from medte_eval.report import charts, writing
from medte_eval.report.build import make_report
from medte_eval.report.model import Report
from medte_eval.report.rendering import render_html, render_markdown

from .made import BM25, DENSE, ENCODER, MINILM, make_result, timed

GENERATOR = np.random.default_rng(0)
BASE = [float(one) for one in GENERATOR.uniform(0.2, 0.8, 60)]
MORE = [min(1.0, one + 0.1) for one in BASE]
NOISE = [float(one) for one in np.clip(np.array(BASE) + GENERATOR.normal(0, 0.05, 60), 0, 1)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tasks with queries on three systems, and one of pairs."""
    for task in ("One", "Two"):
        make_result(tmp_path, task, queries=BASE, latency=timed(2, "encoding alone"))
        make_result(tmp_path, task, queries=MORE, system=DENSE, latency=timed(20), index_bytes=5_000_000)
        make_result(tmp_path, task, queries=NOISE, system=BM25, latency=timed(10, "search"), index_bytes=2_000_000)
    make_result(tmp_path, "Pairs", queries=BASE, kind="PairClassification")
    told_apart = [one + (number % 2) for number, one in enumerate(BASE)]
    make_result(tmp_path, "Pairs", 0.9, queries=told_apart, kind="PairClassification", system=DENSE)
    return tmp_path


def test_systems_are_tested_against_their_model_alone(folder: Path) -> None:
    report = make_report([folder])

    found = {(one.mark, one.compared.task): one for one in report.differences}
    assert [one.system for one in report.setups] == ["encoder", "dense (int8_hnsw)", "bm25"]
    assert found.keys() == {("B", "One"), ("B", "Two"), ("B", "Pairs"), ("C", "One"), ("C", "Two")}
    paths = {one.file: folder / one.file for one in (*report.task("One").scores,)}
    encoder, dense, _ = paths.values()
    assert found["B", "One"].compared == compare_results(encoder, dense)
    assert {key: one.verdict for key, one in found.items()} == {
        ("B", "One"): "better",
        ("B", "Two"): "better",
        ("B", "Pairs"): "better",
        ("C", "One"): "even",
        ("C", "Two"): "even",
    }


def test_many_differences_are_judged_together(folder: Path) -> None:
    found = make_report([folder]).differences

    for one in found:
        assert one.p_adjusted is not None
        assert one.compared.p is not None
        assert one.compared.p <= one.p_adjusted <= min(1, len(found) * one.compared.p)


def test_only_systems_with_the_very_model_are_compared(tmp_path: Path) -> None:
    make_result(tmp_path, "One", queries=BASE)
    make_result(tmp_path, "One", queries=MORE, system=DENSE, model={**MINILM, "precision": "bf16"})
    make_result(tmp_path, "One", queries=NOISE, model={**MINILM, "name": "other"})
    make_result(tmp_path, "One", queries=NOISE, system=BM25)
    make_result(tmp_path, "Sorted", kind="Classification")
    make_result(tmp_path, "Sorted", kind="Classification", system=DENSE)

    report = make_report([tmp_path])

    marks = {one.mark: one.system for one in report.setups}
    assert {(marks[one.mark], marks[one.baseline], one.compared.task) for one in report.differences} == {
        ("bm25", "encoder", "One"),
    }
    assert len(report.differences) == 2, "bm25 beside both models"


def test_pairs_with_prefixes_are_not_compared_with_pairs_without(tmp_path: Path) -> None:
    model = {**MINILM, "query_prefix": "query: ", "passage_prefix": "passage: "}
    for system in (ENCODER, DENSE):
        make_result(tmp_path, "Pairs", queries=BASE, kind="PairClassification", system=system, model=model)
        make_result(tmp_path, "One", queries=BASE, system=system, model=model)

    report = make_report([tmp_path])

    assert [one.compared.task for one in report.differences] == ["One"]
    assert report.notes == ["Pairs: B and A are not compared: only B has prefixes; --no-prefixes runs both without"]


def test_items_that_cannot_be_compared_are_noted(tmp_path: Path) -> None:
    make_result(tmp_path, "One", queries=BASE)
    make_result(tmp_path, "One", queries=MORE, system=DENSE, prefix="other")

    report = make_report([tmp_path])

    assert not report.differences
    (note,) = report.notes
    assert note.startswith("One: B and A are not compared: ")
    assert str(tmp_path) not in note


@pytest.mark.parametrize(
    ("change", "verdicts"),
    [
        (("0.75", "NaN"), ["untested"]),
        (('"ndcg_at_10": 0.75, ', ""), ["untested"]),  # as what could not be computed is left out
        (("{", "["), []),
    ],
)
def test_items_that_are_damaged_are_noted(tmp_path: Path, change: tuple[str, str], verdicts: list[str]) -> None:
    make_result(tmp_path, "One", queries=[0.75, 0.5])
    path = make_result(tmp_path, "One", queries=[0.75, 0.25], system=DENSE)
    items = path.with_name(path.name.replace(".run.json", ".items.jsonl"))
    items.write_text(items.read_text().replace(*change))

    report = make_report([tmp_path])

    assert [one.verdict for one in report.differences] == verdicts
    assert [one.mark for one in report.worst] == ["A"]
    assert {note.partition(":")[0] for note in report.notes} == {path.name, *([] if verdicts else ["One"])}
    json.dumps(asdict(report), allow_nan=False)


def test_a_score_below_nothing_has_no_bar(tmp_path: Path) -> None:
    make_result(tmp_path, "Alike", -0.25, kind="STS")

    (chart,) = charts.bars_by_type(make_report([tmp_path]).leaderboards[0])

    assert [(bar.value, bar.share) for bar in chart.bars] == [(-0.25, 0)]


def test_what_was_not_measured_is_not_zero(folder: Path) -> None:
    encoder, dense, bm25 = make_report([folder]).task("One").scores

    assert encoder.vector_bytes == 100 * 384 * 4
    assert dense.vector_bytes == 100 * (384 + 4) + 100 * 16 * 4
    assert bm25.vector_bytes == 0
    assert encoder.index_bytes is None
    assert (dense.p50_ms, dense.p99_ms, dense.queries_per_second, dense.index_bytes) == (20, 40, 50, 5_000_000)


@pytest.mark.parametrize("latency", [0.0, -1.0])
def test_a_latency_that_cannot_be_has_no_place(tmp_path: Path, latency: float) -> None:
    for p50, system in ((10.0, DENSE), (20.0, {**DENSE, "oversample": 3.0}), (latency, BM25)):
        make_result(tmp_path, "One", system=system, latency={**timed(10), "p50_ms": p50})

    chart = charts.tradeoff(make_report([tmp_path]).task("One").scores)

    assert chart is not None
    assert [point.mark for point in chart.points] == ["A", "B"]


def test_the_best_tradeoffs_are_not_beaten(tmp_path: Path) -> None:
    make_result(tmp_path, "One", 0.9, latency=timed(1, "encoding alone"))
    make_result(tmp_path, "One", 0.8, system=DENSE, latency=timed(20))
    make_result(tmp_path, "One", 0.8, system={**DENSE, "oversample": 3.0}, latency=timed(30))
    make_result(tmp_path, "One", 0.5, system=BM25, latency=timed(5, "search"))
    make_result(tmp_path, "One", 0.5, system={**DENSE, "name": "hybrid"}, latency=timed(50))

    report = make_report([tmp_path])
    scores = report.task("One").scores

    assert {report.setup(mark).system for mark in charts.unbeaten(scores)} == {"dense (int8_hnsw)", "bm25"}
    chart = charts.tradeoff(scores)
    assert chart is not None
    assert {point.mark for point in chart.points} == {"B", "C", "D", "E"}, "encoding alone is another thing"
    assert [mark for _, mark in chart.alone] == ["A"]
    assert all(0 <= point.x <= 100 and 0 <= point.y <= charts.HEIGHT for point in chart.points)
    assert 3 <= len(chart.x_ticks) <= 6
    assert 3 <= len(chart.y_ticks) <= 7


def test_times_of_other_searches_than_those_scored_are_left_out(tmp_path: Path) -> None:
    make_result(tmp_path, "One", latency={**timed(2, "encoding alone"), "top_k": 10})
    make_result(tmp_path, "One", system=DENSE, latency={**timed(20), "top_k": 10})

    encoder, dense = make_report([tmp_path]).task("One").scores

    assert encoder.p50_ms == 2
    assert (dense.p50_ms, dense.p99_ms, dense.timed) == (None, None, None)
    assert dense.notes == ("its latency, of searches for 10 documents, is left out: 100 were scored",)


def test_memory_that_is_not_known_beats_nothing(tmp_path: Path) -> None:
    pipeline = {"name": "pipeline:own.yaml", "server_version": "9.5.3", "own_stores": True}
    make_result(tmp_path, "One", 0.8, system=DENSE, latency=timed(20))
    make_result(tmp_path, "One", 0.8, system=pipeline, latency=timed(20), counts={"queries": 5})

    report = make_report([tmp_path])
    scores = report.task("One").scores

    assert {report.setup(mark).system for mark in charts.unbeaten(scores)} == {"dense (int8_hnsw)"}
    chart = charts.tradeoff(scores)
    assert chart is not None
    assert {report.setup(point.mark).system: point.known for point in chart.points} == {
        "dense (int8_hnsw)": True,
        "pipeline:own.yaml": False,
    }
    assert 'class="point unknown"' in render_html(report)


def test_one_point_is_no_chart(tmp_path: Path) -> None:
    make_result(tmp_path, "One", 0.8, system=DENSE, latency=timed(20))
    make_result(tmp_path, "One", None, system=BM25, latency=timed(20))

    assert charts.tradeoff(make_report([tmp_path]).task("One").scores) is None


@pytest.mark.parametrize("values", [(10, 10), (0.01, 90_000), (3, 3.1)])
def test_charts_hold_any_latency(tmp_path: Path, values: tuple[float, float]) -> None:
    for system, value in zip((DENSE, BM25), values, strict=True):
        make_result(tmp_path, "One", 0.8, system=system, latency=timed(value))

    chart = charts.tradeoff(make_report([tmp_path]).task("One").scores)

    assert chart is not None
    assert all(0 <= point.x <= 100 and 0 <= point.y <= charts.HEIGHT for point in chart.points)
    assert len({(point.x + point.label_dx, point.y + point.label_dy) for point in chart.points}) == 2


def worst(report: Report, mark: str) -> list[tuple[str, float]]:
    (found,) = [one for one in report.worst if one.mark == mark]
    return [(query.id, query.score) for query in found.shown]


def test_the_worst_queries_come_with_what_was_found(tmp_path: Path) -> None:
    scores = [1.0] * 5 + [0.0] * 4 + [0.5] * 5
    make_result(tmp_path, "One", queries=scores)

    report = make_report([tmp_path])

    (found,) = report.worst
    assert (found.task, found.queries, found.empty) == ("One", 14, 4)
    assert len(found.shown) == 10
    first = found.shown[0]
    assert (first.id, first.score, first.text) == ("q5", 0.0, None)
    assert [(hit.id, hit.rank, hit.grade) for hit in first.wanted] == [("d5", None, 1)], "it was not found"
    assert [(hit.id, hit.rank, hit.grade) for hit in first.found] == [("d0", 1, 0), ("d1", 2, 0), ("d2", 3, 0)]
    half = next(query for query in found.shown if query.id == "q9")
    assert [(hit.id, hit.rank) for hit in half.wanted] == [("d9", 10)]
    assert worst(report, "A")[:4] == [("q5", 0.0), ("q6", 0.0), ("q7", 0.0), ("q8", 0.0)]


def test_of_equally_bad_queries_those_where_nothing_was_found_come_first(tmp_path: Path) -> None:
    make_result(tmp_path, "One", queries=[0.5] * 14)  # the relevant documents of q12 and q13 are not among those found

    assert [query for query, _ in worst(make_report([tmp_path]), "A")] == [
        *("q12", "q13", "q11", "q10", "q9", "q8", "q7", "q6", "q5", "q4")
    ]


def test_queries_that_cannot_be_read_are_noted(tmp_path: Path) -> None:
    path = make_result(tmp_path, "One", queries=BASE)
    path.with_name(path.name.replace(".run.json", ".trec")).write_text("not a run\n")

    report = make_report([tmp_path])

    assert not report.worst
    assert any("its queries cannot be read" in note for note in report.notes)


def test_what_differs_nowhere_makes_nothing_else_less_certain(tmp_path: Path) -> None:
    """As many equal results as one likes, such as those of vectors that lost nothing, stand beside one that gained."""
    for number in range(8):
        make_result(tmp_path, f"Even{number}", queries=BASE)
        make_result(tmp_path, f"Even{number}", queries=BASE, system=DENSE)
    make_result(tmp_path, "Up", queries=BASE)
    make_result(tmp_path, "Up", queries=MORE, system=DENSE)

    found = {one.compared.task: one for one in make_report([tmp_path]).differences}

    assert found["Up"].p_adjusted == found["Up"].compared.p
    assert {(found[name].p_adjusted, found[name].verdict) for name in found if name != "Up"} == {(1.0, "even")}


def test_what_searches_by_words_wants_no_memory_for_vectors(tmp_path: Path) -> None:
    words = {"name": "pipeline:bm25.yaml", "server_version": "9.5.3", "index_options": None, "own_stores": False}
    for system in (words, {**words, "name": "pipeline:own.yaml", "own_stores": True}):
        make_result(tmp_path, "One", system=system, model={"name": None})

    report = make_report([tmp_path])

    found = {report.setup(one.mark).name: one.vector_bytes for one in report.task("One").scores}
    assert found == {"pipeline:bm25.yaml": 0, "pipeline:own.yaml": None}


def test_a_search_for_fewer_documents_is_not_put_beside_the_others(tmp_path: Path) -> None:
    pipeline = {"name": "pipeline:few.yaml", "server_version": "9.5.3", "index_options": None}
    make_result(tmp_path, "One", 0.5, system=DENSE, latency=timed(20))
    make_result(tmp_path, "One", 0.5, system=pipeline, latency=timed(2), top_k=3)

    report = make_report([tmp_path])

    few = next(one for one in report.tasks[0].scores if report.setup(one.mark).system.startswith("pipeline"))
    assert (few.at_most, few.p50_ms) == (3, 2)
    assert not charts.is_compared(few)
    assert few.mark not in charts.unbeaten(report.tasks[0].scores)
    assert writing.about_score(few) == ["at most 3 documents"]
    assert "at most 3 documents</span>" in render_html(report)
    assert "(at most 3 documents)" in render_markdown(report)


def test_weights_that_were_learned_from_a_task_are_told(tmp_path: Path) -> None:
    make_result(tmp_path, "One", 0.5, system=DENSE, latency=timed(20), weights_learned_here=30)

    report = make_report([tmp_path])

    assert writing.beside_alone(report, "A") == "weights learned from queries of One"
    assert "weights learned from 30 of the queries</span>" in render_html(report)
