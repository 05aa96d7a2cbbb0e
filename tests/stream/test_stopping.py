"""The first signal asks, the second ends; afterwards they mean what they meant before."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from es_ingest.stream import stopping
from es_ingest.stream.stopping import Stop
from medte_haystack.errors import BulkWriteError

SIGNALS = [signal.SIGINT, signal.SIGTERM]
BOTH = pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)

SCRIPT = """
import sys, time
from es_ingest.stream import stopping
from es_ingest.stream.stopping import Stop
from medte_haystack.errors import BulkWriteError
with Stop() as stop:
    print("listening", flush=True)
    while not stop.asked:
        time.sleep(0.01)
    print("asked by", stop.signal, flush=True)
    try:
        sys.stdin.readline()  # what is under way
    finally:
        print("cleaned up", flush=True)  # which may take long
print("finished", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def process():
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout.readline() == "listening\n"
        yield child
        child.kill()


class TestProcess:
    @BOTH
    def test_finishes_after_the_first(self, process, number):
        process.send_signal(number)
        assert process.stdout.readline() == f"asked by {number.value}\n"
        out, err = process.communicate("\n\n", timeout=30)
        assert (process.returncode, out) == (0, "cleaned up\nfinished\n")
        assert err == f"{number.name}: finishing what is under way; once more ends at once\n"

    @BOTH
    @pytest.mark.parametrize("second", SIGNALS, ids=lambda number: number.name)
    def test_ends_at_once_after_the_second(self, process, number, second):
        process.send_signal(number)
        process.stdout.readline()
        process.send_signal(second)
        out, _ = process.communicate(timeout=30)
        assert (process.returncode, out) == (-second, "")

    @BOTH
    def test_ends_at_once_when_there_is_nothing_more_under_way(self, process, number):
        process.send_signal(signal.SIGINT)
        process.stdout.readline()
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "cleaned up\n"
        assert process.stdout.readline() == "finished\n"
        process.send_signal(number)
        assert process.wait(30) == -number


class TestPatience:
    def test_waits_as_long_as_it_is_told(self):
        started = time.monotonic()
        Stop().patience("i")(0.3)
        assert 0.25 < time.monotonic() - started < 20

    def test_ends_after_a_while_once_the_end_is_asked_for(self, monkeypatch):
        monkeypatch.setattr(stopping, "GRACE", 0.2)
        stop, started = Stop(), time.monotonic()
        pause = stop.patience("notes")
        threading.Timer(0.1, stop.ask).start()
        with pytest.raises(BulkWriteError, match="writing to index 'notes' was given up"):
            pause(60)
        assert time.monotonic() - started < 20

    def test_is_each_requests_own(self, monkeypatch):
        monkeypatch.setattr(stopping, "GRACE", 0.6)
        stop = Stop()
        stop.ask()
        for _ in range(3):
            stop.patience("i")(0.55)

    def test_ends_when_it_is_of_no_use(self):
        over = threading.Event()
        over.set()
        with pytest.raises(BulkWriteError):
            Stop().patience("i", over)(60)


@BOTH
def test_handlers_of_before_come_back(number):
    heard = []
    before = signal.signal(number, lambda *given: heard.append(given[0]))
    try:
        handlers = [signal.getsignal(one) for one in SIGNALS]
        with Stop() as stop:
            assert [signal.getsignal(one) for one in SIGNALS] != handlers
            assert (stop.asked, stop.signal) == (False, None)
            os.kill(os.getpid(), number)
            assert (stop.asked, stop.signal, heard) == (True, number, [])
        assert [signal.getsignal(one) for one in SIGNALS] == handlers
        with pytest.raises(ZeroDivisionError), Stop():
            raise ZeroDivisionError
        assert [signal.getsignal(one) for one in SIGNALS] == handlers
    finally:
        signal.signal(number, before)


def test_outside_the_main_thread_nothing_is_listened_to():
    handlers, found = [signal.getsignal(one) for one in SIGNALS], []

    def work():
        with Stop() as stop:
            found.append([signal.getsignal(one) for one in SIGNALS])
            found.append(stop.asked)
            stop.ask()
            found.append((stop.asked, stop.signal))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert found == [handlers, False, (True, None)]
