"""Memory that does not suffice: half as much at once, said once, the vectors the same and in order."""

import logging
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from medte_haystack.encoder.backends.any_device import AnyDevice
from medte_haystack.encoder.backends.memory import DeviceMemoryError, Halving, is_out_of_memory, joined
from medte_haystack.encoder.files import locate
from medte_haystack.errors import MedTEError

LOGGER = "medte_haystack.encoder.backends.memory"


class Device:
    """Has memory for so many tokens; a vector is the first token id of its text."""

    def __init__(self, most, error=None):
        self.most = most
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        self.computed = []

    def __call__(self, batch):
        tokens = sum(map(len, batch))
        if tokens > self.most:
            raise self.error
        self.computed.append(tokens)
        return np.asarray([[one[0]] for one in batch], dtype=np.float32)


def texts(number, length=10, first=0):
    return [[first + text] * length for text in range(number)]


def test_what_fits_is_computed_as_it_is():
    device = Device(100)
    assert [part.tolist() for part in Halving(device, 100, "gpu")(texts(10))] == [[[text] for text in range(10)]]
    assert device.computed == [100]


def test_a_batch_that_does_not_fit_is_computed_in_halves_and_the_work_goes_on(caplog):
    device = Device(60)
    halving = Halving(device, 100, "cuda:1")
    with caplog.at_level(logging.WARNING, LOGGER):
        for first in (0, 100, 200):  # planned all at once, before anything failed
            assert joined(halving(texts(10, first=first))).ravel().tolist() == [first + text for text in range(10)]
    assert device.computed == [50] * 6
    assert halving.token_budget == 50
    (record,) = caplog.records
    message = record.getMessage()
    assert "the memory of cuda:1 does not suffice for a batch of 100 tokens" in message
    assert "at most 50 tokens instead of 100" in message


def test_batches_planned_before_are_split_by_the_new_budget_text_by_text():
    device = Device(55)
    halving = Halving(device, 100, "gpu")
    halving(texts(10))
    device.computed.clear()
    uneven = [[1] * 30, [2] * 30, [3] * 10, [4] * 10, [5] * 50]
    assert joined(halving(uneven)).ravel().tolist() == [1, 2, 3, 4, 5]
    assert device.computed == [30, 50, 50]


@pytest.mark.parametrize("number", [1, 3])
def test_odd_numbers_of_texts(number):
    device = Device(20)
    parts = Halving(device, 100, "gpu")(texts(number, 10))
    assert joined(parts).ravel().tolist() == list(range(number))


def test_a_second_time_is_an_error_that_says_what_to_do():
    device = Device(60)
    halving = Halving(device, 100, "cuda:0")
    halving(texts(10))
    device.most = 30
    with pytest.raises(
        DeviceMemoryError, match=r"memory of cuda:0 does not suffice for 50 tokens in 5 texts.*halved"
    ) as e:
        halving(texts(5))
    assert isinstance(e.value, MedTEError)
    assert (e.value.device, e.value.tokens, e.value.texts) == ("cuda:0", 50, 5)
    assert "Tried to allocate 2.00 GiB" in str(e.value)
    assert "max_tokens" in str(e.value)
    assert halving.token_budget == 50


def test_halves_that_do_not_fit_either():
    with pytest.raises(DeviceMemoryError, match="50 tokens in 5 texts"):
        Halving(Device(40), 100, "gpu")(texts(10))


def test_a_single_text_cannot_be_halved():
    halving = Halving(Device(40), 100, "gpu")
    with pytest.raises(DeviceMemoryError, match="does not suffice for 41 tokens in a single text"):
        halving(texts(1, 41))
    assert halving.token_budget == 100


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4000000 bytes."),
    ],
)
def test_what_says_that_memory_ran_out(error):
    assert is_out_of_memory(error)
    assert len(Halving(Device(60, error), 100, "gpu")(texts(10))) == 2


@pytest.mark.parametrize(
    "error", [RuntimeError("device-side assert triggered"), ValueError("out of memory"), KeyError()]
)
def test_other_errors_pass_unchanged(error):
    halving = Halving(Device(60, error), 100, "gpu")
    with pytest.raises(type(error)) as caught:
        halving(texts(10))
    assert caught.value is error
    assert halving.token_budget == 100


def test_threads_that_run_out_at_once_halve_once(caplog):
    together = threading.Barrier(4)

    class Crowded(Device):
        def __call__(self, batch):
            if sum(map(len, batch)) > self.most:
                together.wait(10)
            return super().__call__(batch)

    halving = Halving(Crowded(60), 100, "gpu")
    with caplog.at_level(logging.WARNING, LOGGER), ThreadPoolExecutor(4) as pool:
        found = list(pool.map(halving, [texts(10, first=100 * thread) for thread in range(4)]))
    for thread, parts in enumerate(found):
        assert joined(parts).ravel().tolist() == [100 * thread + text for text in range(10)]
    assert (halving.token_budget, len(caplog.records)) == (50, 1)


def test_the_failed_batch_is_freed_before_its_halves_are_computed():
    alive = []

    class Tensor:
        pass

    def compute(batch):
        tensor = Tensor()
        alive.append(weakref.ref(tensor))
        if len(batch) > 5:
            raise MemoryError("full")
        return [ref() is not None for ref in alive]

    (first, second) = Halving(compute, 100, "gpu")(texts(10))
    assert first == [False, True]
    assert second == [False, False, True]


def test_a_backend_halves_and_its_vectors_stay(tiny, monkeypatch, caplog):
    backend = AnyDevice(locate(str(tiny)), "cpu")
    batch = [[101, *range(2000, 2000 + text), 102] for text in range(20)]
    (expected,) = backend.embed([batch])
    compute = backend._compute._compute

    def short(part):
        if len(part) > 12:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return compute(part)

    monkeypatch.setattr(backend._compute, "_compute", short)
    with caplog.at_level(logging.WARNING, LOGGER):
        (found,) = backend.embed([batch])
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert backend.token_budget == 4096
    assert "at most 4096 tokens instead of 8192" in caplog.text
    np.testing.assert_allclose(backend.embed_one(batch[3]), expected[3], atol=1e-6)
