import csv
import io
import re
from dataclasses import replace
from pathlib import Path

import pytest

from medte_eval.failures import failure_file, note_failure
from medte_eval.report import writing
from medte_eval.report.build import make_report
from medte_eval.report.model import Report
from medte_eval.report.rendering import render_html, render_markdown
from medte_eval.report.tidy import COLUMNS, render_csv

from .made import BM25, DENSE, make_result, timed

HOSTILE = "<script>document.title='taken'</script>|`x`[y](javascript:z)\n# head"
QUERIES = [1.0, 0.0, 0.5, 0.25]


@pytest.fixture
def report(tmp_path: Path) -> Report:
    for system in ({"name": "encoder", "server_version": None}, DENSE, BM25):
        make_result(tmp_path, "MedMCQARetrieval", 0.4375, system=system, queries=QUERIES, latency=timed(20))
        sizes = {"queries": 300, "documents": 5183, "chunks": 5183}
        make_result(tmp_path, "scifact", 0.6451, system=system, counts=sizes)
    make_result(tmp_path, HOSTILE, 0.123, notes=[HOSTILE], task={"description": HOSTILE})
    make_result(tmp_path, "=1+1", 0.123)
    make_result(tmp_path, "Missing", None)
    (tmp_path / "half.run.json").write_text("{")
    for task in ("Gone", "Lost"):
        told = {"task": task, "system": "dense", "exit_status": 7, "message": f"its source is away: {HOSTILE}"}
        note_failure(failure_file(tmp_path, task, "dense"), told)
    return make_report([tmp_path])


def test_all_three_say_the_same(report: Report) -> None:
    page, markdown = render_html(report), render_markdown(report)
    rows = list(csv.DictReader(io.StringIO(render_csv(report))))

    for name in ("MedMCQARetrieval", "scifact", "Missing", "dense (int8_hnsw)", "0.438", "0.569", "0.645", "0.762"):
        assert name in page, name
        assert name in markdown, name
    means = [row for row in rows if not row["task"]]
    rows = [row for row in rows if row["task"]]
    measured = [row for row in rows if not row["published"]]
    assert len(measured) == 9
    assert {row["score"] for row in measured if row["task"] == "MedMCQARetrieval"} == {"0.4375"}
    assert next(row for row in measured if row["task"] == "Missing")["score"] == ""
    assert {row["published"] for row in rows if row["published"]} == {"mteb"}
    assert {row["task"] for row in rows if row["published"]} == {"scifact"}
    dense = next(row for row in measured if row["mark"] == "B" and row["task"] == "MedMCQARetrieval")
    assert {row["source"] for row in measured if row["task"] == "MedMCQARetrieval"} == {"MedMCQA"}
    own = [row for row in means if row["mark"] == "B" and row["benchmark"] == "MedTEB"]
    assert [
        (row["mean_of"], row["type"], row["source"], row["tasks"], row["of_tasks"], row["score"]) for row in own
    ] == [
        ("type", "Retrieval", "", "1", "12", "0.4375"),
        ("source", "", "MedMCQA", "1", "2", "0.4375"),
        ("tasks", "", "", "1", "51", "0.4375"),
    ]
    assert len({row["model"] for row in means if row["published"] == "MedTEB"}) == 17
    assert "| MedMCQA (2 tasks) | 0.438 (1 of 2) | 0.438 (1 of 2) | 0.438 (1 of 2) |" in markdown
    assert re.search(r'<th[^>]*>MedMCQA <small>2 tasks</small></th>\s*<td data-label="A encoder"', page)
    assert (dense["p50_ms"], dense["verdict"], dense["difference"]) == ("20.0", "even", "0.0")


def test_each_system_says_how_it_stands_beside_its_model(report: Report) -> None:
    assert [writing.beside_alone(report, mark) for mark in "ABC"] == [
        "",
        "beside A: within chance on 1, not tested on 1 of 2 tasks",
        "beside A: within chance on 1, not tested on 1 of 2 tasks",
    ]
    assert "<small>beside A: within chance on 1" in render_html(report)
    assert "| beside A: within chance on 1" in render_markdown(report)


def test_what_is_long_is_folded_away(report: Report) -> None:
    (one, *_) = report.differences
    many = replace(report, differences=[one] * 61)

    assert "<summary>All 61 differences</summary>" in render_html(many)
    assert "<summary>All " not in render_html(replace(report, differences=[one] * 60))


def test_published_rows_are_marked_in_each(report: Report) -> None:
    page, markdown = render_html(report), render_markdown(report)

    assert re.search(r'<tr class="published">\s*<th[^>]*>thenlper/gte-base <span class="tag">published</span>', page)
    assert re.search(r"\| \*thenlper/gte-base, published\* \|", markdown)
    assert markdown.index("Some of the 51 tasks") < markdown.index("MedMCQARetrieval")
    assert page.count('class="published"') >= 17


def test_texts_stay_texts(report: Report) -> None:
    page, markdown = render_html(report), render_markdown(report)

    assert "<script>document.title" not in page
    assert "&lt;script&gt;document.title" in page
    assert page.count("<script>") == 1
    assert "<script" not in markdown
    assert "\\|\\`x\\`\\[y\\](javascript:z) # head" in markdown
    assert all(line.count("|") != 1 for line in markdown.splitlines() if line.startswith("|"))


def test_the_page_forbids_what_is_not_its_own(report: Report) -> None:
    page = render_html(report)

    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1].startswith("default-src &#39;none&#39;; style-src &#39;sha256-")
    assert "unsafe" not in policy[1]
    assert not re.search(r'(src|href)="(?!#|data:,")', page)
    assert "@import" not in page
    assert "url(" not in page
    assert " style=" not in page


def test_failures_and_what_is_left_out_are_told(report: Report) -> None:
    page, markdown = render_html(report), render_markdown(report)

    assert "<strong>Gone, Lost</strong> on dense: its source is away" in page
    assert "- Gone, Lost on dense could not be run: its source is away" in markdown
    assert "half.run.json" in page
    assert "half.run.json has no part in this report" in markdown


def test_a_spreadsheet_runs_nothing(report: Report) -> None:
    rows = list(csv.DictReader(io.StringIO(render_csv(report))))

    assert {row["task"] for row in rows if "1+1" in row["task"]} == {"'=1+1"}
    assert list(rows[0]) == list(COLUMNS)


def test_failures_alone_are_a_report(tmp_path: Path) -> None:
    told = {"task": "Gone", "system": None, "exit_status": 7, "message": "its source is away"}
    note_failure(failure_file(tmp_path, "Gone"), told)

    report = make_report([tmp_path])

    assert "<strong>Gone</strong>: its source is away" in render_html(report)
    assert "- Gone could not be run: its source is away" in render_markdown(report)
    assert render_csv(report).splitlines() == [",".join(COLUMNS)]
