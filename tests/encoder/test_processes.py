"""Several devices, here the CPU twice: vectors in order, errors as they were raised, and no process left behind."""

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from medte_haystack.encoder.backends import child, cpu
from medte_haystack.encoder.backends.child import ProcessError, Vectors
from medte_haystack.encoder.backends.choose import choose
from medte_haystack.encoder.backends.processes import Processes
from medte_haystack.encoder.files import locate
from medte_haystack.errors import EncoderOptionError, ModelError


@pytest.fixture(scope="module")
def files(tiny_model):
    return locate(str(tiny_model))


@pytest.fixture(scope="module")
def alone(files):
    return choose(files, "cpu", "fp32")


@pytest.fixture(scope="module")
def processes(files):
    backend = choose(files, "cpu,cpu", "fp32")
    assert isinstance(backend, Processes)
    yield backend
    backend.close()


def batches(number, texts=3):
    return [[[101, 2000 + batch, 2000 + text, 102] for text in range(texts)] for batch in range(number)]


def pids(backend) -> list[int]:
    return [one.process.pid for one in backend._children]


def gone(pid: int) -> bool:
    for _ in range(200):
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


class TestVectors:
    def test_come_in_order_from_both(self, processes, alone):
        expected = list(alone.embed(batches(40)))
        found = list(processes.embed(iter(batches(40))))
        assert len(found) == 40
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == np.float32
            np.testing.assert_allclose(one, other, atol=1e-6)
        assert len(set(pids(processes))) == 2
        assert all(one._number > 0 for one in processes._children)

    def test_one_text(self, processes, alone):
        np.testing.assert_allclose(processes.embed_one([101, 2000, 102]), alone.embed_one([101, 2000, 102]), atol=1e-6)

    def test_threads_may_share_it(self, processes, alone):
        parts = [batches(10, texts) for texts in (1, 2, 3, 4)]
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda part: list(processes.embed(part)), parts))
        for part, found in zip(parts, results, strict=True):
            for one, other in zip(found, alone.embed(part), strict=True):
                np.testing.assert_allclose(one, other, atol=1e-6)

    def test_no_more_is_read_than_keeps_both_busy(self, processes):
        read = []
        stream = processes.embed(read.append(number) or batch for number, batch in enumerate(batches(100)))
        next(stream)
        assert 2 <= len(read) <= 2 * (2 * os.cpu_count() + 2) + 1
        stream.close()
        assert len(list(processes.embed(batches(2)))) == 2

    def test_no_batches(self, processes):
        assert list(processes.embed([])) == []

    def test_what_it_is(self, processes):
        assert (processes.device, processes.precision) == ("cpu,cpu", "fp32")
        assert processes.parallel >= 2
        assert processes.token_budget == cpu._TOKENS


class TestErrors:
    def test_of_loading_are_raised_here_with_type_and_values(self, tiny):
        files = locate(str(tiny))
        (tiny / "model.safetensors").write_bytes(b"short")
        backend = Processes(files, ["cpu"], "fp32")
        with pytest.raises(ModelError, match=r"model\.safetensors cannot be") as caught:
            next(backend.embed(batches(1)))
        assert caught.value.path == str(tiny / "model.safetensors")
        assert "in the process of the device" in caught.value.__notes__[0]
        assert backend._children == []

    def test_of_a_precision(self, files):
        with pytest.raises(EncoderOptionError, match="'fp8' is not to be had on cpu"):
            _ = Processes(files, ["cpu"], "fp8").token_budget

    def test_of_a_batch_concern_that_batch_alone(self, processes, alone):
        out_of_range = [[101, 99_999, 102]]
        before = pids(processes)
        stream = processes.embed([*batches(5), out_of_range, *batches(5)])
        for one, other in zip(islice(stream, 5), alone.embed(batches(5)), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
        with pytest.raises(IndexError, match="index out of range"):
            next(stream)
        assert len(list(processes.embed(batches(3)))) == 3
        assert pids(processes) == before

    def test_of_the_input_are_raised_as_they_are(self, processes):
        def broken():
            yield from batches(2)
            raise KeyError("the reader's own")

        with pytest.raises(KeyError, match="the reader's own"):
            list(processes.embed(broken()))


class TestEnds:
    def test_a_process_that_ended_is_started_again(self, files):
        backend = Processes(files, ["cpu", "cpu"], "fp32")
        backend.start()
        killed, kept = pids(backend)
        os.kill(killed, signal.SIGKILL)
        backend._children[0].process.wait(10)  # not gone(): a zombie's other threads may live on for a moment
        assert len(list(backend.embed(batches(10)))) == 10
        started, other = pids(backend)
        assert (started != killed, other) == (True, kept)
        backend.close()
        assert gone(started)
        assert gone(kept)

    def test_a_process_that_is_killed_while_it_is_waited_for(self, files):
        backend = Processes(files, ["cpu"], "fp32")
        os.kill(backend._started()[0].process.pid, signal.SIGSTOP)
        threading.Timer(0.2, os.kill, (pids(backend)[0], signal.SIGKILL)).start()
        with pytest.raises(ProcessError, match="process that computes on cpu ended by signal 9; was memory") as caught:
            next(backend.embed(batches(1)))
        assert (caught.value.device, caught.value.status) == ("cpu", -9)
        assert len(list(backend.embed(batches(2)))) == 2  # by a new one
        backend.close()

    def test_a_process_that_cannot_start(self, files, monkeypatch):
        monkeypatch.setattr("medte_haystack.encoder.backends.processes._PROGRAM", "import sys; sys.exit(3) # {module}")
        with pytest.raises(ProcessError, match="ended with status 3"):
            next(Processes(files, ["cpu"], "fp32").embed(batches(1)))

    def test_an_interrupt_in_the_middle_of_a_message(self, files, alone):
        backend = Processes(files, ["cpu"], "fp32")
        (one,) = backend._started()
        whole = one._requests

        class Interrupted:
            def write(self, data):
                whole.write(bytes(data)[: len(data) // 2])
                whole.flush()
                raise KeyboardInterrupt

        one._requests = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            next(backend.embed(batches(1)))
        one._requests = whole
        assert (one.failed, one.load()) == (True, 0)
        (found,) = backend.embed(batches(1))  # by a new one
        np.testing.assert_allclose(found, next(alone.embed(batches(1))), atol=1e-6)
        backend.close()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    def test_a_forked_process_does_not_keep_them(self, files):
        backend = Processes(files, ["cpu"], "fp32")
        backend.start()
        (started,) = pids(backend)
        reader, writer = os.pipe()
        if not (fork := os.fork()):
            os.close(writer)
            os.read(reader, 1)  # lives until the parent lets it go
            os._exit(0)
        backend._children[0]._requests.close()  # as when the parent is killed
        assert gone(started)
        os.close(writer)
        os.waitpid(fork, 0)
        backend.close()

    def test_entries_of_the_path_that_are_no_strings(self, files, monkeypatch):
        monkeypatch.setattr(sys, "path", [Path("src"), *sys.path])
        backend = Processes(files, ["cpu"], "fp32")
        assert len(list(backend.embed(batches(2)))) == 2
        backend.close()

    @pytest.mark.parametrize("way", ["closed", "collected"])
    def test_they_end_when_the_backend_is(self, files, way):
        backend = Processes(files, ["cpu"], "fp32")
        assert len(list(backend.embed(batches(4)))) == 4
        started = pids(backend)
        assert all(psutil.pid_exists(pid) for pid in started)
        if way == "closed":
            backend.close()
            backend.close()
        del backend
        gc.collect()
        assert all(gone(pid) for pid in started)

    def test_they_start_and_fail_when_the_model_is_loaded(self, tiny):
        (tiny / "model.safetensors").write_bytes(b"short")
        with pytest.raises(ModelError, match="cannot be loaded"):
            choose(locate(str(tiny)), "cpu,cpu", "fp32")


@pytest.mark.parametrize("asked", ["auto", "bf16"])
def test_devices_without_the_precision(files, monkeypatch, caplog, asked):
    class Refusing(Processes):
        def start(self):
            if self.precision != "fp32":
                raise EncoderOptionError("cuda:1 computes nonsense in bf16")

    monkeypatch.setattr("medte_haystack.encoder.backends.processes.Processes", Refusing)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    if asked == "auto":
        assert choose(files, "cpu,cpu", asked).precision == "fp32"
        assert "computes nonsense" in caplog.text
    else:
        with pytest.raises(EncoderOptionError, match="nonsense"):
            choose(files, "cpu,cpu", asked)


SCRIPT = """
import sys
from medte_haystack.encoder import locate
from medte_haystack.encoder.backends.processes import Processes
backend = Processes(locate(sys.argv[1]), ["cpu"], "fp32")  # with no `if __name__ == "__main__":` around it
vectors = backend.embed_one([101, 2000, 102])
print(*[child.process.pid for child in backend._children], len(vectors), flush=True)
if sys.argv[2] == "wait":
    input()
"""


class TestScripts:
    def script(self, tmp_path, files, then) -> list[str]:
        (tmp_path / "script.py").write_text(SCRIPT)
        return [sys.executable, str(tmp_path / "script.py"), str(files.folder), then]

    def test_need_no_main_guard(self, tmp_path, files):
        done = subprocess.run(self.script(tmp_path, files, "end"), capture_output=True, text=True, timeout=100)
        assert (done.returncode, done.stderr) == (0, "")
        *started, dim = map(int, done.stdout.split())
        assert (len(started), dim) == (1, 32)
        assert all(gone(pid) for pid in started)

    def test_that_are_killed_leave_no_process(self, tmp_path, files):
        with subprocess.Popen(
            self.script(tmp_path, files, "wait"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as running:
            *started, _ = map(int, running.stdout.readline().split())
            assert all(psutil.pid_exists(pid) for pid in started)
            running.kill()
        assert all(gone(pid) for pid in started)


def test_what_a_process_logs_is_in_this_log(processes, caplog):
    (one, *_) = processes._started()
    with caplog.at_level(logging.WARNING):
        one._take(child.Log("medte_haystack.encoder.backends.memory", logging.WARNING, "half as much"))
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("medte_haystack.encoder.backends.memory", "cpu: half as much")
    ]


def test_a_budget_that_was_halved_is_known_here(processes):
    (one, *_) = processes._started()
    kept = one.token_budget
    future = one._asked[0] = Future()
    one._take(Vectors(0, np.zeros((1, 32), dtype=np.float32), 256))
    assert (future.result().shape, processes.token_budget) == ((1, 32), 256)
    one.token_budget = kept
