"""The GPU's way, computed on the CPU: everything but the GPU's own kernels, against the reference."""

import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from medte_haystack.encoder.backends import cuda
from medte_haystack.encoder.backends.cuda import Cuda
from medte_haystack.encoder.backends.cuda_forward import Forward, attend_by_text
from medte_haystack.encoder.backends.cuda_layout import Layout, Link
from medte_haystack.encoder.backends.memory import DeviceMemoryError
from medte_haystack.encoder.backends.packed import PackedBert
from medte_haystack.encoder.backends.products import plain
from medte_haystack.encoder.bert import Bert
from medte_haystack.encoder.files import locate
from medte_haystack.errors import EncoderOptionError

LOGGER = "medte_haystack.encoder.backends.cuda"


@pytest.fixture(autouse=True)
def uncompiled(monkeypatch):
    """Compiling takes longer than all the tests; a small first pass is enough here."""
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setattr(cuda, "_WARM_UP", 300)


def on_cpu(files, precision="fp32", link=None) -> Cuda:
    return Cuda(files, "cpu", precision, link=link or Link(), attend=attend_by_text)


def cosines(left, right):
    return (left * right).sum(axis=-1)


class TestForward:
    def test_fp32_equals_the_reference(self, minilm, ids, reference):
        (found,) = on_cpu(minilm).embed([ids])
        assert found.dtype == np.float32
        assert cosines(found, reference).min() >= 0.99999
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)

    def test_bf16_keeps_its_promise(self, minilm, ids, reference):
        (found,) = on_cpu(minilm, "bf16").embed([ids])
        assert cosines(found, reference).min() >= 0.9999

    def test_fp8_is_near(self, minilm, ids, reference):
        (found,) = on_cpu(minilm, "fp8").embed([ids])
        assert cosines(found, reference).min() >= 0.985
        assert cosines(found, reference).mean() >= 0.995

    @pytest.mark.parametrize(("precision", "least"), [("fp32", 0.99999), ("bf16", 0.9998)])
    def test_company_and_batches_do_not_matter(self, minilm, ids, precision, least):
        backend = on_cpu(minilm, precision)
        (together,) = backend.embed([ids])
        some = ids[::4]
        alone = np.concatenate(list(backend.embed([one] for one in some)))
        assert cosines(alone, together[::4]).min() >= least
        recorded = np.stack([backend.embed_one(one) for one in some])
        assert cosines(recorded, together[::4]).min() >= least

    @pytest.mark.parametrize("pooling", ["mean", "cls"])
    def test_pooling(self, tiny, pooling):
        files = locate(str(tiny))
        files = replace(files, spec=replace(files.spec, pooling=pooling))
        bert = Bert.read(files)
        batch = [[101, *range(2000, 2000 + length), 102] for length in (5, 0, 30, 5, 62)]
        expected = PackedBert(bert, pooling, [plain(layer, bert.heads) for layer in bert.layers])(batch)
        (found,) = on_cpu(files).embed([batch])
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_filler_cannot_be_felt(self, tiny):
        files = locate(str(tiny))
        forward = Forward(Bert.read(files), "mean", "fp32", "cpu", attend_by_text, compiled=False)
        layout = Layout.of([[101, 2000, 102]], 16)
        expected = forward(torch.from_numpy(layout.block), layout)
        layout.block[3 : layout.tokens] = 999
        torch.testing.assert_close(forward(torch.from_numpy(layout.block), layout), expected)


class Watching(Link):
    """Counts what is under way."""

    def __init__(self):
        self.under_way = self.most = 0
        self.uploads = 0
        self.recorded = Counter()

    def upload(self, array):
        self.uploads += 1
        return super().upload(array)

    def download(self, tensor, *, soon=False):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        vectors = tensor.numpy()

        def wait():
            self.under_way -= 1
            return vectors

        return wait

    def record(self, run):
        self.recorded[len(run())] += 1
        return run


class TestPipeline:
    @pytest.fixture
    def link(self):
        return Watching()

    @pytest.fixture
    def backend(self, tiny, link):
        return on_cpu(locate(str(tiny)), link=link)

    def batches(self, number):
        return [[[101, 2000 + batch, 102 + text] for text in range(3)] for batch in range(number)]

    def test_batches_come_back_in_order(self, backend):
        batches = self.batches(9)
        found = list(backend.embed(iter(batches)))
        for batch, vectors in zip(batches, found, strict=True):
            np.testing.assert_allclose(vectors, np.stack([backend.embed_one(one) for one in batch]), atol=1e-6)

    def test_two_more_are_queued_behind_the_one_waited_for_and_no_more_are_read(self, backend, link):
        read = []
        stream = backend.embed(read.append(number) or batch for number, batch in enumerate(self.batches(9)))
        assert read == []
        next(stream)
        assert (len(read), link.under_way) == (3, 2)
        list(stream)
        assert (len(read), link.under_way, link.most) == (9, 0, 3)

    def test_one_copy_a_batch(self, backend, link):
        before = link.uploads
        list(backend.embed(self.batches(4)))
        assert link.uploads == before + 4

    def test_no_batches(self, backend):
        assert list(backend.embed([])) == []

    def test_memory_that_does_not_suffice_while_batches_are_queued(self, backend, caplog):
        forward, batches = backend._forward, self.batches(6)
        expected = list(backend.embed(batches))

        def short(block, layout):
            if layout.texts > 2 and int(block[1]) == 2003:  # the fourth
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return forward(block, layout)

        backend._forward = short
        with caplog.at_level(logging.WARNING):
            found = list(backend.embed(batches))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
        assert backend.token_budget == 32_768
        assert "at most 32768 tokens instead of 65536" in caplog.text


class TestLoneTexts:
    def test_a_pass_is_recorded_for_each_size_once(self, tiny):
        link = Watching()
        backend = on_cpu(locate(str(tiny)), link=link)
        texts = [[101, *[2000 + length] * length, 102] for length in (1, 5, 16, 20, 60, 5)]
        vectors = [backend.embed_one(one) for one in texts]
        assert sorted(backend._recorded._passes) == [16, 32, 64]
        assert link.recorded.total() == 3
        (expected,) = backend.embed([texts])
        np.testing.assert_allclose(np.stack(vectors), expected, atol=1e-6)
        assert vectors[0].shape == (32,)

    def test_threads_do_not_get_each_others_vectors(self, tiny):
        backend = on_cpu(locate(str(tiny)))
        texts = [[101, 2000 + number, 102] for number in range(60)]
        (expected,) = backend.embed([texts])
        with ThreadPoolExecutor(4) as pool:
            found = np.stack(list(pool.map(backend.embed_one, texts)))
        np.testing.assert_allclose(found, expected, atol=1e-6)

    def test_long_ones_are_not_recorded(self, tiny, monkeypatch):
        monkeypatch.setattr(cuda, "_LONGEST_RECORDED", 10)
        link = Watching()
        assert on_cpu(locate(str(tiny)), link=link).embed_one([101] * 11).shape == (32,)
        assert not link.recorded

    def test_where_recording_fails_they_are_computed_anyway_and_it_is_said_once(self, tiny, caplog):
        class Unable(Link):
            def record(self, run):
                raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nmore")

        backend = on_cpu(locate(str(tiny)), link=Unable())
        with caplog.at_level(logging.WARNING, LOGGER):
            vectors = [backend.embed_one([101, 2000, 102]) for _ in range(2)]
        np.testing.assert_allclose(vectors[0], next(backend.embed([[[101, 2000, 102]]]))[0], atol=1e-6)
        (record,) = caplog.records
        assert record.getMessage().endswith(
            "RuntimeError: CUDA error: operation not permitted when stream is capturing"
        )

    def test_usual_queries_find_their_pass_recorded(self, minilm):
        assert sorted(on_cpu(minilm)._recorded._passes) == [16, 32]

    @pytest.mark.parametrize("place", ["recording", "its end", "a copy"])
    def test_memory_that_does_not_suffice_is_no_reason_to_give_up_recording(self, tiny, caplog, place):
        class Short(Link):
            full = False

            def record(self, run):
                try:
                    if self.full and place != "a copy":
                        raise torch.OutOfMemoryError("CUDA out of memory.")
                finally:
                    if self.full and place == "its end":
                        raise RuntimeError("operation failed due to a previous error during capture")
                return run

            def upload(self, array):
                if self.full and place == "a copy":
                    self.full = False  # for the next attempt
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                return super().upload(array)

        link = Short()
        backend = on_cpu(locate(str(tiny)), link=link)
        text = [101, *[2000] * (10 if place == "a copy" else 40), 102]
        (expected,) = backend.embed([[text]])
        link.full = True
        np.testing.assert_allclose(backend.embed_one(text), expected[0], atol=1e-6)
        link.full = False
        np.testing.assert_allclose(backend.embed_one(text), expected[0], atol=1e-6)
        assert backend._recorded._works
        assert len(backend._recorded._passes) == (2 if place == "a copy" else 3)
        assert not caplog.records

    def test_a_recording_that_gives_other_vectors_is_not_used(self, tiny, caplog):
        class Wrong(Link):
            def record(self, run):
                return lambda: -run()

        backend = on_cpu(locate(str(tiny)), link=Wrong())
        with caplog.at_level(logging.WARNING, LOGGER):
            vector = backend.embed_one([101, 2000, 102])
        np.testing.assert_allclose(vector, next(backend.embed([[[101, 2000, 102]]]))[0], atol=1e-6)
        assert "gives other vectors" in caplog.text


class TestLoading:
    def test_without_a_compiler_it_computes_all_the_same_and_says_why(self, tiny, monkeypatch, caplog):
        def broken(function):
            def call(*arguments):
                raise RuntimeError("Cannot find a working triton installation.\nmore")

            return call

        monkeypatch.setattr(torch, "compile", broken)
        with caplog.at_level(logging.WARNING, LOGGER):
            backend = on_cpu(locate(str(tiny)))
        assert backend.embed_one([101, 102]).shape == (32,)
        (record,) = caplog.records
        assert "without compiled kernels" in record.getMessage()
        assert record.getMessage().endswith("RuntimeError: Cannot find a working triton installation.")

    def test_a_gpu_that_cannot(self, tiny):
        def no_kernel(*arguments):
            raise RuntimeError("CUDA error: no kernel image is available for execution on the device")

        with pytest.raises(EncoderOptionError, match=r"cpu cannot compute this model in bf16.*no kernel image.*fp32"):
            Cuda(locate(str(tiny)), "cpu", "bf16", link=Link(), attend=no_kernel)

    def test_a_gpu_that_computes_nonsense(self, tiny, caplog):
        def nonsense(query, *_):
            return torch.full_like(query, float("nan"))

        with pytest.raises(EncoderOptionError, match=r"cannot compute this model in bf16.*NaN or infinite.*take fp32"):
            Cuda(locate(str(tiny)), "cpu", "bf16", link=Link(), attend=nonsense)

    def test_a_model_that_does_not_fit_into_memory(self, tiny):
        def full(*arguments):
            raise torch.OutOfMemoryError("CUDA out of memory.")

        with pytest.raises(DeviceMemoryError, match=r"does not fit into the memory of cpu.*nvidia-smi"):
            Cuda(locate(str(tiny)), "cpu", "bf16", link=Link(), attend=full)

    def test_small_texts_are_filled_up_for_e4m3(self, tiny):
        layouts = []
        backend = on_cpu(locate(str(tiny)), "fp8")
        forward = backend._forward
        backend._forward = lambda block, layout: layouts.append(layout) or forward(block, layout)
        list(backend.embed([[[101, 102]]]))
        assert layouts[0].tokens == 256
