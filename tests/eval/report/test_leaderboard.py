import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest

from medte_eval.report.build import make_report
from medte_eval.report.charts import bars_by_type
from medte_eval.report.model import Leaderboard, Report
from medte_eval.report.published import published_means
from medte_eval.report.rendering import render_html, render_markdown
from medte_eval.report.tidy import render_csv
from medte_eval.tasks.benchmark import BENCHMARK

from .made import BM25, DENSE, ENCODER, MINILM, make_result

COUNTS = {"Classification": 15, "Clustering": 12, "PairClassification": 12, "Retrieval": 12}


def board_of(report: Report, name: str) -> Leaderboard:
    return next(one for one in report.leaderboards if one.name == name)


def run_benchmark(folder: Path, **options: object) -> None:
    for task in BENCHMARK.values():
        if not task.reserve:
            make_result(folder, task.name, task.number / 100, kind=task.kind, **options)  # type: ignore[arg-type]


def test_all_51_tasks_stand_beside_what_is_published(tmp_path: Path) -> None:
    run_benchmark(tmp_path)

    report = make_report([tmp_path])

    (board,) = report.leaderboards
    assert dict(board.types) == COUNTS
    assert len(report.tasks) == 51
    (own,) = [row for row in board.rows if row.published is None]
    assert own.whole
    assert len(own.over_tasks.tasks) == 51
    every = [task.number / 100 for task in BENCHMARK.values() if not task.reserve]
    assert own.over_tasks.value == pytest.approx(np.mean(every))
    assert own.over_tasks.deviation == pytest.approx(np.std(every, ddof=1))
    for kind, number in COUNTS.items():
        scores = [task.number / 100 for task in BENCHMARK.values() if task.kind == kind and not task.reserve]
        assert own.means[kind].value == pytest.approx(sum(scores) / number)
        assert own.means[kind].deviation == pytest.approx(np.std(scores, ddof=1))
        assert len(own.means[kind].tasks) == number
    assert own.mean == pytest.approx(sum(one.value for one in own.means.values()) / 4)
    assert len(board.rows) == 1 + 17
    means = [row.mean or 0 for row in board.rows]
    assert means == sorted(means, reverse=True)
    assert [(one.type, len(one.bars)) for one in bars_by_type(board)] == [(kind, 18) for kind in COUNTS]


def test_means_by_source_are_of_all_types(tmp_path: Path) -> None:
    run_benchmark(tmp_path)
    make_result(tmp_path, "MedQAPair", 0.9, kind="PairClassification", system=DENSE)
    make_result(tmp_path, "MIMIC of mine", 0.9)

    board, other = make_report([tmp_path]).leaderboards

    assert sum(board.sources.values()) == 51
    assert board.sources["MIMIC-IV"] == 26
    encoder = next(row for row in board.rows if row.mark == "A")
    dense = next(row for row in board.rows if row.mark == "B")
    assert {name: len(mean.tasks) for name, mean in encoder.by_source.items()} == dict(board.sources)
    scores = [task.number / 100 for task in BENCHMARK.values() if task.source == "wikipedia"]
    assert encoder.by_source["English Wikipedia"].value == pytest.approx(np.mean(scores))
    assert encoder.by_source["English Wikipedia"].deviation == pytest.approx(np.std(scores, ddof=1))
    assert {name: (mean.value, mean.deviation) for name, mean in dense.by_source.items()} == {"MedQA": (0.9, None)}
    assert not other.sources
    assert not other.rows[0].by_source


def test_the_run_time_is_the_mean_of_the_tasks(tmp_path: Path) -> None:
    for name, seconds in (("MedMCQARetrieval", 1.0), ("PubMedRetrieval", 4.0)):
        make_result(tmp_path, name, seconds={"indexing": seconds, "searching": 0.5})
        make_result(tmp_path, name, system=BM25, seconds={"indexing": seconds} if name[0] == "P" else {})

    report = make_report([tmp_path])

    times = {row.name: row.seconds for row in report.leaderboards[0].rows if row.mark}
    assert times == {"encoder, all-MiniLM-L6-v2": 3.0, "bm25": None}
    assert re.search(r'<td data-label="Mean run time s" data-value="3.0">3.0</td>', render_html(report))
    markdown = render_markdown(report)
    assert "| mean of tasks | mean run time s |" in markdown
    assert re.search(r"\| A encoder, all-MiniLM-L6-v2 \|.* \| 3\.0 \|$", markdown, re.MULTILINE)
    rows = [row for row in csv.DictReader(io.StringIO(render_csv(report))) if row["mean_of"] == "tasks" and row["mark"]]
    assert {row["mark"]: row["run_seconds"] for row in rows} == {"A": "3.0", "B": ""}


def test_the_retrieval_tasks_that_are_averaged_are_named(tmp_path: Path) -> None:
    make_result(tmp_path, "MedMCQARetrieval")
    make_result(tmp_path, "TrialsTitleDescriptionRetrieval")

    report = make_report([tmp_path])

    counted = [task.name for task in BENCHMARK.values() if task.kind == "Retrieval" and not task.reserve]
    assert len(counted) == 12
    told = f"The 12 retrieval tasks that are averaged are {', '.join(counted)}. TrialsTitleDescriptionRetrieval, "
    assert render_html(report).count(told) == render_markdown(report).count(told) == 1


def test_what_has_prefixes_is_told_beside_published_scores_without(tmp_path: Path) -> None:
    prefixes = {"query_prefix": "query: ", "passage_prefix": ""}
    for model in ({**MINILM, **prefixes}, {**MINILM, **dict.fromkeys(prefixes, "")}):
        make_result(tmp_path, "MedMCQARetrieval", model=model)

    report = make_report([tmp_path])

    model = "all-MiniLM-L6-v2"
    assert [one.name for one in report.setups] == [
        f"encoder, with prefixes, {model}",
        f"encoder, without prefixes, {model}",
    ]
    told = "Prefixes stand before queries and passages of A (--no-prefixes leaves them out)."
    assert told in render_markdown(report)
    assert told in render_html(report)


def test_published_means_are_those_of_the_figures() -> None:
    rows = {row.name: row for row in published_means()}

    medte = rows["MedTE (skyfury/CTMEDGTE-cl15-step_8000)"]
    assert [round(medte.means[kind].value, 2) for kind in COUNTS] == [0.72, 0.38, 0.74, 0.45]
    assert medte.mean == 0.569
    assert medte.over_tasks.value == pytest.approx((15 * 0.72 + 12 * (0.38 + 0.74 + 0.45)) / 51)
    assert medte.over_tasks.deviation is None
    assert all(row.whole and row.published == "MedTEB" for row in rows.values())


def test_a_mean_of_fewer_tasks_never_passes_for_one_of_all(tmp_path: Path) -> None:
    run_benchmark(tmp_path, system=ENCODER)
    for name in ("MedMCQARetrieval", "PubMedRetrieval"):
        make_result(tmp_path, name, 0.99, system=BM25)

    board = board_of(make_report([tmp_path]), "MedTEB")

    last = board.rows[-1]
    assert last.name == "bm25"
    assert not last.whole
    assert len(last.over_tasks.tasks) == 2
    assert last.mean is None
    assert last.means["Retrieval"].value == 0.99
    assert not last.means["Retrieval"].whole
    assert all(bar.name != "bm25" for chart in bars_by_type(board) for bar in chart.bars)


def test_bars_of_few_tasks_are_of_the_same_ones(tmp_path: Path) -> None:
    for name in ("MedMCQARetrieval", "PubMedRetrieval"):
        for system in (ENCODER, DENSE):
            make_result(tmp_path, name, system=system)
    make_result(tmp_path, "MedMCQARetrieval", system=BM25)

    (chart,) = bars_by_type(board_of(make_report([tmp_path]), "MedTEB"))

    assert (chart.type, chart.tasks, chart.of) == ("Retrieval", 2, 12)
    assert {bar.mark for bar in chart.bars} == {"A", "B"}, "neither bm25, of one task, nor what is published of all"


def test_variants_count_but_are_not_whole(tmp_path: Path) -> None:
    run_benchmark(tmp_path)
    free = make_result(tmp_path, "MedQuADRetrieval.LLMFree", 0.9)
    easy = board_of(make_report([tmp_path]), "MedTEB")
    for path in tmp_path.glob("MedQuADRetrieval__*.run.json"):
        path.unlink()
    harder = board_of(make_report([tmp_path]), "MedTEB")

    own = [next(row for row in board.rows if row.mark == "A") for board in (easy, harder)]
    assert free.exists()
    assert (own[0].whole, own[0].means["Retrieval"].variants) == (True, 0), "the task itself counts, where it is there"
    assert (own[1].whole, own[1].means["Retrieval"].variants) == (False, 1)
    assert len(own[1].over_tasks.tasks) == 51


def test_a_sample_of_the_queries_is_a_variant(tmp_path: Path) -> None:
    make_result(tmp_path, "MedMCQARetrieval", task={"sampled_queries": 100})

    row = next(row for row in board_of(make_report([tmp_path]), "MedTEB").rows if row.mark)

    assert row.means["Retrieval"].variants == 1


def test_a_benchmark_of_a_part_of_its_sources_stands_apart(tmp_path: Path) -> None:
    run_benchmark(tmp_path, task={"reduced": True})

    row = next(row for row in board_of(make_report([tmp_path]), "MedTEB").rows if row.mark)

    assert (len(row.over_tasks.tasks), row.whole) == (51, False)
    assert row.means["Retrieval"].variants == 12
    assert "part of their source" in render_markdown(make_report([tmp_path]))


def test_other_tasks_have_a_leaderboard_of_their_own(tmp_path: Path) -> None:
    make_result(tmp_path, "Mine", 0.4)
    make_result(tmp_path, "Yours", 0.6)
    make_result(tmp_path, "Theirs", 0.9, kind="STS")
    make_result(tmp_path, "Mine", 0.5, system=BM25)
    make_result(tmp_path, "TrialsTitleDescriptionRetrieval", 0.2)

    (board,) = make_report([tmp_path]).leaderboards

    assert board.name == "Other tasks"
    assert dict(board.types) == {"Retrieval": 3, "STS": 1}
    first, last = board.rows
    assert first.means["Retrieval"].value == pytest.approx(0.4)
    assert first.mean == pytest.approx((0.4 + 0.9) / 2)
    assert first.whole
    assert (last.name, len(last.over_tasks.tasks), last.whole) == ("bm25", 1, False)


def test_one_task_on_one_model_is_enough(tmp_path: Path) -> None:
    make_result(tmp_path, "Mine", 0.4)
    report = make_report([tmp_path])

    (row,) = report.leaderboards[0].rows
    assert row.mean == 0.4
    assert not report.differences
    assert not report.worst


def test_a_task_without_a_number_does_not_count(tmp_path: Path) -> None:
    make_result(tmp_path, "Mine", None)
    make_result(tmp_path, "Yours", 0.6)

    report = make_report([tmp_path])

    (row,) = report.leaderboards[0].rows
    assert (len(row.over_tasks.tasks), row.whole, row.means["Retrieval"].value) == (1, False, 0.6)
    assert report.task("Mine").scores[0].score is None


SCIFACT = {"counts": {"queries": 300, "documents": 5183, "chunks": 5183, "truncated": 0, "left_out": 0}}


def test_published_scores_stand_beside_the_same_task_and_data(tmp_path: Path) -> None:
    make_result(tmp_path, "scifact", 0.6451, **SCIFACT)
    make_result(tmp_path, "SciFact", 0.6451, data="0" * 40)  # mteb's own, by its commit

    report = make_report([tmp_path])

    for name in ("scifact", "SciFact"):
        task = report.task(name)
        assert task.published_as == "SciFact"
        scores = {(one.model, one.source): one.score for one in task.published}
        assert scores["sentence-transformers/all-MiniLM-L6-v2", "mteb"] == pytest.approx(0.64508)
        assert scores["thenlper/gte-base", "mteb"] == pytest.approx(0.76178)
        assert [one.score for one in task.published] == sorted(scores.values(), reverse=True)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("scifact", {"counts": {**SCIFACT["counts"], "documents": 5182}}),
        ("scifact", {**SCIFACT, "task": {"sampled_queries": 300}}),
        ("scifact", {**SCIFACT, "places": [("test", "default"), ("dev", "default")]}),
        ("scifact", {**SCIFACT, "task": {"main_score": "recall_at_10"}}),
        ("nfcorpus", SCIFACT),
        ("arguana", {"counts": {**SCIFACT["counts"], "documents": 8674, "queries": 1406}}),
        ("SciFact.v2", {"data": "0" * 40}),
    ],
)
def test_published_scores_of_anything_else_do_not(tmp_path: Path, name: str, given: dict[str, object]) -> None:
    make_result(tmp_path, name, 0.6451, **given)  # type: ignore[arg-type]

    task = make_report([tmp_path]).task(name)

    assert task.published_as is None
    assert not task.published


def test_a_published_score_is_the_mean_of_the_same_subsets(tmp_path: Path) -> None:
    places = [("test", "english"), ("test", "french")]
    make_result(tmp_path, "PublicHealthQA", data="0" * 40, places=places)

    published = make_report([tmp_path]).task("PublicHealthQA").published

    file = Path("eval/medte_eval/report/published/tasks.csv")
    rows = [row for row in csv.DictReader(file.open()) if row["task"] == "PublicHealthQA" and row["source"] == "mteb"]
    scores = [
        float(row["score"])
        for row in rows
        if row["model"] == "intfloat/e5-base" and row["subset"] in ("english", "french")
    ]
    own = next(one for one in published if one.model == "intfloat/e5-base")
    assert len(scores) == 2
    assert own.score == pytest.approx(sum(scores) / 2)
    assert all(one.source == "mteb" for one in published), "MedEmbed has English alone"
