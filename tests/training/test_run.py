"""Whole runs of a tiny model: what they leave, and that one that was ended goes on with the same bits."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer

from medte_haystack.encoder import Encoder
from medte_haystack.errors import TrainingConfigError, TrainingOutputError
from medte_haystack.index import Fingerprint
from medte_haystack.training import checks
from medte_haystack.training.run import train

from .small import pairs_of

ROOT = Path(__file__).resolve().parents[2]
TWO = """
import os
from pathlib import Path
import torch
from medte_haystack.training.config import Config
from medte_haystack.training.locality import Localities
from medte_haystack.training.run import train
from tests.training.small import pairs_of
torch.set_num_threads(1)
if os.environ["RANK"] == "1":  # as if sums were rounded otherwise there
    own = Localities._labels
    Localities._labels = lambda *given: own(*given)[::-1].copy()
pairs = [*pairs_of("a", 60, negatives=2), *pairs_of("a", 70, negatives=1)[60:]]
train(Config.model_validate_json({config!r}), pairs, Path({folder!r}))
"""
PAIRS = [*pairs_of("a", 60, negatives=1), *pairs_of("b", 30)]


def weights(folder):
    return load_file(folder / "model.safetensors")


def assert_same(first: Path, second: Path):
    """Check that two runs' models and last checkpoints are the same to the bit."""
    for folder in ("model", "checkpoint-6"):
        ours, theirs = weights(first / folder), weights(second / folder)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        states = [torch.load(folder / "checkpoint-6" / name, weights_only=False) for folder in (first, second)]
        assert_equal(*states)
    lines = [
        [line for line in (folder / "log.jsonl").read_text().splitlines() if "train_loss" not in line]
        for folder in (first, second)
    ]
    assert lines[0] == lines[1]


def assert_equal(first, second):
    """Compare nested values."""
    assert type(first) is type(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_equal(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_equal(one, other)
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, np.ndarray):
        assert np.array_equal(first, second)
    else:
        assert first == second


def ended_after(folder: Path, step: int, place: Path) -> Path:
    """Copy a run as it was when only the checkpoints up to a step were written."""
    shutil.copytree(folder, place)
    shutil.rmtree(place / "model")
    for path in place.glob("checkpoint-*"):
        if int(path.name.partition("-")[2]) > step:
            shutil.rmtree(path)
    return place


@pytest.fixture
def trained(config, tmp_path):
    """A whole run of six steps."""
    train(config(), PAIRS, tmp_path / "whole")
    return tmp_path / "whole"


def test_a_run_leaves_a_model_that_encoders_load(config, tmp_path, tiny):
    settings = config(data={"negatives": 1}, output={"licence": "apache-2.0"}, evaluation={"tasks": ["T"], "every": 2})
    asked = []

    def evaluate(folder):
        asked.append(Encoder.load(folder, device="cpu", precision="fp32").encode(["gout"])[0])
        return {"T": 0.25 * len(asked), "mean": 0.25 * len(asked)}

    found = train(settings, PAIRS, tmp_path / "run", evaluate)
    assert found.steps == 6
    assert not found.before
    assert [source["share"] for source in found.sources] == [0.6667, 0.3333]
    assert found.scores == {"base": {"T": 0.25, "mean": 0.25}, "model": {"T": 1.25, "mean": 1.25}}
    encoder = Encoder.load(found.folder, device="cpu", precision="fp32")
    assert np.allclose(encoder.encode(["gout"])[0], asked[-1])
    theirs = SentenceTransformer(str(found.folder), device="cpu").encode([pair.anchor for pair in PAIRS])
    assert np.allclose(encoder.encode([pair.anchor for pair in PAIRS]), theirs, atol=1e-5)
    assert not np.allclose(asked[0], asked[-1], atol=1e-3)
    card = (found.folder / "README.md").read_text()
    assert 'license: "apache-2.0"' in card
    assert "| a | 60 | 66.7% | 60 | 0 |" in card
    assert "| base model | 0.2500 | 0.2500 |" in card
    assert "| step 4 | 0.7500 | 0.7500 |" in card
    assert "| **this model** | 1.2500 | 1.2500 |" in card
    assert not any(pair.anchor in card or pair.positive in card for pair in PAIRS)
    assert str(tiny) not in card
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5, 6]
    assert [line["eval_T"] for line in lines if "eval_T" in line] == [0.5, 0.75, 1.0]
    assert list((tmp_path / "run" / "logs").iterdir())


def test_training_lowers_the_loss(config, tmp_path):
    train(config(run={"steps": 60}, loss={"mini_batch": 8}, checkpoints={"every": 100}), PAIRS, tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()[:60]]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.3


@pytest.mark.parametrize(
    "tables",
    [
        {},
        {"run": {"precision": "bf16", "gradient_checkpointing": True}},
        {"loss": {"mini_batch": 8, "matryoshka": [32, 16]}, "output": {"base_share": 0.5}},
        {
            "data": {"negatives": 1, "mixing_temperature": 3.0},
            "batches": {"kind": "locality", "rows_per_cluster": 20, "smallest": 2},
            "optimiser": {"schedule": "cosine", "warmup": 3, "warmup_shape": "log"},
        },
    ],
)
@pytest.mark.parametrize("step", [2, 4])
def test_a_run_goes_on_with_the_same_bits(config, tmp_path, monkeypatch, tables, step):
    monkeypatch.setenv("MEDTE_CACHE", str(tmp_path / "cache"))
    train(config(**tables), PAIRS, tmp_path / "whole")
    ended = ended_after(tmp_path / "whole", step, tmp_path / "ended")
    torch.rand(5)  # whatever else the process has drawn
    found = train(config(**tables), PAIRS, ended)
    assert found.steps == 6
    assert_same(tmp_path / "whole", ended)


def test_evaluating_changes_nothing_of_the_training(config, tmp_path, trained):
    def evaluate(folder):
        torch.manual_seed(0)
        np.random.seed(0)
        return {"T": 0.5, "mean": 0.5}

    train(config(evaluation={"tasks": ["T"], "every": 1}), PAIRS, tmp_path / "other", evaluate)
    ours, theirs = weights(trained / "model"), weights(tmp_path / "other" / "model")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_finished_run_is_not_done_again(config, trained):
    before = (trained / "model" / "model.safetensors").stat().st_mtime_ns
    assert train(config(), PAIRS, trained).before
    assert (trained / "model" / "model.safetensors").stat().st_mtime_ns == before


def test_half_a_checkpoint_is_not_gone_on_from(config, tmp_path, trained):
    ended = ended_after(trained, 6, tmp_path / "ended")
    state = ended / "checkpoint-6" / "trainer_state.json"
    state.write_text(state.read_text()[:-100])
    shutil.rmtree(ended / "checkpoint-4" / "1_Pooling")
    (ended / "checkpoint-4" / "trainer_state.json").unlink()
    train(config(), PAIRS, ended)
    assert_same(trained, ended)


def test_another_run_s_checkpoint_is_refused(config, tmp_path, trained):
    ended = ended_after(trained, 4, tmp_path / "ended")
    other = config(loss={"temperature": 0.07}, optimiser={"learning_rate": 2e-3})
    with pytest.raises(TrainingConfigError, match=r"loss\.temperature is 0\.07 here and 0\.05 there.*learning_rate is"):
        train(other, PAIRS, ended)
    with pytest.raises(TrainingConfigError, match=r"pairs_sha256 is \".* here and \".* there"):
        train(config(), PAIRS[1:], ended)
    with pytest.raises(TrainingConfigError, match=r"run\.steps is 8 here and 6 there"):
        train(config(run={"steps": 8}), PAIRS, trained)
    train(config(run={"log_every": 5, "workers": 1}, checkpoints={"every": 5}), PAIRS, ended)  # decide nothing
    assert (ended / "checkpoint-5").is_dir()
    lines = [json.loads(line) for line in (ended / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4, 5]
    ours, theirs = weights(trained / "model"), weights(ended / "model")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_two_runs_do_not_share_a_folder(config, tmp_path):
    def evaluate(folder):
        with pytest.raises(TrainingConfigError, match="another run writes to"):
            train(settings, PAIRS, tmp_path, evaluate)
        return {"T": 0.5, "mean": 0.5}

    settings = config(evaluation={"tasks": ["T"]}, run={"steps": 1})
    train(settings, PAIRS, tmp_path, evaluate)


def test_the_best_weights_are_kept_and_training_stops(config, tmp_path):
    scores = iter([0.1, 0.2, 0.5, 0.4, 0.3, 0.5])  # of the base, and after 1, 2, 3, 4 steps; of the model
    evaluation = {"tasks": ["T"], "every": 1, "keep_best": True, "patience": 2, "score": "T"}
    settings = config(evaluation=evaluation, checkpoints={"every": None, "keep": 3}, run={"steps": 50})
    found = train(settings, PAIRS, tmp_path, lambda folder: {"T": next(scores), "mean": 0.0})
    assert found.steps == 4
    best, last = weights(tmp_path / "checkpoint-2"), weights(tmp_path / "model")
    assert all(torch.equal(best[name], last[name]) for name in best)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "The weights were chosen by them (T), so they are no test" in card
    assert "compared with any evaluation data" in card

    shutil.rmtree(tmp_path / "model")  # as if the disk had been full
    again = train(settings, PAIRS, tmp_path, lambda folder: {"T": 0.9, "mean": 0.0})
    assert again.steps == 4
    last = weights(tmp_path / "model")
    assert all(torch.equal(best[name], last[name]) for name in best)


def test_the_best_weights_are_found_where_a_run_was_moved_to(config, tmp_path):
    def scored(scores):
        return lambda folder: {"T": next(scores), "mean": 0.0}

    settings = config(
        evaluation={"tasks": ["T"], "every": 1, "keep_best": True, "score": "T"}, checkpoints={"every": None}
    )
    train(settings, PAIRS, tmp_path / "a", scored(iter([0.1, 0.5, 0.2, 0.2, 0.2, 0.2, 0.2, 0.5])))
    moved = ended_after(tmp_path / "a", 6, tmp_path / "b")
    shutil.rmtree(tmp_path / "a")
    shutil.copytree(moved, tmp_path / "c")
    train(settings, PAIRS, moved, scored(iter([0.5])))
    best, last = weights(moved / "checkpoint-1"), weights(moved / "model")
    assert all(torch.equal(best[name], last[name]) for name in best)

    shutil.rmtree(tmp_path / "c" / "checkpoint-1")
    with pytest.raises(TrainingConfigError, match="checkpoint-1, which has the best weights so far, is gone"):
        train(settings, PAIRS, tmp_path / "c", scored(iter([0.3] * 4)))


@pytest.mark.parametrize("every", [2, 100])
def test_weights_that_are_no_numbers_are_not_written(config, tmp_path, every):
    settings = config(
        optimiser={"learning_rate": 1e9, "clip": 0, "warmup": 0}, run={"log_every": 50}, checkpoints={"every": every}
    )
    with pytest.raises(TrainingConfigError, match=f"a weight is not finite at step {min(every, 6)}; lower"):
        train(settings, PAIRS, tmp_path)
    assert not [*tmp_path.glob("checkpoint-*"), *tmp_path.glob("model")]


def test_hard_negatives_that_are_not_used_are_told(config, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(checks, "logger", logging.getLogger("checked"))
    train(config(run={"steps": 1}), PAIRS, tmp_path)
    assert "hard negatives of 60 pairs are not used: data.negatives is 0" in caplog.text


def test_the_base_has_its_share(config, tmp_path, tiny, trained):
    train(config(output={"base_share": 0.25}), PAIRS, tmp_path / "averaged")
    base, whole, found = weights(tiny), weights(trained / "model"), weights(tmp_path / "averaged" / "model")
    for name, one in found.items():
        torch.testing.assert_close(one, 0.75 * whole[name] + 0.25 * base[name])


def test_encoders_keep_the_dimensions_that_the_model_s_files_say(config, tmp_path):
    settings = config(loss={"matryoshka": [32, 16]}, output={"truncate_dim": 16})
    found = train(settings, PAIRS, tmp_path)
    stated = json.loads((found.folder / "config_sentence_transformers.json").read_text())
    assert stated["truncate_dim"] == 16
    encoder = Encoder.load(found.folder, device="cpu")
    assert encoder.encode(["gout"]).shape == (1, 16)
    assert Fingerprint.of_encoder(encoder).dim == 16  # which makes the index's mapping


def test_two_devices_learn_what_one_does_of_pairs_with_all_negatives(config, tiny, tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTE_CACHE", str(tmp_path / "cache"))
    settings = config(
        model={"dropout": 0.0},  # which would be another on each
        run={"steps": 3},
        data={"negatives": 2, "weights": {"a": 2.0}},
        batches={"kind": "locality", "rows_per_cluster": 20, "first_clusters": 3, "cluster_model": str(tiny)},
    )
    train(settings, pairs_of("a", 60, negatives=2), tmp_path / "one")
    program = tmp_path / "two.py"
    program.write_text(TWO.format(config=settings.model_dump_json(), folder=str(tmp_path / "two")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(program)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert json.loads((tmp_path / "two" / "run.json").read_text())["devices"] == 2
    ours, theirs = weights(tmp_path / "one" / "model"), weights(tmp_path / "two" / "model")
    for name, one in ours.items():
        torch.testing.assert_close(one, theirs[name], atol=1e-5, rtol=0)
    assert any(not torch.allclose(one, weights(tiny)[name], atol=1e-4) for name, one in ours.items())


def test_one_source_suffices(config, tmp_path):
    found = train(config(data={"mixing_temperature": 4.0}), pairs_of("a", 20), tmp_path)
    assert [source["share"] for source in found.sources] == [1.0]


def test_batches_can_be_of_all_sources(config, tmp_path):
    found = train(config(data={"one_source_per_batch": False}), PAIRS, tmp_path)
    assert [source["share"] for source in found.sources] == [0.6667, 0.3333]


def test_epochs_are_batches_of_all_sources(config, tmp_path):
    found = train(config(run={"steps": None, "epochs": 2}), PAIRS, tmp_path)
    assert found.steps == 2 * (60 // 8 + 1 + 30 // 8 + 1)  # rests of 4 and 6 are at least half of 8


@pytest.fixture
def small_disk(tmp_path, trained):
    """A disk that holds one checkpoint, and not two."""
    folder = tmp_path / "disk"
    folder.mkdir()
    size = int(1.7 * sum(path.stat().st_size for path in (trained / "checkpoint-2").iterdir()))
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_leaves_what_is_whole(config, trained, small_disk):
    with pytest.raises(TrainingOutputError, match=r"checkpoint-4 cannot be written: .*; free space"):
        train(config(), PAIRS, small_disk / "run")
    assert [path.name for path in (small_disk / "run").glob("checkpoint-*")] == ["checkpoint-2"]
    subprocess.run(["mount", "-o", "remount,size=80m", str(small_disk)], check=True)
    train(config(), PAIRS, small_disk / "run")
    assert_same(trained, small_disk / "run")


def test_a_device_that_is_not_there_is_refused(config, tmp_path, monkeypatch):
    monkeypatch.setattr(checks.torch.cuda, "is_available", lambda: False)
    with pytest.raises(TrainingConfigError, match=r"run\.device is 'cuda'"):
        train(config(run={"device": "cuda"}), PAIRS, tmp_path)


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"data": {"weights": {"c": 2.0}}}, "data.weights names 'c', which is no source; there are a, b"),
        ({"data": {"negatives": 1}}, "data.negatives is 1, and no pair has hard negatives"),
        ({"output": {"truncate_dim": 33}}, "output.truncate_dim is 33, and the model has 32 dimensions"),
        ({"evaluation": {"tasks": ["T"]}}, "evaluation.tasks are named, and nothing is given that runs them"),
        ({"loss": {"matryoshka": [64, 32]}}, "loss.matryoshka is"),
        ({"optimiser": {"learning_rate": 1e9, "clip": 0, "warmup": 0}}, "the loss is nan at step"),
    ],
)
def test_what_does_not_fit_is_told(config, tmp_path, tables, message):
    with pytest.raises(TrainingConfigError) as caught:
        train(config(**tables), [*pairs_of("a", 20), *pairs_of("b", 20)], tmp_path)
    assert message in str(caught.value)
