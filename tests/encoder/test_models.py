"""The registry, and finding a model's files."""

import hashlib
import shutil
import socket
import time

import pytest
from sentence_transformers.sentence_transformer.modules import Transformer

from medte_haystack.encoder import DEFAULT_MODEL, MODELS, Encoder, locate
from medte_haystack.encoder.models import ModelSpec, _registry, find_row
from medte_haystack.errors import EncoderOptionError, ModelError, ModelNotAvailableError

COMMIT = "c078288308d8dee004ab72c6191778064285ec0c"


class TestRegistry:
    def test_the_models(self):
        assert list(MODELS) == [
            "medte",
            "gte-base",
            "medembed-small",
            "medembed-base",
            "medembed-large",
            "bge-small",
            "bge-base",
            "e5-base-v2",
            "minilm",
        ]
        assert DEFAULT_MODEL == "medte"
        assert [MODELS[name].dim for name in MODELS] == [768, 768, 384, 768, 1024, 384, 768, 768, 384]

    def test_a_row_is_found_by_name_and_by_hub_id(self):
        assert find_row("minilm") is find_row("sentence-transformers/all-MiniLM-L6-v2") is MODELS["minilm"]
        assert find_row("nothing") is None

    @pytest.mark.parametrize(
        "twin", [ModelSpec("one", "c/d", None, 8, "mean"), ModelSpec("other", "a/b", None, 8, "mean")]
    )
    def test_a_second_row_of_a_name_or_hub_id_raises(self, twin):
        with pytest.raises(ValueError, match=f"'{twin.name}' .*twice"):
            _registry([ModelSpec("one", "a/b", None, 8, "mean"), twin])


class TestLocate:
    def test_a_package(self):
        files = locate("minilm")
        assert (files.spec.name, files.spec.dim, files.spec.max_tokens) == ("minilm", 384, 256)
        assert files.spec.revision == MODELS["minilm"].revision

    def test_a_folder(self, tiny):
        files = locate(str(tiny))
        assert files.folder == tiny
        assert (files.spec.name, files.spec.hub_id, files.spec.revision, files.spec.dim) == ("tiny", "", None, 32)

    def test_a_folder_is_found_again_from_elsewhere(self, tiny, tmp_path, monkeypatch):
        monkeypatch.chdir(tiny.parent)
        files = locate(tiny.name)
        monkeypatch.chdir(tmp_path.parent)
        assert files.folder == tiny
        assert files.weights_sha256() == locate(tiny).weights_sha256()

    def test_the_weights_identity_is_their_sha256_and_follows_a_change(self, tiny):
        weights = tiny / "model.safetensors"
        before = locate(str(tiny)).weights_sha256()
        assert before == hashlib.sha256(weights.read_bytes()).hexdigest()
        weights.write_bytes(weights.read_bytes() + b" ")
        assert locate(str(tiny)).weights_sha256() == hashlib.sha256(weights.read_bytes()).hexdigest() != before

    @pytest.mark.parametrize("name", ["nothing", "a/b/c", "", "~/no such folder", "./nothere", "../nothere"])
    def test_an_unknown_name(self, name):
        with pytest.raises(ModelNotAvailableError, match=r"neither a model of the registry .*medte.*hub id") as caught:
            locate(name)
        assert caught.value.model == name

    def test_a_path(self, tiny):
        assert locate(tiny) == locate(str(tiny))

    @pytest.mark.parametrize("model", [None, 5, b"minilm"])
    def test_something_else_than_a_name(self, model):
        with pytest.raises(EncoderOptionError, match=r"model is .*; give one of medte, .*, a folder, or a hub id"):
            locate(model)

    def test_other_dimensions_than_the_row_says(self, tiny, hub):
        hub.folder = tiny
        with pytest.raises(ModelError, match=r"'gte-base' should have 768 dimensions, .* has 32"):
            locate("gte-base")


@pytest.mark.parametrize(
    "normalizer",
    [
        None,
        {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "lowercase": False},
        {"type": "Sequence", "normalizers": [{"type": "NFC"}]},
        {"type": "Sequence", "normalizers": [{"type": "Replace", "pattern": {"String": "F"}, "content": "p"}]},
        {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Lowercase"}]},
    ],
)
def test_texts_are_lowered_where_the_model_says_so(tiny, edit_json, normalizer):
    edit_json(tiny / "tokenizer.json", normalizer=normalizer)
    edit_json(tiny / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    edit_json(tiny / "sentence_bert_config.json", do_lower_case=True)
    theirs = Transformer(str(tiny), do_lower_case=True).tokenizer
    for text in ("Fever", "FIÈVRE and Chills"):
        assert Encoder.load(tiny, device="cpu").tokeniser([text]).ids == [theirs(text)["input_ids"]]
    edit_json(tiny / "sentence_bert_config.json", do_lower_case=False)
    as_they_are = Encoder.load(tiny, device="cpu").tokeniser(["Fever", "fever"]).ids
    assert (as_they_are[0] == as_they_are[1]) == ("Lowercase" in str(normalizer))


class Hub:
    """Answers in the place of huggingface_hub and notes what it was asked."""

    def __init__(self, monkeypatch):
        self.folder = None
        self.cached = False
        self.asked = []
        monkeypatch.setattr("huggingface_hub.snapshot_download", self.snapshot_download)
        monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: self.asked.append("model_info"))

    def snapshot_download(self, repo, *, revision, allow_patterns, token, local_files_only):
        self.asked.append((repo, revision, token, local_files_only))
        assert not any(pattern.endswith((".bin", ".py", ".pt", ".pkl")) for pattern in allow_patterns)
        if local_files_only and not self.cached:
            raise FileNotFoundError("not cached")
        return str(self.folder)


@pytest.fixture
def hub(monkeypatch):
    return Hub(monkeypatch)


@pytest.fixture
def snapshot(tiny, tmp_path):
    """A folder as the hub's cache has it: called like its commit."""
    return shutil.copytree(tiny, tmp_path / COMMIT)


class TestHub:
    def test_a_branch_is_resolved_to_its_commit(self, hub, snapshot):
        hub.folder = snapshot
        files = locate("someone/tiny", token="hf_secret")
        assert files.spec.revision == COMMIT
        assert (files.spec.name, files.spec.hub_id, files.spec.dim) == ("someone/tiny", "someone/tiny", 32)
        assert hub.asked == [("someone/tiny", "main", "hf_secret", False)]
        assert Encoder.load("someone/tiny", device="cpu").encode(["fever"]).shape == (1, 32)

    def test_a_pinned_commit_that_is_cached_needs_no_request(self, hub, snapshot):
        hub.folder, hub.cached = snapshot, True
        locate("someone/tiny", revision=COMMIT)
        assert hub.asked == [("someone/tiny", COMMIT, None, True)]

    def test_a_pinned_commit_that_is_not_cached_is_fetched(self, hub, snapshot):
        hub.folder = snapshot
        locate("someone/tiny", revision=COMMIT)
        assert hub.asked == [
            ("someone/tiny", COMMIT, None, True),
            "model_info",
            ("someone/tiny", COMMIT, None, False),
        ]

    def test_a_cached_snapshot_without_weights_is_fetched_again(self, hub, snapshot):
        hub.folder, hub.cached = snapshot, True
        (snapshot / "model.safetensors").unlink()
        locate("someone/tiny", revision=COMMIT)
        assert [call[3] for call in hub.asked if call != "model_info"] == [True, False]

    def test_local_files_only_never_asks_the_hub(self, hub):
        with pytest.raises(ModelNotAvailableError, match="not cached"):
            locate("gte-base", local_files_only=True)
        assert [call[3] for call in hub.asked] == [True]

    def test_a_revision_of_ones_own_leaves_the_package_aside(self, hub, tmp_path):
        with pytest.raises(ModelNotAvailableError, match="revision v2"):
            locate("minilm", revision="v2", local_files_only=True)


@pytest.mark.parametrize("name", ["medte", "gte-base", "someone/model"])
def test_an_unreachable_hub_is_reported_quickly_with_the_choices(monkeypatch, tmp_path, name):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    started = time.perf_counter()
    with pytest.raises(ModelNotAvailableError) as caught:
        Encoder.load(name, token="hf_secret")
    assert time.perf_counter() - started < 5
    message = str(caught.value)
    for choice in ("cached:", "local:", "offline:", "gated:", "hf download", "'minilm'", "medte[minilm]"):
        assert choice in message
    assert "hf_secret" not in message
    assert caught.value.hub_id == (MODELS[name].hub_id if name in MODELS else name)
