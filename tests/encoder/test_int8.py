"""8-bit models: their quality, and their cache."""

import json
import logging
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file, save_file

from medte_haystack.encoder import Encoder
from medte_haystack.encoder.backends import cache
from medte_haystack.encoder.backends.calibrate import TEXTS
from medte_haystack.encoder.backends.cpu import lacks
from medte_haystack.encoder.backends.int8 import Int8Linear, Ranges, quantise_by_token, quantise_calibrated
from medte_haystack.encoder.bert import Affine

pytestmark = pytest.mark.skipif(bool(lacks("int8")), reason=f"this processor lacks {lacks('int8')}")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDTE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def load(model, precision="int8"):
    return Encoder.load(str(model), device="cpu", precision=precision)


def models_in(folder):
    return sorted(folder.glob("*.safetensors"))


def test_it_is_near_float32(texts, vectors, folder):
    similar = (Encoder.load("minilm", device="cpu", precision="int8").encode(texts) * vectors).sum(axis=1)
    assert similar.mean() >= 0.996
    assert similar.min() >= 0.985
    assert similar.max() < 1 - 1e-6  # it did compute in another precision


@pytest.mark.parametrize("pooling", ["mean_tokens", "cls_token"])
def test_another_pooling(tiny, edit_json, folder, pooling):
    edit_json(tiny / "1_Pooling" / "config.json", **{f"pooling_mode_{pooling}": True})
    texts = ["What causes acromegaly?", "fever", ""]
    similar = (load(tiny).encode(texts) * load(tiny, "fp32").encode(texts)).sum(axis=1)
    assert similar.min() >= 0.999


class TestLinear:
    """One layer against float32: an error of half a level in each input and weight."""

    def layer(self):
        torch.manual_seed(4)
        return Affine(torch.randn(96, 64) * torch.rand(96, 1), torch.randn(96))

    def test_calibrated_with_outlier_channels(self):
        inputs = torch.randn(500, 64)
        inputs[:, 5] = inputs[:, 5] * 40 + 90  # far off and shifted
        layer = self.layer()
        weights = quantise_calibrated(layer, Ranges(inputs.amin(0), inputs.amax(0)))
        expected = inputs @ layer.weight.T + layer.bias
        error = (Int8Linear(weights)(inputs, torch.float32) - expected).norm() / expected.norm()
        assert error < 0.01

    def test_values_beyond_the_calibrated_range_are_cut_not_wrapped(self):
        layer = Affine(torch.ones(8, 8), torch.zeros(8))
        linear = Int8Linear(quantise_calibrated(layer, Ranges(-torch.ones(8), torch.ones(8))))
        found = linear(torch.full((1, 8), 100.0), torch.float32)
        torch.testing.assert_close(found, torch.full((1, 8), 8.0), rtol=0.02, atol=0)

    def test_by_token_with_outlier_tokens(self):
        inputs = torch.randn(500, 64)
        inputs[3] *= 50
        inputs = torch.nn.functional.gelu(inputs)
        layer = self.layer()
        expected = inputs @ layer.weight.T + layer.bias
        found = Int8Linear(quantise_by_token(layer)).by_token(inputs.clone())
        error = (found - expected).norm(dim=1) / expected.norm(dim=1)
        assert error.max() < 0.02

    def test_a_token_of_zeros_and_a_row_of_zeros(self):
        layer = Affine(torch.cat([torch.zeros(1, 8), torch.ones(7, 8)]), torch.arange(8.0))
        found = Int8Linear(quantise_by_token(layer)).by_token(torch.zeros(2, 8))
        torch.testing.assert_close(found, torch.arange(8.0).repeat(2, 1))


class TestCache:
    def test_the_second_time_nothing_is_calibrated(self, tiny, folder, monkeypatch, caplog):
        first = load(tiny).encode(["fever"])
        (told,) = caplog.records
        assert told.getMessage().startswith("model tiny: calibrating for int8, once on this machine")
        (path,) = models_in(folder)
        assert sorted(folder.iterdir()) == sorted([path, path.with_suffix(".lock")])
        monkeypatch.setattr(cache, "calibrate", None)
        np.testing.assert_array_equal(load(tiny).encode(["fever"]), first)

    def test_other_weights_of_the_same_name_are_another_model(self, tiny, folder):
        before = load(tiny).encode(["fever"])
        tensors = load_file(tiny / "model.safetensors")
        changed = {name: tensor * 1.5 if "query.weight" in name else tensor for name, tensor in tensors.items()}
        save_file(changed, tiny / "model.safetensors", metadata={"format": "pt"})
        after = load(tiny)
        assert len(models_in(folder)) == 2
        assert not np.array_equal(after.encode(["fever"]), before)
        assert (after.encode(["fever"]) * load(tiny, "fp32").encode(["fever"])).sum() >= 0.999

    def test_another_way_of_quantising_is_another_model(self, tiny, folder, monkeypatch):
        load(tiny)
        monkeypatch.setattr(cache, "_FORMAT", cache._FORMAT + 1)
        load(tiny)
        assert len(models_in(folder)) == 2

    @pytest.mark.parametrize(
        "damage",
        [
            lambda _: b"",
            lambda _: b"\x00" * 100,
            lambda whole: whole[:-10],
            lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]),
            lambda whole: whole[:-9000] + bytes(8000) + whole[-1000:],
        ],
        ids=["empty", "zeros", "cut", "one bit", "a hole"],
    )
    def test_a_damaged_file_is_made_anew(self, tiny, folder, caplog, damage):
        expected = load(tiny).encode(["fever"])
        (path,) = models_in(folder)
        whole = path.read_bytes()
        path.write_bytes(damage(whole))
        with caplog.at_level(logging.WARNING):
            np.testing.assert_array_equal(load(tiny).encode(["fever"]), expected)
        assert "cannot be read" in caplog.text
        assert path.read_bytes() == whole

    def test_a_file_that_lacks_a_layer_is_made_anew(self, tiny, folder, caplog):
        load(tiny)
        (path,) = models_in(folder)
        whole = load_file(path)
        fewer = {name: tensor for name, tensor in whole.items() if not name.startswith("1.")}
        save_file(fewer, path, metadata={"sha256": cache._hash(fewer)})
        load(tiny)
        assert "cannot be read" in caplog.text
        assert load_file(path).keys() == whole.keys()

    def test_a_folder_that_cannot_be_used_is_done_without(self, tiny, tmp_path, monkeypatch, caplog):
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("MEDTE_CACHE", str(tmp_path / "file" / "cache"))
        assert load(tiny).encode(["fever"]).shape == (1, 32)
        assert "cannot be used" in caplog.text
        assert "set MEDTE_CACHE" in caplog.text

    def test_a_folder_that_can_be_read_alone_serves(self, tiny, folder, monkeypatch, caplog):
        first = load(tiny).encode(["fever"])

        def refused(*_, **__):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(cache.FileLock, "acquire", refused)
        monkeypatch.setattr(cache, "calibrate", None)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            np.testing.assert_array_equal(load(tiny).encode(["fever"]), first)
        assert not caplog.records

    def test_other_users_can_read_what_was_made(self, tiny, folder):
        before = os.umask(0o022)
        try:
            load(tiny)
        finally:
            os.umask(before)
        assert {path.stat().st_mode & 0o044 for path in folder.iterdir()} == {0o044}

    @pytest.mark.parametrize("chosen", ["~nobody-of-that-name", None])
    def test_a_user_without_a_home(self, tiny, monkeypatch, caplog, chosen):
        def unknown(*_):
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("MEDTE_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        if chosen:
            monkeypatch.setenv("MEDTE_CACHE", chosen)
        else:
            monkeypatch.setattr(cache.Path, "home", unknown)
        assert load(tiny).encode(["fever"]).shape == (1, 32)
        assert "there is no home folder to keep files in" in caplog.text
        assert "set MEDTE_CACHE" in caplog.text

    def test_waiting_for_another_process_is_told(self, tiny, folder, monkeypatch):
        load(tiny)
        (path,) = models_in(folder)
        monkeypatch.setattr(cache, "_SILENCE", 0.01)
        held, told = FileLock(path.with_suffix(".lock")), []
        held.acquire()

        def warning(message, *_):
            told.append(message)
            held.release()

        monkeypatch.setattr(cache.logger, "warning", warning)
        load(tiny)
        assert told == ["waiting until another process has calibrated the same model (%s)"]

    def test_a_folder_that_cannot_be_written_to(self, tiny, folder, monkeypatch, caplog):
        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(cache, "save_file", full)
        assert load(tiny).encode(["fever"]).shape == (1, 32)
        assert "No space left on device" in caplog.text
        assert models_in(folder) == []
        assert not list(folder.glob("*.part"))

    def test_two_processes_at_once_make_one_file(self, tiny, folder):
        program = "import sys, logging; logging.basicConfig(level='INFO')\n"
        program += "from medte_haystack.encoder import Encoder\n"
        program += "print(Encoder.load(sys.argv[1], device='cpu', precision='int8').encode(['fever']).tobytes().hex())"
        both = [
            subprocess.Popen(
                [sys.executable, "-c", program, str(tiny)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
            for _ in range(2)
        ]
        results = [one.communicate(timeout=300) for one in both]
        assert [one.returncode for one in both] == [0, 0]
        assert results[0][0] == results[1][0]
        assert sum("calibrating for int8" in errors for _, errors in results) == 1
        assert len(models_in(folder)) == 1

    def test_where_it_is(self, monkeypatch, tmp_path):
        monkeypatch.delenv("MEDTE_CACHE", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        assert cache.cache_folder() == tmp_path / "medte"


def test_the_calibration_texts_hold_what_their_readme_says():
    texts = json.loads(TEXTS.read_text(encoding="utf-8"))
    assert (len(texts["passages"]), len(texts["queries"])) == (47, 24)
    readme = (TEXTS.parent / "README.md").read_text(encoding="utf-8")
    assert "47 passages and 24 queries" in readme
