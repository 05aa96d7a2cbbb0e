"""Configurations: the shipped ones load, and what is wrong with one is told by key, value and fix."""

import pytest

from medte_haystack.errors import TrainingConfigError
from medte_haystack.training.config_file import differences, load_config
from medte_train.recipes import recipes


@pytest.mark.parametrize("name", recipes())
def test_shipped_recipes_load(name):
    assert load_config(recipes()[name]).run


def test_medte_s_recipe_is_the_specified_one():
    config = load_config(recipes()["medte"])
    assert (config.batches.size, config.loss.temperature, config.loss.symmetric) == (800, 0.07, False)
    assert (config.optimiser.learning_rate, config.optimiser.warmup, config.optimiser.schedule) == (
        5e-5,
        1000,
        "constant",
    )
    assert (config.model.max_tokens, config.model.pooling, config.optimiser.clip) == (512, "mean", 0)


def test_medembed_s_recipe_is_the_specified_one():
    config = load_config(recipes()["medembed"])
    assert (config.batches.size, config.batches.smallest, config.loss.temperature) == (32, 32, 0.02)
    assert (config.model.anchor_max_tokens, config.model.max_tokens, config.data.negatives) == (128, 256, 1)
    assert (config.optimiser.learning_rate, config.optimiser.warmup, config.run.epochs) == (2e-5, 0.05, 3)


def written(tmp_path, text):
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run]\nsteps = 5\n[los]\ntemperature = 1", "los: there is no such key; do you mean loss?"),
        ("[run]\nsteps = 5\n[loss]\ntemprature = 1", "loss.temprature: there is no such key; do you mean temperature?"),
        ("[run]\nsteps = 5\n[loss]\nxyz = 1", "loss.xyz: there is no such key; there are temperature, symmetric"),
        ("[run]\nsteps = 0", "run.steps = 0: input should be greater than or equal to 1"),
        ("[run]\nsteps = 5\n[loss]\ntemperature = 'hot'", "loss.temperature = 'hot': input should be a valid number"),
        ("[run]\nsteps = 5\nprecision = 'fp16'", "run.precision = 'fp16': input should be 'bf16' or 'fp32'"),
        ("[run]\nsteps = 5\nepochs = 1.0", "run: steps is 5 and epochs 1.0; give one of them"),
        ("", "run: steps is None and epochs None; give one of them"),
        ("[run]\nsteps = 5\n[batches]\nsize = 4\nsmallest = 5", "batches.smallest is 5 and batches.size 4"),
        ("[run]\nsteps = 5\n[data]\nweights = {a = 0}", "data.weights.a = 0: input should be greater than 0"),
        (
            "[run]\nsteps = 5\n[data]\none_source_per_batch = false\nmixing_temperature = 2",
            "data.mixing_temperature are for batches of one source",
        ),
        ("[run]\nsteps = 5\n[loss]\nmatryoshka = [8, 8]", "loss.matryoshka is [8, 8]; name each dimension once"),
        ("[run]\nsteps = 5\n[loss]\nmatryoshka = [8]\nmatryoshka_weights = [1, 2]", "are 2 for 1 dimensions"),
        ("[run]\nsteps = 5\n[evaluation]\nevery = 5", "evaluation: every is given without tasks"),
        ("[run]\nsteps = 5\n[evaluation]\ntasks = ['T']\npatience = 2", "keep_best and patience need every"),
        (
            "[run]\nsteps = 5\n[evaluation]\ntasks = ['T']\nevery = 2\nkeep_best = true\n[checkpoints]\nevery = 3",
            "checkpoints.every is 3 and evaluation.every 2",
        ),
    ],
)
def test_what_is_wrong_is_told_by_key_value_and_fix(tmp_path, text, message):
    with pytest.raises(TrainingConfigError) as caught:
        load_config(written(tmp_path, text))
    assert message in str(caught.value)
    assert "run.toml cannot be used" in str(caught.value)


def test_all_that_is_wrong_is_told_at_once(tmp_path):
    with pytest.raises(TrainingConfigError) as caught:
        load_config(written(tmp_path, "[run]\nsteps = 0\n[batches]\nsize = 1"))
    assert "run.steps = 0" in str(caught.value)
    assert "batches.size = 1" in str(caught.value)


@pytest.mark.parametrize("content", [b"[run", b"\xff\xfe", None])
def test_a_file_that_is_no_toml_is_told(tmp_path, content):
    path = tmp_path / "run.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TrainingConfigError, match=r"run\.toml (is no TOML|cannot be read)"):
        load_config(path)


def test_keys_can_be_changed(tmp_path):
    path = written(tmp_path, "[run]\nsteps = 5\n[loss]\ntemperature = 0.1\n")
    changes = ["run.steps=", "run.epochs=2", "model.base=gte-base", 'data.pairs=["a", "b"]', "loss.symmetric=true"]
    config = load_config(path, changes)
    assert (config.run.steps, config.run.epochs, config.model.base) == (None, 2, "gte-base")
    assert (config.data.pairs, config.loss.symmetric, config.loss.temperature) == (("a", "b"), True, 0.1)


@pytest.mark.parametrize("change", ["loss", "=3", "loss..x=3", "run.steps.x=3"])
def test_a_change_that_is_none_is_told(tmp_path, change):
    with pytest.raises(TrainingConfigError, match="change"):
        load_config(written(tmp_path, "[run]\nsteps = 5"), [change])


def test_differences_name_both_values():
    ours = {"config": {"run": {"steps": 5, "workers": 2}, "loss": {"t": 1}}, "pairs": "a"}
    theirs = {"config": {"run": {"steps": 6, "workers": 0}, "loss": {"t": 1}}}
    assert differences(ours, theirs) == [("config.run.steps", 5, 6), ("pairs", "a", None)]
