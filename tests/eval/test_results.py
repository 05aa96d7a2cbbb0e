import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
from mteb.results import TaskResult

from medte_eval.comparison import compare_results
from medte_eval.items import Items
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


def test_what_could_not_be_computed_is_left_out_and_compared_no_further(tmp_path: Path) -> None:
    def write(similarities: list[float], model: str) -> Path:
        rows = [{"id": str(at), "label": at % 2, "similarity": one} for at, one in enumerate(similarities)]
        scores = {
            "test": [{"hf_subset": "default", "languages": ["eng-Latn"], "main_score": 0.5, "similarity_f1": 0.5}]
        }
        about = {"name": "T", "type": "PairClassification", "main_score": "similarity_f1", "data_sha256": "d"}
        outcome = Outcome(
            result=TaskResult(
                task_name="T",
                dataset_revision="d",
                mteb_version="2",
                scores=scores,
                evaluation_time=1.0,
                kg_co2_emissions=None,
            ),
            task=about,
            system={"name": "encoder"},
            model={"name": model},
            counts={},
            seconds={},
            items=Items(tuple(rows)),
        )
        return tmp_path / outcome.write(tmp_path)["files"]["items"]

    broken, whole = write([math.nan, 0.5], "broken"), write([0.25, 0.5], "whole")

    rows = [strict_json(line) for line in broken.read_text().splitlines()]
    assert rows == [{"id": "0", "label": 0}, {"id": "1", "label": 1, "similarity": 0.5}]
    found = compare_results(*(one.with_name(one.name.replace(".items.jsonl", ".run.json")) for one in (broken, whole)))
    assert (found.measure, found.a, found.b, found.p) == (None, 0.5, 0.5, None)
