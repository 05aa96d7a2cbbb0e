"""Which backend serves which device, precision and model; and what is refused, with what to do instead."""

import logging
from types import SimpleNamespace

import pytest
import torch

from medte_haystack.encoder.backends import choose as choosing
from medte_haystack.encoder.backends import cpu, cuda
from medte_haystack.encoder.backends.any_device import AnyDevice
from medte_haystack.encoder.backends.choose import choose, find_devices
from medte_haystack.encoder.backends.processes import Processes
from medte_haystack.encoder.files import locate
from medte_haystack.errors import EncoderOptionError

UNKNOWN_DEVICE = "is unknown; there are cpu, cuda, cuda:N and mps, cuda:all for every GPU, or a list"


@pytest.fixture
def files(tiny):
    return locate(str(tiny))


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that there are so many GPUs of a compute capability, and that a GPU's backend loads."""

    class Loaded:
        def __init__(self, files, device, precision):
            self.device, self.precision = device, precision

    def pretend(number, capability=(9, 0)):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Pretended")
        monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: True)
        monkeypatch.setattr(cuda, "Cuda", Loaded)
        monkeypatch.setattr("medte_haystack.encoder.backends.any_device.AnyDevice", AnyLoaded)

    class AnyLoaded:
        precision = "fp32"

        def __init__(self, files, device):
            self.device = device

    return pretend


@pytest.fixture
def processor(monkeypatch):
    """Pretend that the processor has only these units."""

    def pretend(**units):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)

    return pretend


class TestDevice:
    @pytest.mark.parametrize("device", ["gpu", "meta", "", "cpu:x", "tpu", "cpu,gpu", "cpu,", "cuda:0;cuda:1"])
    def test_unknown(self, files, device):
        with pytest.raises(EncoderOptionError) as caught:
            choose(files, device, "auto")
        assert f"device {device!r} {UNKNOWN_DEVICE}" in str(caught.value)
        assert caught.value.device == device

    @pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:all", "mps", "cpu:1", "cuda:0,cuda:1"])
    def test_not_here(self, files, device, gpus, monkeypatch):
        gpus(0)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
        with pytest.raises(EncoderOptionError, match=f"'{device}' is not on this machine; leave it out or say cpu"):
            choose(files, device, "auto")

    def test_a_gpu_beyond_those_that_are_here(self, gpus):
        gpus(2)
        assert find_devices("cuda:1") == ["cuda:1"]
        with pytest.raises(EncoderOptionError, match="'cuda:0,cuda:2' is not on this machine"):
            find_devices("cuda:0,cuda:2")

    def test_mixed_kinds(self, gpus):
        gpus(1)
        with pytest.raises(EncoderOptionError, match="'cuda:0,cpu' mixes cpu and cuda"):
            find_devices("cuda:0,cpu")

    def test_nothing_said(self, gpus):
        gpus(0)
        assert find_devices(None) == ["cpu"]
        gpus(4)
        assert find_devices(None) == ["cuda"]

    @pytest.mark.parametrize(("number", "devices"), [(1, ["cuda:0"]), (3, ["cuda:0", "cuda:1", "cuda:2"])])
    def test_all_gpus(self, gpus, number, devices):
        gpus(number)
        assert find_devices("cuda:all") == devices

    def test_a_list(self, gpus):
        gpus(2)
        assert find_devices("cuda:1, cuda:0") == ["cuda:1", "cuda:0"]
        assert find_devices("cpu,cpu") == ["cpu", "cpu"]


class TestPrecision:
    @pytest.mark.parametrize("precision", ["fp16", "", "FP32", "int4", "binary"])
    def test_unknown(self, files, precision):
        with pytest.raises(EncoderOptionError) as caught:
            choose(files, "cpu", precision)
        assert f"precision {precision!r} is unknown; there are auto, fp32, bf16, int8, fp8." in str(caught.value)
        assert caught.value.precision == precision

    def test_on_a_cpu_with_bf16(self, files, processor, monkeypatch):
        processor(avx512_bf16=True)
        monkeypatch.setattr(cpu, "Cpu", lambda files, precision: SimpleNamespace(device="cpu", precision=precision))
        assert choose(files, "cpu", "auto").precision == "bf16"
        assert choose(files, "cpu", "bfloat16").precision == "bf16"
        assert choose(files, "cpu", "float32").precision == "fp32"

    def test_on_a_cpu_without(self, files, processor):
        processor(avx2=True)
        assert choose(files, "cpu", "auto").precision == "fp32"
        for precision in ("bf16", "int8"):
            with pytest.raises(EncoderOptionError, match=f"'{precision}' is not to be had.*lacks.*take auto or fp32"):
                choose(files, "cpu", precision)

    @pytest.mark.parametrize(
        ("device", "precision", "message"),
        [
            ("cpu", "fp8", "precision 'fp8' is not to be had on cpu; there are auto, fp32, bf16, int8"),
            ("cuda", "int8", "precision 'int8' is not to be had on cuda; there are auto, fp32, bf16, fp8"),
            ("mps", "bf16", "precision 'bf16' is not to be had on mps; there are auto, fp32"),
            ("cpu,cpu", "fp8", "precision 'fp8' is not to be had on cpu"),
        ],
    )
    def test_of_another_device(self, files, gpus, monkeypatch, device, precision, message):
        gpus(1)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        with pytest.raises(EncoderOptionError, match=message):
            choose(files, device, precision)

    @pytest.mark.parametrize(
        ("capability", "auto", "lacking"),
        [
            ((7, 5), "fp32", {"bf16", "fp8"}),
            ((8, 0), "bf16", {"fp8"}),
            ((8, 9), "bf16", set()),
            ((9, 0), "bf16", set()),
        ],
    )
    def test_on_gpus(self, files, gpus, capability, auto, lacking):
        gpus(1, capability)
        assert choose(files, "cuda:0", "auto").precision == auto
        assert choose(files, "cuda:0", "fp32").precision == "fp32"
        for precision in ("bf16", "fp8"):
            if precision in lacking:
                with pytest.raises(EncoderOptionError, match=r"lacks compute capability 8\.[09] \(Pretended has [78]"):
                    choose(files, "cuda:0", precision)
            else:
                backend = choose(files, "cuda:0", precision)
                assert (type(backend), backend.precision) == (cuda.Cuda, precision)

    def test_without_flash_attention(self, files, gpus, monkeypatch):
        gpus(1)
        monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)
        assert choose(files, "cuda", "auto").precision == "fp32"
        with pytest.raises(EncoderOptionError, match="lacks FlashAttention in this build of PyTorch"):
            choose(files, "cuda", "bf16")

    def test_of_another_model_needs_no_flash_attention_but_the_gpu(self, tiny, edit_json, gpus, monkeypatch):
        edit_json(tiny / "config.json", hidden_act="relu")
        monkeypatch.setattr(
            choosing,
            "_load_fallback",
            lambda _, devices, precision, __: SimpleNamespace(device=devices[0], precision=precision),
        )
        gpus(1)
        monkeypatch.setattr(torch.backends.cuda, "is_flash_attention_available", lambda: False)
        assert choose(locate(str(tiny)), "cuda", "bf16").precision == "bf16"
        gpus(1, (7, 5))
        with pytest.raises(EncoderOptionError, match=r"lacks compute capability 8\.0"):
            choose(locate(str(tiny)), "cuda", "bf16")
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        with pytest.raises(EncoderOptionError, match="'bf16' is not to be had on mps"):
            choose(locate(str(tiny)), "mps", "bf16")

    def test_a_gpu_that_fails_in_bf16_computes_in_fp32_if_nothing_was_asked(self, files, gpus, monkeypatch, caplog):
        gpus(1)

        def fail(files, device, precision):
            raise EncoderOptionError("cuda:0 cannot compute this model in bf16 (no kernel image); take fp32")

        monkeypatch.setattr(cuda, "Cuda", fail)
        with caplog.at_level(logging.INFO, choosing.__name__):
            assert choose(files, "cuda:0", "auto").precision == "fp32"
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert "no kernel image" in caplog.text
        with pytest.raises(EncoderOptionError, match="no kernel image"):
            choose(files, "cuda:0", "bf16")


class TestBackend:
    def test_cpu(self, files, caplog):
        with caplog.at_level(logging.INFO, choosing.__name__):
            backend = choose(files, "cpu", "fp32")
        assert isinstance(backend, cpu.Cpu)
        assert [record.getMessage() for record in caplog.records] == ["model tiny on cpu in fp32"]

    def test_several_devices(self, files, gpus, monkeypatch):
        monkeypatch.setattr(Processes, "start", lambda _: None)
        gpus(2)
        backend = choose(files, "cuda:all", "auto")
        assert isinstance(backend, Processes)
        assert (backend.device, backend.precision, backend.parallel) == ("cuda:0,cuda:1", "bf16", 2)
        gpus(2, (8, 0))
        with pytest.raises(EncoderOptionError, match=r"lacks compute capability 8\.9"):
            choose(files, "cuda:all", "fp8")

    def test_mps(self, files, monkeypatch):
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
        loaded = []
        monkeypatch.setattr(
            "medte_haystack.encoder.backends.any_device.AnyDevice",
            lambda files, device: loaded.append(device) or AnyDevice(files, "cpu"),
        )
        assert choose(files, "mps", "auto").precision == "fp32"
        assert loaded == ["mps"]
