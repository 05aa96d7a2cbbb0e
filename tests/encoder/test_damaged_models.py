"""Model folders that are incomplete, damaged or not to be trusted."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from medte_haystack.encoder import Encoder
from medte_haystack.errors import ModelError


def load(folder) -> Encoder:
    return Encoder.load(str(folder), device="cpu")


def test_a_folder_without_config(tiny):
    (tiny / "config.json").unlink()
    with pytest.raises(ModelError, match=r"no model folder: config.json with hidden_size is missing.*medte"):
        load(tiny)


@pytest.mark.parametrize("text", ["{", "\x00", ""])
def test_a_config_that_is_no_json(tiny, text):
    (tiny / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json is not valid JSON"):
        load(tiny)


@pytest.mark.parametrize("text", ["[]", '"bert"'])
def test_a_config_that_is_no_object(tiny, text):
    (tiny / "config.json").write_text(text)
    with pytest.raises(ModelError, match=r"config\.json holds no JSON object"):
        load(tiny)


def test_dimensions_that_are_no_number(tiny, edit_json):
    edit_json(tiny / "config.json", hidden_size="many")
    with pytest.raises(ModelError, match="hidden_size"):
        load(tiny)


def test_pickled_weights_are_not_loaded(tiny):
    torch.save(load_file(tiny / "model.safetensors"), tiny / "pytorch_model.bin")
    (tiny / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors; pickled weights .* unpickling runs code"):
        load(tiny)


@pytest.mark.parametrize("kept", [0, 7, 200, 100_000])
def test_weights_that_were_cut(tiny, kept):
    weights = tiny / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(tiny)


def test_weights_that_lack_tensors(tiny):
    tensors = load_file(tiny / "model.safetensors")
    lost = [name for name in tensors if "layer.1.attention" in name]
    save_file(
        {name: tensor for name, tensor in tensors.items() if name not in lost},
        tiny / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(ModelError, match=f"lack {len(lost)} tensors") as caught:
        load(tiny)
    assert sorted(caught.value.missing) == sorted(lost)


def test_weights_of_another_shape(tiny, edit_json):
    edit_json(tiny / "config.json", intermediate_size=128)
    with pytest.raises(
        ModelError, match=r"do not fit config\.json: .*intermediate.* has shape \(64, 32\), not \(128, 32\)"
    ):
        load(tiny)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_hidden_layers", None),
        ("num_hidden_layers", "two"),
        ("intermediate_size", 0),
        ("num_attention_heads", -1),
        ("type_vocab_size", 2.5),
        ("max_position_embeddings", True),
        ("layer_norm_eps", "small"),
    ],
)
def test_numbers_that_are_none(tiny, edit_json, key, value):
    edit_json(tiny / "config.json", **{key: value})
    with pytest.raises(ModelError, match=rf"config\.json: {key} is {value!r}, not a number above 0") as caught:
        load(tiny)
    assert (caught.value.key, caught.value.value) == (key, value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("lost", ["layer.1.attention.self.key.weight", "embeddings.word_embeddings.weight"])
@pytest.mark.parametrize("act", ["gelu", "relu"])
def test_weights_that_are_no_numbers(tiny, edit_json, lost, value, act):
    edit_json(tiny / "config.json", hidden_act=act)  # relu is computed by sentence-transformers
    tensors = load_file(tiny / "model.safetensors")
    (name,) = [name for name in tensors if name.endswith(lost)]
    tensors[name][3, 3] = value
    save_file(tensors, tiny / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=rf"are damaged: .*{lost} holds NaN or infinite numbers; fetch") as caught:
        load(tiny)
    assert caught.value.tensor.endswith(lost)


def in_parts(folder) -> dict[str, str]:
    """Save a model's weights as hubs hold large ones; return each tensor's file."""
    tensors = {name: tensor.half() for name, tensor in load_file(folder / "model.safetensors").items()}
    files = {name: f"model-0000{1 + number % 2}-of-00002.safetensors" for number, name in enumerate(sorted(tensors))}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in tensors if files[name] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    return files


def test_weights_in_half_precision_and_in_parts(tiny):
    texts = ["fever", "What causes acromegaly?"]
    whole = Encoder.load(str(tiny), device="cpu", precision="fp32").encode(texts)
    in_parts(tiny)
    parts = Encoder.load(str(tiny), device="cpu", precision="fp32")
    assert len(parts.files.weights()) == 2
    assert (parts.encode(texts) * whole).sum(axis=1).min() >= 0.9999


@pytest.mark.parametrize("lost", ["model-00002-of-00002.safetensors", "../model.safetensors"])
def test_a_part_that_is_missing(tiny, lost):
    files = in_parts(tiny)
    if lost in files.values():
        (tiny / lost).unlink()
    else:
        (tiny / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(files, lost)}))
    with pytest.raises(ModelError, match=f"lacks the weights {lost}, which model.safetensors.index.json names"):
        load(tiny)


def test_other_weights_beside_the_model_are_left_alone(tiny):
    expected = load(tiny).encode(["fever"])
    (tiny / "model_quantized.safetensors").write_bytes(b"of another library")
    np.testing.assert_array_equal(load(tiny).encode(["fever"]), expected)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float8_e4m3fn])
def test_weights_that_are_quantised(tiny, dtype):
    tensors = load_file(tiny / "model.safetensors")
    changed = {name: tensor.to(dtype) if "query.weight" in name else tensor for name, tensor in tensors.items()}
    save_file(changed, tiny / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"are quantised .*query\.weight is torch"):
        load(tiny)


def test_an_unknown_architecture(tiny, edit_json):
    edit_json(tiny / "config.json", model_type="never-heard-of")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(tiny)


@pytest.mark.parametrize("model_type", ["bert", "evil"])
@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_code_of_a_model_is_never_run(tiny, edit_json, model_type, with_tokenizer):
    witness = tiny / "it-ran"
    (tiny / "evil.py").write_text(f"open({str(witness)!r}, 'w').close()\nclass C: pass\nM = T = C\n")
    auto = {"AutoConfig": "evil.C", "AutoModel": "evil.M"}
    edit_json(tiny / "config.json", model_type=model_type, auto_map=auto)
    edit_json(tiny / "tokenizer_config.json", tokenizer_class="T", auto_map={"AutoTokenizer": ["evil.T", None]})
    if not with_tokenizer:
        vocabulary = json.loads((tiny / "tokenizer.json").read_text())["model"]["vocab"]
        (tiny / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
        (tiny / "tokenizer.json").unlink()
    if model_type == "bert" and with_tokenizer:
        assert load(tiny).encode(["fever"]).shape == (1, 32)  # a plain BERT in spite of what else it says
    else:
        with pytest.raises(ModelError, match="cannot be loaded"):
            load(tiny)
    assert not witness.exists()


class TestTokenizer:
    def test_is_missing(self, tiny):
        (tiny / "tokenizer.json").unlink()
        with pytest.raises(ModelError, match=r"neither tokenizer\.json nor vocab\.txt"):
            load(tiny)

    @pytest.mark.parametrize("text", ["", "{}", '{"version": ', "[1]"])
    def test_is_damaged(self, tiny, text):
        (tiny / "tokenizer.json").write_text(text)
        with pytest.raises(ModelError, match=r"tokenizer\.json cannot be loaded"):
            load(tiny)

    def test_has_a_damaged_vocabulary(self, tiny):
        (tiny / "tokenizer.json").unlink()
        (tiny / "vocab.txt").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ModelError, match=r"vocab\.txt cannot be loaded"):
            load(tiny)

    def test_knows_more_tokens_than_the_model(self, tiny, edit_json):
        edit_json(tiny / "config.json", vocab_size=30521)
        with pytest.raises(ModelError, match="token ids up to 30521, the model knows 30521"):
            load(tiny)

    def test_frames_no_text(self, tiny, edit_json):
        edit_json(tiny / "tokenizer.json", post_processor=None)
        with pytest.raises(ModelError, match="0 special tokens; BERT-shaped models have two"):
            load(tiny)

    def test_a_vocabulary_alone_is_enough(self, tiny, minilm_folder, texts):
        with_json = load(tiny).tokeniser(texts)
        (tiny / "tokenizer.json").unlink()
        shutil.copy(minilm_folder / "vocab.txt", tiny)
        assert load(tiny).tokeniser(texts) == with_json


@pytest.mark.parametrize("modules", ['{"type": "Transformer"}', "[1]", '[{"path": ""}]', "null"])
def test_a_list_of_modules_that_is_none(tiny, modules):
    (tiny / "modules.json").write_text(modules)
    with pytest.raises(ModelError, match=r"modules\.json is no list of modules"):
        load(tiny)


@pytest.mark.parametrize("prompts", [["query: "], "query: "])
def test_prompts_that_are_no_object(tiny, edit_json, prompts):
    edit_json(tiny / "config_sentence_transformers.json", prompts=prompts)
    with pytest.raises(ModelError, match=r"prompts is .*, not an object"):
        load(tiny)
