"""Models of other shapes than BERT's: tiny random ones, against sentence-transformers itself."""

import importlib
import json
import logging
import sys

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from medte_haystack.encoder import ModelFiles, Tokeniser, locate
from medte_haystack.encoder.backends import cpu
from medte_haystack.encoder.backends.choose import choose
from medte_haystack.encoder.backends.sentence_transformers import SentenceTransformersBackend
from medte_haystack.errors import EncoderOptionError, ModelError

LOGGER = "medte_haystack.encoder.backends.choose"

SENTENCE = "acromegaly is a disorder of growth that begins in adulthood often late fever and chills what causes it"
TEXTS = ["what causes acromegaly", SENTENCE, "fever", "", "fever and chills " * 8, "unheard of"]
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
}
KINDS = {
    "distilbert": ("DistilBert", {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64}),
    "mpnet": ("MPNet", SHAPE),
    "roberta": ("Roberta", SHAPE),
    "xlm-roberta": ("XLMRoberta", {**SHAPE, "type_vocab_size": 1}),
    "bert": ("Bert", {**SHAPE, "hidden_act": "relu"}),
}


def write_model(folder, kind, pad):
    name, shape = KINDS[kind]
    special = ["<s>", "</s>", "<unk>"]
    special.insert(pad, "<pad>")
    vocabulary = {word: number for number, word in enumerate([*special, *SENTENCE.split()])}
    torch.manual_seed(11)
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(vocabulary), pad_token_id=pad, bos_token_id=vocabulary["<s>"], **shape
    )
    getattr(transformers, f"{name}Model")(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", vocabulary["<s>"]), ("</s>", vocabulary["</s>"])]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    stated = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 64, "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(stated))


@pytest.fixture
def make(tmp_path):
    def make(kind, pad=1):
        folder = tmp_path / kind
        folder.mkdir()
        write_model(folder, kind, pad)
        return folder

    return make


def embed(files: ModelFiles, texts, **options) -> np.ndarray:
    backend = choose(files, options.get("device", "cpu"), options.get("precision", "auto"))
    (vectors,) = backend.embed([Tokeniser.of(files)(texts).ids])
    return vectors


def theirs(folder, pooling, texts) -> np.ndarray:
    modules = importlib.import_module("sentence_transformers.sentence_transformer.modules")
    chain = [modules.Transformer(str(folder)), modules.Pooling(32, pooling)]
    return SentenceTransformer(modules=chain, device="cpu").encode(texts, normalize_embeddings=True)


def cosines(left, right):
    return (left * right).sum(axis=-1)


@pytest.mark.parametrize("pad", [0, 1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_those_of_sentence_transformers(make, kind, pad):
    folder = make(kind, pad)
    vectors = embed(locate(str(folder)), TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert cosines(vectors, theirs(folder, "mean", TEXTS)).min() >= 0.99999


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "xlm-roberta"])
def test_a_folder_written_by_sentence_transformers(make, tmp_path, kind):
    source = make(kind)
    saved = tmp_path / "saved"
    modules = importlib.import_module("sentence_transformers.sentence_transformer.modules")
    model = SentenceTransformer(
        modules=[modules.Transformer(str(source)), modules.Pooling(32, "cls"), modules.Normalize()], device="cpu"
    )
    model.save(str(saved))
    files = locate(str(saved))
    assert files.spec.pooling == "cls"
    assert cosines(embed(files, TEXTS), model.encode(TEXTS)).min() >= 0.99999


def test_pooling_of_a_folder_without_modules(make, edit_json):
    folder = make("roberta")
    edit_json(folder / "1_Pooling" / "config.json", pooling_mode="cls")
    vectors = embed(locate(str(folder)), TEXTS)
    assert cosines(vectors, theirs(folder, "cls", TEXTS)).min() >= 0.99999
    assert cosines(vectors, theirs(folder, "mean", TEXTS)).min() < 0.999


@pytest.mark.parametrize("kind", ["mpnet", "xlm-roberta"])
def test_the_longest_text_alone_and_beside_others(make, kind):
    files = locate(str(make(kind)))
    backend = choose(files, "cpu", "fp32")
    ids = Tokeniser.of(files)(["growth " * 100, "fever", "and " * 61]).ids
    assert list(map(len, ids)) == [64, 3, 63]
    (together,) = backend.embed([ids])
    for one, vector in zip(ids, together, strict=True):
        assert cosines(backend.embed_one(one), vector) >= 0.99999
    assert backend.embed_one(ids[0]).shape == (32,)


@pytest.mark.parametrize("pad", [0, 1, 3])
@pytest.mark.parametrize("kind", ["mpnet", "roberta", "xlm-roberta", "distilbert"])
def test_no_text_is_longer_than_the_models_positions(make, kind, pad):
    """RoBERTa and its kin number positions from behind the padding token's id."""
    folder = make(kind, pad)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    files = locate(str(folder))
    positions = 512 if kind == "distilbert" else 66 - 1 - max(pad, 1)
    assert files.spec.max_tokens == positions
    ids = Tokeniser.of(files)(["growth " * 600]).ids
    assert len(ids[0]) == positions
    assert choose(files, "cpu", "fp32").embed_one(ids[0]).shape == (32,)
    with pytest.raises(EncoderOptionError, match=f"takes 3 to {positions}"):
        Tokeniser.of(files, positions + 1)


def test_batches_in_order(make):
    backend = choose(locate(str(make("distilbert"))), "cpu", "fp32")
    batches = [[[0, 5 + number, 2]] for number in range(6)]
    for batch, vectors in zip(batches, backend.embed(iter(batches)), strict=True):
        np.testing.assert_allclose(vectors[0], backend.embed_one(batch[0]), atol=1e-6)


def test_it_says_so_once(make, caplog):
    files = locate(str(make("mpnet")))
    with caplog.at_level(logging.INFO, LOGGER):
        backend = choose(files, "cpu", "auto")
    assert isinstance(backend, SentenceTransformersBackend)
    told, loaded = caplog.records
    assert told.levelname == "WARNING"
    assert "model mpnet is not a BERT of the usual shape (model_type is 'mpnet')" in told.getMessage()
    assert "sentence-transformers computes it, which is slower" in told.getMessage()
    assert loaded.getMessage() == "model mpnet on cpu in fp32"


def test_it_says_what_is_unusual_of_a_bert(make, caplog):
    choose(locate(str(make("bert"))), "cpu", "auto")
    assert "model bert is not a BERT of the usual shape (hidden_act is 'relu')" in caplog.text


def test_loading_prints_nothing(make, capfd):
    folder = make("distilbert")
    capfd.readouterr()
    choose(locate(str(folder)), "cpu", "auto")
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.is_progress_bar_enabled()


def test_bf16_is_near(make):
    files = locate(str(make("distilbert")))
    assert cosines(embed(files, TEXTS, precision="bf16"), embed(files, TEXTS)).min() >= 0.999


@pytest.mark.parametrize("precision", ["int8", "fp8"])
def test_precisions_that_are_for_bert_only(make, precision):
    with pytest.raises(EncoderOptionError, match=rf"'{precision}' is there for BERT-shaped.*'mpnet'.*fp32 or bf16"):
        choose(locate(str(make("mpnet"))), "cpu", precision)


def test_bf16_where_the_processor_lacks_it(make, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
    with pytest.raises(EncoderOptionError, match=r"'bf16' is not to be had.*lacks AVX512_BF16.*take auto or fp32"):
        choose(locate(str(make("distilbert"))), "cpu", "bf16")


def test_it_keeps_to_the_cores_that_it_may_use(make, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    monkeypatch.setattr(cpu, "usable_cores", lambda: 2)
    try:
        choose(locate(str(make("distilbert"))), "cpu", "fp32")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_without_sentence_transformers(make, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(ModelError, match=r"not BERT-shaped.*pip install 'sentence-transformers"):
        choose(locate(str(make("mpnet"))), "cpu", "auto")


def test_weights_that_lack_tensors(make):
    folder = make("distilbert")
    weights = load_file(folder / "model.safetensors")
    lost = [name for name in weights if "layer.1.attention" in name]
    save_file({name: weights[name] for name in weights.keys() - set(lost)}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=f"lack {len(lost)} tensors") as caught:
        choose(locate(str(folder)), "cpu", "auto")
    assert sorted(caught.value.missing) == sorted(lost)


def test_weights_of_a_layer_that_transformers_ignores(make):
    folder = make("distilbert")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if "layer.1.attention" in name).rpartition(".attention")[0]
    weights[f"{name}.attention.self.distance_embedding.weight"] = torch.zeros(7, 8)  # relative positions
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"hold 1 tensors that transformers does not compute with") as caught:
        choose(locate(str(folder)), "cpu", "auto")
    assert [name.rpartition("self.")[2] for name in caught.value.unused] == ["distance_embedding.weight"]


@pytest.mark.parametrize("kept", [0, 200])
def test_weights_that_were_cut(make, kept):
    folder = make("mpnet")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(ModelError, match="cannot be loaded"):
        choose(locate(str(folder)), "cpu", "auto")


def test_pickled_weights_are_not_loaded(make):
    folder = make("mpnet")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="pickled weights"):
        choose(locate(str(folder)), "cpu", "auto")


@pytest.mark.parametrize("model_type", ["never-heard-of", "distilbert"])
def test_code_of_a_model_is_never_run(make, edit_json, model_type):
    folder = make("distilbert")
    witness = folder / "it-ran"
    (folder / "evil.py").write_text(f"open({str(witness)!r}, 'w').close()\nclass C: pass\nM = T = C\n")
    auto = {"AutoConfig": "evil.C", "AutoModel": "evil.M"}
    edit_json(folder / "config.json", model_type=model_type, auto_map=auto)
    edit_json(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", None]})
    if model_type == "distilbert":
        assert embed(locate(str(folder)), TEXTS).shape == (len(TEXTS), 32)
    else:
        with pytest.raises(ModelError, match="cannot be loaded"):
            choose(locate(str(folder)), "cpu", "auto")
    assert not witness.exists()


def test_memory_that_does_not_suffice(make, monkeypatch, caplog):
    backend = choose(locate(str(make("distilbert"))), "cpu", "auto")
    batch = [[0, 5 + number, 2] for number in range(8)]
    (expected,) = backend.embed([batch])
    model = backend._model

    def short(features):
        if len(features["input_ids"]) > 4:
            raise MemoryError
        return model(features)

    monkeypatch.setattr(backend, "_model", short)
    (found,) = backend.embed([batch])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert backend.token_budget == 1024
    assert "at most 1024 tokens instead of 2048" in caplog.text


def test_on_two_processes(make):
    files = locate(str(make("xlm-roberta")))
    backend = choose(files, "cpu,cpu", "auto")
    ids = Tokeniser.of(files)(TEXTS).ids
    found = np.concatenate(list(backend.embed([ids[:2], ids[2:]])))
    backend.close()
    np.testing.assert_allclose(found, embed(files, TEXTS), atol=1e-6)
