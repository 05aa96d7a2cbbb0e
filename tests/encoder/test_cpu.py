"""The CPU's backend: precisions, threads, and that neighbours do not matter."""

import os
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from select import select
from signal import SIGKILL

import numpy as np
import pytest
import torch

from medte_haystack.encoder import Encoder
from medte_haystack.encoder.backends import cpu
from medte_haystack.encoder.backends.cpu import Cpu, _quota, lacks, usable_cores
from medte_haystack.encoder.backends.memory import Halving
from medte_haystack.encoder.backends.packed import PackedBert
from medte_haystack.encoder.backends.products import attend_by_products, attend_fused, onednn, plain
from medte_haystack.encoder.bert import Bert
from medte_haystack.encoder.pack import Pack
from medte_haystack.errors import EncoderOptionError

PRECISIONS = [
    pytest.param(name, marks=pytest.mark.skipif(bool(lacks(name)), reason=f"this processor lacks {lacks(name)}"))
    for name in ("fp32", "bf16", "int8")
]
SAME = {"fp32": 0.99999, "bf16": 0.9998, "int8": 0.9998}


def cosines(left, right):
    return (left * right).sum(axis=-1)


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(cpu, "usable_cores", lambda: 4)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()  # tests have PyTorch use one
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_company_and_order_do_not_matter(precision, texts, four_cores):
    encoder = Encoder.load("minilm", device="cpu", precision=precision)
    together = encoder.encode(texts)
    alone = np.stack([encoder.encode_one(text, "passage") for text in texts])
    assert cosines(alone, together).min() >= SAME[precision]
    order = random.Random(1).sample(range(len(texts)), len(texts))
    shuffled = encoder.encode([texts[position] for position in order], max_texts=5)
    assert cosines(shuffled, together[order]).min() >= SAME[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_batches_come_in_order_from_threads(precision, encoder, ids, four_cores):
    backend = Cpu(encoder.files, precision)
    batches = [ids[start : start + 3] for start in range(0, len(ids), 3)]
    found = list(backend.embed(iter(batches)))
    assert [len(vectors) for vectors in found] == [len(batch) for batch in batches]
    assert cosines(np.concatenate(found), np.stack([backend.embed_one(one) for one in ids])).min() >= SAME[precision]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_few_batches(encoder, ids, number, four_cores):
    assert len(list(Cpu(encoder.files, "fp32").embed([ids[:2]] * number))) == number


def test_batches_are_read_only_a_little_ahead(encoder, ids, four_cores):
    pulled = []
    stream = Cpu(encoder.files, "fp32").embed(pulled.append(n) or ids[:1] for n in range(100))
    next(stream)
    assert len(pulled) <= 2 * 4 + 1
    stream.close()
    assert len(pulled) <= 2 * 4 + 1


def test_an_error_in_a_thread_is_raised(encoder, ids, four_cores):
    stream = Cpu(encoder.files, "fp32").embed([ids[:1], ids[:1], [[10**6]], ids[:1]])
    with pytest.raises(IndexError):
        list(stream)


def threads_of_a_new_thread():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_threads_of_others_stay_as_they_were(encoder, ids, four_cores, three_threads):
    backend = Cpu(encoder.files, "fp32")
    first, second = (backend.embed([ids[:1]] * 9) for _ in range(2))
    for stream in (first, second, first):  # two at once, the first one ends last
        next(stream)
        assert threads_of_a_new_thread() == 3
    for stream in (second, first):
        list(stream)
        assert threads_of_a_new_thread() == torch.get_num_threads() == 3


def test_each_batch_is_computed_by_one_thread(encoder, ids, four_cores, three_threads, monkeypatch):
    backend = Cpu(encoder.files, "fp32")
    seen = []
    monkeypatch.setattr(backend, "_in_memory", lambda batch: seen.append(torch.get_num_threads()) or [np.zeros(1)])
    list(backend.embed([ids[:1]] * 9))
    assert seen == [1] * 9


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_encodes(encoder, texts, three_threads):
    expected = encoder.encode_one(texts[0])  # by several threads, which the child will not have
    reader, writer = os.pipe()
    if not (child := os.fork()):
        try:
            os.write(writer, encoder.encode_one(texts[0]).tobytes() + encoder.encode(texts[:1]).tobytes())
        finally:
            os._exit(0)
    os.close(writer)
    assert select([reader], [], [], 60)[0], os.kill(child, SIGKILL)
    with os.fdopen(reader, "rb") as pipe:
        found = np.frombuffer(pipe.read(), dtype=np.float32).reshape(2, -1)
    os.waitpid(child, 0)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert np.linalg.norm(found[1]) == pytest.approx(1, abs=1e-5)


def test_memory_that_does_not_suffice(encoder, four_cores, monkeypatch, caplog):
    backend = Cpu(encoder.files, "fp32")
    batch = [[101, *range(2000, 2048), 102]] * 20
    expected = list(backend.embed([batch] * 5))
    compute = backend._model.__call__

    def narrow(batch):
        if sum(map(len, batch)) > 512:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return compute(batch)

    monkeypatch.setattr(backend, "_in_memory", Halving(narrow, backend.token_budget, "cpu"))
    np.testing.assert_allclose(list(backend.embed([batch] * 5)), expected, atol=1e-5)
    assert backend.token_budget == 512
    assert caplog.text.count("the memory of cpu does not suffice") == 1


MANY_SHAPES = """
import random, sys
import psutil
from medte_haystack.encoder import locate
from medte_haystack.encoder.backends.cpu import Cpu, lacks
backend = Cpu(locate(sys.argv[1]), "fp32" if lacks("bf16") else "bf16")
for number in (150, 300):
    lengths = ([random.randint(3, 60) for _ in range(random.randint(9, 30))] for _ in range(number))
    for _ in backend.embed([[101] * length for length in batch] for batch in lengths):
        pass
    print(psutil.Process().memory_info().rss >> 20)
"""


def test_memory_does_not_grow_with_the_shapes_of_batches(tiny_model):
    environment = {name: value for name, value in os.environ.items() if not name.endswith("CACHE_CAPACITY")}
    done = subprocess.run(
        [sys.executable, "-c", MANY_SHAPES, str(tiny_model)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    before, after = map(int, done.stdout.split())
    assert after - before < 40  # MB; with 64 kernels kept instead of some for each core it is 120


class TestAttention:
    """Both ways over the same packs, far-out scores included."""

    LENGTHS = (40, 40, 17, 3, 3, 3, 1)

    def packed(self, scale):
        torch.manual_seed(2)
        tokens, dim = sum(self.LENGTHS), 3 * 48
        return scale * torch.randn(tokens, dim), Pack.of([[1] * length for length in self.LENGTHS]).runs()

    @pytest.mark.parametrize("scale", [0.1, 1.0, 8.0, 30.0])
    def test_products_equal_the_fused_kernel(self, scale):
        qkv, runs = self.packed(scale)
        expected = attend_fused(qkv, runs, heads=4)
        torch.testing.assert_close(attend_by_products(qkv, runs, heads=4), expected, rtol=1e-4, atol=1e-4 * scale)

    def test_each_text_attends_to_itself_alone(self):
        qkv, runs = self.packed(1.0)
        whole = attend_by_products(qkv.clone(), runs, heads=4)
        qkv[:40] = 7.0  # another first text
        changed = attend_by_products(qkv, runs, heads=4)
        assert not torch.equal(whole[:40], changed[:40])
        torch.testing.assert_close(whole[40:], changed[40:])

    def test_what_is_not_a_number_stays_so(self):
        qkv, runs = self.packed(1.0)
        qkv[45, 0] = float("nan")
        found = attend_by_products(qkv, runs, heads=4)
        assert found[40:80].isnan().any()
        assert not found[:40].isnan().any()
        assert not found[80:].isnan().any()


def test_one_dnn_equals_plain_operations(tiny_model, encoder):
    bert = Bert.read(encoder.files)
    ids = [[101, *range(2000, 2000 + length), 102] for length in (1, 30, 30, 7)]
    ways = [
        PackedBert(bert, "mean", [way(layer) for layer in bert.layers])
        for way in (
            lambda layer: plain(layer, bert.heads),
            lambda layer: onednn(layer, bert.heads, torch.float32),
        )
    ]
    np.testing.assert_allclose(ways[0](ids), ways[1](ids), atol=1e-6)


class TestProcessor:
    def test_a_precision_that_it_lacks(self, tiny, monkeypatch):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True})
        assert Encoder.load(str(tiny), device="cpu").precision == "fp32"
        for precision, name in (("bf16", "AVX512_BF16"), ("int8", "AVX512_VNNI")):
            with pytest.raises(EncoderOptionError, match=f"'{precision}' is not to be had.*lacks {name}.*auto or fp32"):
                Encoder.load(str(tiny), device="cpu", precision=precision)

    def test_auto_takes_bf16_where_it_is_native(self, tiny, monkeypatch):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
        assert Encoder.load(str(tiny), device="cpu").precision == "bf16"

    def test_a_pytorch_without_one_dnn(self, tiny, monkeypatch):
        with_it = Encoder.load(str(tiny), device="cpu", precision="fp32").encode(["fever", "chills"])
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        without = Encoder.load(str(tiny), device="cpu")
        assert without.precision == "fp32"
        np.testing.assert_allclose(without.encode(["fever", "chills"]), with_it, atol=1e-6)


class TestCores:
    def test_a_containers_quota(self, tmp_path):
        path = tmp_path / "cpu.max"
        for text, cores in (("max 100000", None), ("150000 100000", 2), ("20000 100000", 1), ("800000 100000", 8)):
            path.write_text(text + "\n")
            assert _quota(path) == cores
        path.unlink()
        assert _quota(path) is None

    def test_a_lone_text_keeps_to_the_quota(self, encoder, three_threads, monkeypatch):
        monkeypatch.setattr(cpu, "usable_cores", lambda: 2)
        Cpu(encoder.files, "fp32")
        assert torch.get_num_threads() == 2

    def test_threads_of_pytorch_are_a_limit(self, three_threads):
        torch.set_num_threads(1)
        assert usable_cores() == 1
