import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from mteb.results import TaskResult

from medte_eval.report import print_results
from medte_eval.results import Outcome, key_of
from medte_eval.run import evaluate
from medte_eval.systems.system import System
from medte_eval.tasks.beir import BeirRetrieval
from medte_eval.tasks.medquad import MedQuADRetrieval


@pytest.fixture
def outcome(opened: Callable[..., System], medquad: Path) -> Outcome:
    return evaluate(MedQuADRetrieval(medquad, queries=4), opened("encoder"))


def strict_json(text: str) -> object:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_mtebs_result_and_the_run_are_written(outcome: Outcome, tmp_path: Path) -> None:
    (first,) = outcome.result.scores["test"]
    first["nauc_ndcg_at_1_max"] = math.nan

    folder = tmp_path / "new" / "folder"
    files = outcome.write(folder)["files"]
    scores, run = folder / files["mteb"], folder / f"{outcome.file_stem()}.run.json"

    strict_json(scores.read_text())
    read = TaskResult.from_disk(scores)
    assert read.task_name == "MedQuADRetrieval.LLMFree"
    assert read.scores["test"][0]["recall_at_10"] == pytest.approx(outcome.scores["recall_at_10"])
    assert read.dataset_revision == outcome.task["data_sha256"]
    about = strict_json(run.read_text())
    assert isinstance(about, dict)
    assert about["scores"].keys() == {"ndcg_at_10", "recall_at_10", "recall_at_1", "mrr_at_10"}
    assert about["task"]["sampled_queries"] == 4
    assert about["model"]["revision"]
    assert about["versions"]["medte"]
    assert {phase["name"] for phase in about["phases"]} >= {"Encoding queries", "Searching corpus", "Scoring"}


def test_the_same_run_overwrites_its_files_and_another_does_not(
    outcome: Outcome, opened: Callable[..., System], beir: Path, medquad: Path, tmp_path: Path
) -> None:
    again = evaluate(MedQuADRetrieval(medquad, queries=4), opened("encoder"))
    other = evaluate(MedQuADRetrieval(medquad, queries=3), opened("encoder"))
    beir_outcome = evaluate(BeirRetrieval(beir), opened("encoder"))
    for one in (outcome, again, other, beir_outcome):
        one.write(tmp_path / "out")

    assert outcome.file_stem() == again.file_stem()
    assert len(list((tmp_path / "out").glob("*.run.json"))) == 3


def test_another_part_of_a_task_is_another_result(outcome: Outcome) -> None:
    assert (outcome.task["subsets"], outcome.task["splits"]) == (["default"], ["test"])
    for name in ("subsets", "splits"):
        other = {**outcome.task, name: ["another"]}
        assert key_of(other, outcome.system, outcome.model) != outcome.key


def test_the_table_is_plain(outcome: Outcome, capsys: pytest.CaptureFixture[str]) -> None:
    print_results([outcome.to_dict(), outcome.to_dict()], [], as_json=False)

    text = capsys.readouterr().out
    assert "\x1b" not in text
    head, row, _, _, *details = text.splitlines()
    assert head.split()[:6] == ["task", "system", "nDCG@10", "recall@10", "recall@1", "MRR@10"]
    assert row.split()[:3] == ["MedQuADRetrieval.LLMFree", "encoder", f"{outcome.scores['ndcg_at_10']:.4f}"]
    assert sum(line.startswith("model   sentence-transformers/all-MiniLM-L6-v2, 8b3219a92973") for line in details) == 1
