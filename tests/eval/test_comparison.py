import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from medte_eval.cli import app
from medte_eval.comparison import compare_results, compare_values, find_results
from medte_eval.pair_scores import METRICS, chance_of_pairs, pair_score
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
    assert found.better is not None
    assert found.worse is not None
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


def test_pairs_are_tested_by_their_score_and_not_by_a_threshold() -> None:
    """Both have the best F1 of 2/3, at thresholds that leave very different shares of pairs on the right side."""
    labels = np.array([1, 0, 0, 1, 0, 0, 0, 0] * 500)
    a = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5, 0.5] * 500)
    b = np.array([0.8, 0.9, 0.7, 0.6, 0.5, 0.5, 0.5, 0.5] * 500)

    assert pair_score("f1", a, labels) == pair_score("f1", b, labels) == pytest.approx(2 / 3)
    assert chance_of_pairs("f1", a, b, labels, level=0.95, seed=0)[0] > 0.5


def test_a_difference_on_pairs_is_found_and_none_is_not_claimed() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 400)
    signal = labels + generator.normal(0, 1, 400)
    a, same = (signal + generator.normal(0, 0.1, 400) for _ in range(2))
    better = a + labels

    for metric in METRICS:
        p, (low, high) = chance_of_pairs(metric, a, better, labels, level=0.95, seed=0)
        difference = pair_score(metric, better, labels) - pair_score(metric, a, labels)
        assert p < 0.01
        assert low is not None
        assert high is not None
        assert 0 < low < difference < high
        assert chance_of_pairs(metric, a, same, labels, level=0.95, seed=0)[0] > 0.05
        assert chance_of_pairs(metric, a, 2 * a, labels, level=0.95, seed=0) == (1, (None, None))


@pytest.mark.parametrize("name", ["encoder", "dense"])
def test_the_score_of_pairs_is_mtebs(results: Path, name: str) -> None:
    about = json.loads(find_results(results, name)["SmallPairs"].read_text())
    rows = [json.loads(line) for line in (results / about["files"]["items"]).read_text().splitlines()]
    similarities, labels = (np.array([row[key] for row in rows]) for key in ("similarity", "label"))

    for metric in METRICS:
        assert pair_score(metric, similarities, labels) == pytest.approx(about["scores"][f"similarity_{metric}"])


def test_several_tasks_are_compared_at_once(results: Path) -> None:
    arguments = ["compare", str(results), str(results), "--system-a", "encoder"]
    as_json = CliRunner().invoke(app, [*arguments, "--system-b", "bm25", "--json"])
    table = CliRunner().invoke(app, [*arguments, "--system-b", "dense"])

    found = json.loads(as_json.stdout)
    assert {one["task"]: one["measure"] for one in found["comparisons"]} == {
        "tiny": "ndcg_at_10",
        "SmallPairs": "similarity_f1",
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

    with pytest.raises(ResultError, match="are not of the same data and searches: data_sha256 is"):
        compare_results(whole, fewer)
    evaluate(BeirRetrieval(beir, top_k=10), opened("encoder")).write(tmp_path / "shorter")
    (shorter,) = find_results(tmp_path / "shorter").values()
    with pytest.raises(ResultError, match="top_k is 100 and 10; compare results"):
        compare_results(whole, shorter)
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


def test_the_same_data_may_be_called_otherwise(opened: Opened, beir: Path, tmp_path: Path) -> None:
    other = shutil.copytree(beir, tmp_path / "other")
    for folder in (beir, other):
        evaluate(BeirRetrieval(folder), opened("encoder")).write(tmp_path / "out" / folder.name)
    files = [str(path) for name in ("tiny", "other") for path in (tmp_path / "out" / name).glob("*.run.json")]

    done = CliRunner().invoke(app, ["compare", *files, "--json"])

    assert done.exit_code == 0, done.stderr
    (compared,) = json.loads(done.stdout)["comparisons"]
    assert (compared["task"], compared["items"], compared["difference"]) == ("tiny", 10, 0)
