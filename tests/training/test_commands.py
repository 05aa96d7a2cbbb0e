"""The command: a run from files to a model, and what it says when that cannot be."""

import json

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from medte_haystack.encoder import Encoder
from medte_train.cli import app
from medte_train.evaluation import TaskScores
from medte_train.pair_files import write_pairs

from .small import pairs_of


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, [*map(str, words)])


@pytest.fixture
def recipe(tmp_path, tiny):
    """A configuration and pairs beside it."""
    write_pairs(tmp_path / "pairs" / "a.jsonl.gz", pairs_of("a", 40))
    write_pairs(tmp_path / "pairs" / "b.jsonl", pairs_of("b", 20))
    (tmp_path / "empty.jsonl").touch()
    path = tmp_path / "small.toml"
    path.write_text(
        f'[model]\nbase = "{tiny}"\n[batches]\nsize = 8\n[run]\nsteps = 2\nprecision = "fp32"\ndevice = "cpu"\n'
        '[optimiser]\nlearning_rate = 0.01\n[evaluation]\ntasks = ["beir:beir"]\n'
    )
    return path


@pytest.fixture
def beir(tmp_path):
    """A small retrieval task."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    pairs = pairs_of("t", 12)
    rows = [{"_id": f"d{n}", "title": "", "text": pair.positive} for n, pair in enumerate(pairs)]
    (folder / "corpus.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    rows = [{"_id": f"q{n}", "text": pair.anchor} for n, pair in enumerate(pairs)]
    (folder / "queries.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    judged = "".join(f"q{n}\td{n}\t1\n" for n in range(12))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    return folder


def test_a_run_from_files_to_scores(call, recipe, beir, tmp_path):
    result = call("run", recipe, "--json", "--quiet")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["model"] == "runs/small/model"
    assert found["steps"] == 2
    assert {source["source"]: source["pairs"] for source in found["sources"]} == {"a": 40, "b": 20}
    assert found["scores"]["base"]["beir:beir"] == found["scores"]["base"]["mean"]
    assert found["scores"]["model"] != found["scores"]["base"]
    assert Encoder.load(tmp_path / "runs/small/model", device="cpu").dim == 32
    again = call("run", recipe, "--quiet")
    assert "runs/small/model: 2 steps, trained before" in again.stdout
    other = call("run", recipe, "--set", "loss.temperature=0.1", "--quiet")
    assert other.exit_code == 2
    assert "loss.temperature is 0.1 here and 0.05 there" in other.stderr


def test_scores_are_those_of_the_product(beir, tiny, config, monkeypatch):
    monkeypatch.chdir(beir.parent)
    evaluation = config(evaluation={"tasks": ["beir:beir"]}).evaluation
    scores = TaskScores(evaluation, "cpu")
    first = scores(tiny)
    assert first == scores(tiny)
    assert 0 < first["mean"] < 1


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("run", "nix"), 2, "nix is neither a file nor a recipe; the recipes are medembed, medte, minilm"),
        (("run", "small.toml", "--pairs", "missing"), 7, "missing: does not exist"),
        (("run", "small.toml", "--set", 'evaluation.tasks=["Nix"]'), 2, "evaluation.tasks: unknown task 'Nix'"),
        (("run", "small.toml", "--set", "evaluation.score=other"), 2, "evaluation.score is 'other'"),
        (("run", "small.toml", "--pairs", "empty.jsonl"), 7, "there is no pair to train on"),
        (("run", "small.toml", "--pairs", "small.toml"), 7, "small.toml:1: not JSON"),
        (("run", "small.toml", "--set", "model.base=nix"), 4, "'nix' is neither a model of the registry"),
        (("run", "small.toml", "--set", "model.max_tokens=900"), 2, "max_tokens is 900"),
        (("run", "small.toml", "--out", "small.toml"), 2, "is a file"),
        (("recipes", "nix"), 2, "recipe 'nix' is unknown"),
    ],
)
def test_what_cannot_be_is_told(call, recipe, beir, words, status, message):
    result = call(*words)
    assert result.exit_code == status, result.stderr
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_recipes_are_listed_and_printed(call):
    assert call("recipes").stdout.splitlines()[1].startswith("medte     MedTE's recipe")
    assert "[optimiser]" in call("recipes", "medte").stdout


def test_a_model_can_be_averaged_with_its_base(call, recipe, beir, tmp_path, tiny):
    change = ["--set", "loss.matryoshka=[32, 8]", "--set", "output.truncate_dim=8"]
    assert call("run", recipe, "--quiet", *change).exit_code == 0
    result = call("average", "runs/small/model", "--base", tiny, "--base-share", "0.25", "--out", "between")
    assert result.exit_code == 0, result.stderr
    base, trained, found = (load_file(f"{one}/model.safetensors") for one in (tiny, "runs/small/model", "between"))
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, 0.75 * trained[name] + 0.25 * base[name])
    assert Encoder.load("between", device="cpu").dim == 8
    assert "| **this model** |" in (tmp_path / "runs/small/model/README.md").read_text()
    card = (tmp_path / "between" / "README.md").read_text()
    assert card.index("averaged with those of tiny, which got a share of 0.25") < card.index("## Data")
    assert "this model" not in card
    assert "## Settings" in card
    again = call("average", "runs/small/model", "--base", tiny, "--base-share", "0.25", "--out", "between")
    assert again.exit_code == 2
    assert "between exists" in again.stderr
    other = call("average", "runs/small/model", "--base", "minilm", "--base-share", "0.25", "--out", "other")
    assert other.exit_code == 4
    assert "do not have the same weights" in other.stderr
