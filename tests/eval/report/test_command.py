import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from medte_eval.cli import app
from medte_eval.report.build import make_report
from medte_eval.results import RUN_SUFFIX
from medte_eval.session import Session, run_all
from medte_eval.systems import SystemOptions, find_systems
from medte_eval.systems.system import silent
from medte_eval.tasks.beir import BeirRetrieval
from medte_haystack.encoder import Encoder

from ..small_tasks import Classification, Clustering, Pairs
from .made import BM25, make_result


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["report", *map(str, arguments)], env={"COLUMNS": "400", "NO_COLOR": "1"})


@pytest.fixture
def run(encoder: Encoder, tmp_path: Path) -> Callable[..., list[Any]]:
    """Runs tasks on the encoder, as the command does, into a folder."""

    def run_tasks(*tasks: Callable[[], Any], systems: str = "encoder") -> list[Any]:
        options = SystemOptions()
        with Session("local", "minilm", lambda _: encoder, options, silent) as session:
            every = [(one.args[0].name if isinstance(one, partial) else one.__name__, one) for one in tasks]
            return list(run_all(every, find_systems([systems], options), session, out=tmp_path / "out"))

    return run_tasks


def test_results_of_run_become_a_report(run: Callable[..., list[Any]], beir: Path, tmp_path: Path) -> None:
    results = run(partial(BeirRetrieval, beir), Classification, Clustering, Pairs)
    files = {kind: tmp_path / f"report.{kind}" for kind in ("html", "md", "csv")}

    done = report(
        tmp_path / "out", "--html", files["html"], "--markdown", files["md"], "--csv", files["csv"], "--json", "-q"
    )

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    scores = {task["name"]: task["scores"][0]["score"] for task in found["tasks"]}
    assert scores == {one["task"]["name"]: one["scores"][one["task"]["main_score"]] for one in results}
    own = found["leaderboards"][0]["rows"][0]["over_tasks"]
    assert (len(own["tasks"]), own["of"], own["variants"]) == (4, 4, 0)
    assert found["worst"][0]["queries"] == 10
    assert all(path.stat().st_size > 500 for path in files.values())
    assert "treat" not in files["html"].read_text() + files["md"].read_text() + done.stdout, "texts of queries"


def test_texts_are_shown_only_when_asked_for(run: Callable[..., list[Any]], beir: Path, tmp_path: Path) -> None:
    corpus = beir / "corpus.jsonl"
    corpus.write_text(corpus.read_text().replace('"title": "', f'"title": "{"Long " * 30}'))
    run(partial(BeirRetrieval, beir))
    page = tmp_path / "report.html"

    done = report(tmp_path / "out", "--html", page, "--texts", f"beir:{beir}", "-q")

    assert done.exit_code == 0, done.output
    text = page.read_text()
    assert "how to treat" in text
    assert "This page holds texts" in text
    assert "Long Long\u2026" in text
    assert "Long " * 21 not in text
    (beir / "queries.jsonl").write_text((beir / "queries.jsonl").read_text().replace("how to", "when to"))
    assert report(tmp_path / "out", "--html", page, "--texts", f"beir:{beir}", "-q").exit_code == 0
    assert "when to treat" not in page.read_text(), "they are no longer those that were asked"
    assert "has other data now" in page.read_text()


def test_texts_of_clinical_notes_are_never_shown(tmp_path: Path) -> None:
    make_result(tmp_path, "MimicHistoryComplaintRetrieval", queries=[0.0, 1.0])

    found = make_report([tmp_path], texts=["MimicHistoryComplaintRetrieval"], data_dir=tmp_path)

    assert not found.has_texts
    assert "must not be passed on" in found.notes[0]


def test_what_fails_is_reported_until_it_is_done(run: Callable[..., list[Any]], beir: Path, tmp_path: Path) -> None:
    hidden = beir.with_name("hidden")
    beir.rename(hidden)
    run(partial(BeirRetrieval, beir), Pairs)
    before = report(tmp_path / "out", "-q")
    hidden.rename(beir)
    run(partial(BeirRetrieval, beir), Pairs)
    after = report(tmp_path / "out", "-q")

    assert before.exit_code == after.exit_code == 0
    (failed,) = [line for line in before.stdout.splitlines() if line.startswith("failed")]
    assert "tiny: " in failed
    assert "is no folder" in failed
    assert "failed" not in after.stdout
    assert not list((tmp_path / "out").glob("*.failed.json"))


def test_without_files_it_prints_the_leaderboards(tmp_path: Path) -> None:
    make_result(tmp_path, "MedMCQARetrieval", 0.4321)
    make_result(tmp_path, "Mine", 0.8764, system=BM25)

    done = report(tmp_path)

    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert any(
        line.startswith("A encoder") and "0.432 (1/12)" in line and line.endswith("0.432 (1/51)") for line in lines
    )
    assert any("gte-base, published" in line for line in lines)
    assert any(line.startswith("B bm25") and "0.876" in line for line in lines)


def test_damaged_results_end_with_a_status_of_their_own(tmp_path: Path) -> None:
    make_result(tmp_path, "Mine")
    (tmp_path / f"half{RUN_SUFFIX}").write_text('{"task": ')

    done = report(tmp_path, "--html", tmp_path / "report.html")

    assert done.exit_code == 3
    assert "half.run.json" in done.stderr
    assert "Mine" in (tmp_path / "report.html").read_text()


def test_bad_input_is_told(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    make_result(tmp_path / "out", "empty")

    for arguments, told in (
        ([empty], "has no result; `medte-eval run --out"),
        ([tmp_path / "nowhere"], "does not exist"),
        ([tmp_path / "out", "--html", tmp_path / "no" / "report.html"], "is not there; make it, or name another"),
        ([tmp_path / "out", "--html", empty], "is a folder; name a file"),
        ([tmp_path / "out", "--html", tmp_path / "x", "--csv", tmp_path / "x"], "name another file"),
        ([tmp_path / "out", "--texts", "Nothing"], "unknown task 'Nothing'"),
    ):
        done = report(*arguments)
        assert done.exit_code == 2, arguments
        assert told in done.stderr, (told, done.stderr)
    assert report(tmp_path / "out", "--texts", f"beir:{empty}").exit_code == 7
