"""One stage ahead of the next: order, bounds, errors in their place, and an end that always comes."""

import threading
import time

import pytest

from es_ingest.stream import ahead as module
from es_ingest.stream.ahead import ahead
from es_ingest.stream.stopping import Stop
from tests.stream.fakes import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "_LOOK", 0.01)


def threads():
    return [one for one in threading.enumerate() if one.name == "the reader"]


class Source:
    """Numbers, and how far they have been read and whether they were closed."""

    def __init__(self, number, error=None):
        self.read, self.closed, self.thread = 0, False, None
        self._number, self._error = number, error

    def __iter__(self):
        return self.items()

    def items(self):
        self.thread = threading.current_thread()
        try:
            for number in range(self._number):
                self.read += 1
                yield number
            if self._error is not None:
                raise self._error
        finally:
            self.closed = True


def test_in_order():
    with ahead(Source(1000).items(), 8, "the reader", Stop()) as made:
        assert list(made) == list(range(1000))
    assert not threads()


def test_nothing():
    with ahead([], 8, "the reader", Stop()) as made:
        assert list(made) == []


@pytest.mark.parametrize(("weight", "waiting"), [(1, 8), (3, 3), (100, 1), (0, 8)])
def test_no_more_wait_than_are_light_enough(weight, waiting):
    source = Source(1000)
    with ahead(source.items(), 8, "the reader", Stop(), lambda number: weight) as made:
        eventually(lambda: source.read == waiting + 1)  # and the one that finds no room
        taken = iter(made)
        assert [next(taken) for _ in range(5)] == list(range(5))
        eventually(lambda: source.read == waiting + 6)
        assert list(taken) == list(range(5, 1000))


def test_they_are_made_in_a_thread_of_that_name():
    source = Source(1)
    with ahead(source.items(), 8, "the reader", Stop()) as made:
        list(made)
    assert source.thread is not threading.current_thread()
    assert source.thread.name == "the reader"


def test_no_further_ahead_than_told():
    source = Source(1000)
    with ahead(source.items(), 3, "the reader", Stop()) as made:
        eventually(lambda: source.read == 4)  # three wait, and one is in hand
        time.sleep(0.05)
        assert source.read == 4
        stream = iter(made)
        assert [next(stream) for _ in range(5)] == [0, 1, 2, 3, 4]
        eventually(lambda: source.read == 9)
        time.sleep(0.05)
        assert source.read == 9


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
def test_an_error_comes_after_what_came_before_it(error):
    found = []

    def take():
        with ahead(Source(5, error).items(), 2, "the reader", Stop()) as made:
            for item in made:
                time.sleep(0.01)  # the error is made long before its turn
                found.append(item)

    with pytest.raises(type(error)) as caught:
        take()
    assert caught.value is error
    assert found == [0, 1, 2, 3, 4]
    assert not threads()


def test_leaving_early_ends_and_closes_the_source():
    source = Source(1000)
    with ahead(source.items(), 2, "the reader", Stop()) as made:
        assert next(iter(made)) == 0
        eventually(lambda: source.read == 4)  # the thread waits for room
    assert source.closed
    assert not threads()


def test_an_error_of_the_taker_does_too():
    source = Source(1000)
    with pytest.raises(ZeroDivisionError), ahead(source.items(), 2, "the reader", Stop()) as made:
        print(1 / next(iter(made)))
    assert source.closed
    assert not threads()


def test_leaving_while_the_source_gives_nothing(monkeypatch):
    monkeypatch.setattr(module, "_PATIENCE", 0.05)
    gone = threading.Event()

    def pipe():
        yield 0
        gone.wait(30)
        yield 1

    with ahead(pipe(), 2, "the reader", Stop()) as made:
        assert next(iter(made)) == 0
        started = time.monotonic()
    assert time.monotonic() - started < 5
    gone.set()
    eventually(lambda: not threads())


class TestStop:
    def test_ends_what_waits_for_a_source_that_gives_nothing(self, monkeypatch):
        monkeypatch.setattr(module, "_PATIENCE", 0.05)
        stop, gone = Stop(), threading.Event()

        def pipe():
            yield 0
            gone.wait(30)

        with ahead(pipe(), 2, "the reader", stop) as made:
            stream = iter(made)
            assert next(stream) == 0
            threading.Timer(0.05, stop.ask).start()
            assert list(stream) == []
        gone.set()
        eventually(lambda: not threads())

    def test_drops_what_is_made_and_not_taken(self):
        source, stop, taken = Source(1000), Stop(), []
        with ahead(source.items(), 5, "the reader", stop) as made:
            for item in made:
                taken.append(item)
                if item == 9:
                    stop.ask()
        assert taken == list(range(10))
        assert source.closed
        assert source.read <= 9 + 5 + 2
        assert not threads()

    def test_an_error_made_ahead_is_dropped_with_it(self):
        stop = Stop()
        stop.ask()
        with ahead(Source(0, ValueError()).items(), 5, "the reader", stop) as made:
            assert list(made) == []
