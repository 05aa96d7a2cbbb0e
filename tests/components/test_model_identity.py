"""Which vector space a model name stands for."""

import hashlib
import json

import pytest

from medte_haystack.encoder import MODELS
from medte_haystack.errors import ModelError, ModelNotAvailableError
from medte_haystack.index import Fingerprint
from medte_haystack.model_identity import fingerprint_of_model, fingerprint_of_vectors


@pytest.fixture
def folder(tmp_path):
    """As much of a model as its identity needs."""
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 768}))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "q: "}}))
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    return tmp_path


@pytest.fixture
def cached(monkeypatch):
    """Answer in the place of the hub's cache; it is empty unless a folder is put in."""
    content = []

    def snapshot_download(*_, local_files_only, **__):
        assert local_files_only, "the hub was asked"
        if not content:
            raise FileNotFoundError("not cached")
        return str(content[0])

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    return content


def test_no_model():
    assert fingerprint_of_model(None) is None


def test_a_registry_row_that_is_not_on_this_machine(cached):
    assert fingerprint_of_model("gte-base") == Fingerprint.of_spec(MODELS["gte-base"])


def test_a_registry_row_whose_files_are_here_is_what_its_files_say(cached, folder):
    cached.append(folder)
    found = fingerprint_of_model("medte")
    assert (MODELS["medte"].pooling, MODELS["medte"].query_prefix) == ("mean", "")
    assert (found.model, found.pooling, found.query_prefix) == (MODELS["medte"].hub_id, "cls", "q: ")


def test_a_folder_goes_by_its_weights(folder):
    found = fingerprint_of_model(str(folder))
    assert (found.model, found.dim, found.pooling) == (folder.name, 768, "cls")
    assert found.weights_sha256 == hashlib.sha256(b"weights").hexdigest()


def test_a_name_that_stands_for_nothing():
    with pytest.raises(ModelNotAvailableError, match="neither a model of the registry"):
        fingerprint_of_model("nothing")


class TestOfVectors:
    def test_a_registry_row(self, cached):
        made = fingerprint_of_vectors("e5-base-v2", 768)
        assert made == fingerprint_of_vectors("intfloat/e5-base-v2", 768)
        assert (made.model, made.query_prefix, made.passage_prefix) == ("intfloat/e5-base-v2", "query: ", "passage: ")
        assert (made.pooling, made.revision, made.weights_sha256) == ("mean", None, None), "which weights is not known"
        made.check_reader(fingerprint_of_model("e5-base-v2"), index="articles")

    def test_a_registry_row_whose_files_are_here_is_what_its_queries_will_be(self, cached, folder):
        cached.append(folder)
        made = fingerprint_of_vectors("medte", 768)
        assert (made.model, made.pooling, made.query_prefix) == (MODELS["medte"].hub_id, "cls", "q: ")
        made.check_reader(fingerprint_of_model("medte"), index="articles")

    def test_a_folder(self, folder):
        made = fingerprint_of_vectors(str(folder), 768)
        assert (made.model, made.pooling, made.query_prefix) == (folder.name, "cls", "q: ")
        made.check_reader(fingerprint_of_model(str(folder)), index="articles")

    @pytest.mark.parametrize("model", ["intfloat/e5-small", "text-embedding-3-small"])
    def test_any_other_name_stands_for_itself_and_nothing_is_fetched(self, cached, model):
        made = fingerprint_of_vectors(model, 1536)
        assert (made.model, made.dim) == (model, 1536)
        assert made.pooling is made.query_prefix is made.passage_prefix is None

    def test_other_dimensions_than_the_models(self, cached, folder):
        for model in ("gte-base", str(folder)):
            with pytest.raises(ModelError, match="makes vectors of 768 dimensions, these have 384"):
                fingerprint_of_vectors(model, 384)
