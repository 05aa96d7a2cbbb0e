import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from medte_eval.cli import app
from medte_eval.comparison import compare_results, compare_values, find_results
from medte_eval.results import ResultError
from medte_eval.run import evaluate
from medte_eval.systems.system import System
from medte_eval.tasks.beir import BeirRetrieval

from .small_tasks import Classification, Clustering, Pairs

Opened = Callable[..., System]


@pytest.fixture
def results(opened: Opened, beir: Path, tmp_path: Path) -> Path:
    """Of two systems, on tasks of four types."""
    for name in ("encoder", "dense"):
        for task in (BeirRetrieval(beir), Pairs(), Classification(), Clustering()):
            evaluate(task, opened(name, **({"quantisation": "bbq"} if name == "dense" else {}))).write(tmp_path / "out")
    for task in (BeirRetrieval(beir), Pairs()):
        evaluate(task, opened("bm25")).write(tmp_path / "out")
    return tmp_path / "out"


def test_a_real_difference_is_found_and_none_is_not_claimed() -> None:
    generator = np.random.default_rng(0)
    a = generator.uniform(size=300)
    better = np.clip(a + generator.normal(0.05, 0.1, 300), 0, 1)
    same = np.clip(a + generator.normal(0, 0.1, 300), 0, 1)

    found, none, equal = (compare_values("t", "m", a, one) for one in (better, same, a))

    assert found.p is not None
    assert found.p < 0.001
    assert found.low is not None
    assert found.high is not None
    assert found.low > 0
    assert found.low < found.difference < found.high
    assert found.better + found.worse <= found.items == 300
    assert none.p is not None
    assert none.p > 0.05
    assert (equal.difference, equal.p, equal.low) == (0, 1, None)
    assert compare_values("t", "m", a, better) == found


def test_few_items_are_tested_exactly() -> None:
    found = compare_values("t", "m", np.zeros(5), np.array([0.1, 0.2, 0.3, 0.4, 0.5]))

    assert found.p == pytest.approx(2 / 2**5)


def test_the_mean_of_the_items_is_the_score(results: Path) -> None:
    for file in find_results(results, "dense").values():
        about = json.loads(file.read_text())
        if about["task"]["type"] != "Retrieval":
            continue
        rows = [json.loads(line) for line in (results / about["files"]["items"]).read_text().splitlines()]
        for name in ("ndcg_at_10", "recall_at_10", "recall_at_1", "mrr_at_10"):
            assert np.mean([row[name] for row in rows]) == pytest.approx(about["scores"][name], abs=1e-5)


def test_several_tasks_are_compared_at_once(results: Path) -> None:
    arguments = ["compare", str(results), str(results), "--system-a", "encoder"]
    as_json = CliRunner().invoke(app, [*arguments, "--system-b", "bm25", "--json"])
    table = CliRunner().invoke(app, [*arguments, "--system-b", "dense"])

    found = json.loads(as_json.stdout)
    assert {one["task"]: one["measure"] for one in found["comparisons"]} == {
        "tiny": "ndcg_at_10",
        "SmallPairs": "accuracy",
    }
    assert found["not_compared"] == ["SmallClassification", "SmallClustering"]
    assert all(0 < one["p"] <= 1 for one in found["comparisons"])
    assert table.exit_code == 0
    assert "nDCG@10" in table.stdout
    (clustering,) = [line for line in table.stdout.splitlines() if line.startswith("SmallClustering")]
    assert "main score" in clustering
    assert clustering.split()[-3] == "-"


def test_results_that_cannot_be_compared_are_told(results: Path, opened: Opened, beir: Path, tmp_path: Path) -> None:
    evaluate(BeirRetrieval(beir, queries=3), opened("encoder")).write(tmp_path / "fewer")
    (fewer,) = find_results(tmp_path / "fewer").values()
    whole = find_results(results, "encoder")["tiny"]

    with pytest.raises(ResultError, match="are not of the same data: data_sha256 is"):
        compare_results(whole, fewer)
    with pytest.raises(ResultError, match="has several results of SmallClassification"):
        find_results(results)
    with pytest.raises(ResultError, match="has no result of system 'magic'"):
        find_results(results, "magic")
    with pytest.raises(ResultError, match="is no result of `medte-eval run`"):
        find_results(fewer.with_name(json.loads(fewer.read_text())["files"]["mteb"]))
    told = CliRunner().invoke(app, ["compare", str(whole), str(fewer)], env={"COLUMNS": "400", "NO_COLOR": "1"})
    assert told.exit_code == 2
    assert "not of the same data" in told.stderr


def test_trec_files_hold_the_ranking(results: Path) -> None:
    import pytrec_eval

    about = json.loads(find_results(results, "dense")["tiny"].read_text())
    with (results / about["files"]["run"]).open() as run, (results / about["files"]["qrels"]).open() as qrels:
        rankings, judged = pytrec_eval.parse_run(run), pytrec_eval.parse_qrel(qrels)

    found = pytrec_eval.RelevanceEvaluator(judged, {"ndcg_cut.10"}).evaluate(rankings)
    mean = np.mean([one["ndcg_cut_10"] for one in found.values()])
    assert mean == pytest.approx(about["scores"]["ndcg_at_10"], abs=1e-5)
