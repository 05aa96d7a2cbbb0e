"""How many requests go at a time: more while the server keeps its pace, half after a burst of rejections."""

import random
import threading
import time

import pytest

from es_ingest.stream.concurrency import Concurrency


def grown(most, limit):
    gate = Concurrency(most)
    while gate.limit < limit:
        gate.done(1.0, 1000)
    return gate


def burst(gate, requests=3):
    for _ in range(requests):
        gate.rejected()


class TestGrowth:
    def test_one_more_after_each_round(self):
        gate, limits = Concurrency(5), []
        for _ in range(14):
            gate.done(1.0, 1000)
            limits.append(gate.limit)
        assert limits == [2, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5]
        assert gate.highest == 5

    @pytest.mark.parametrize("most", [1, 2])
    def test_begins_with_two_unless_fewer_are_allowed(self, most):
        gate = Concurrency(most)
        assert (gate.limit, gate.highest) == (most, most)
        for _ in range(10):
            gate.done(1.0, 1000)
        assert gate.limit == most

    def test_requests_that_share_a_server_may_be_slower(self):
        gate = Concurrency(8)
        for _ in range(100):
            gate.done(float(gate.limit), 1000)  # it is saturated: so many at a time take so many times as long
        assert gate.limit == 8


class TestRejection:
    def test_halves_once_for_a_burst(self):
        gate = grown(8, 8)
        burst(gate)
        assert gate.limit == 4
        gate.done(1.0, 1000)
        burst(gate)
        assert gate.limit == 2
        assert gate.highest == 8

    def test_also_right_after_growing(self):
        gate = grown(8, 6)
        burst(gate)
        assert gate.limit == 3

    def test_also_the_very_first(self):
        gate = Concurrency(8)
        burst(gate)
        assert gate.limit == 1

    def test_never_below_one(self):
        gate = grown(8, 8)
        for _ in range(10):
            burst(gate)
            gate.done(1.0, 1000)
        assert gate.limit >= 1
        gate = Concurrency(1)
        burst(gate)
        assert gate.limit == 1

    def test_grows_again(self):
        gate = grown(8, 8)
        burst(gate)
        for _ in range(100):
            gate.done(1.0, 1000)
        assert gate.limit == 8


class TestSlower:
    def test_one_fewer_a_round(self):
        gate = grown(8, 4)
        for _ in range(4):
            gate.done(2.5 * 4, 1000)
        assert gate.limit == 3
        for _ in range(100):
            gate.done(1000.0, 1000)
            assert gate.limit >= 1

    def test_a_request_is_measured_by_its_size(self):
        gate = grown(8, 4)
        for _ in range(4):
            gate.done(10.0, 10_000)
        assert gate.limit == 5

    def test_a_lucky_pace_is_forgotten(self):
        gate = Concurrency(8)
        gate.done(0.001, 1000)  # the index was empty
        for _ in range(600):
            gate.done(1.0, 1000)
        assert gate.limit == 8

    def test_an_empty_request(self):
        Concurrency(8).done(0.0, 0)


class TestGate:
    def test_lets_no_more_in_than_the_limit(self):
        gate, inside, seen, lock, chance = Concurrency(4), 0, [], threading.Lock(), random.Random(0)

        def work():
            nonlocal inside
            for _ in range(30):
                with gate:
                    with lock:
                        inside += 1
                        seen.append(inside)
                    time.sleep(chance.random() / 1000)
                    if chance.random() < 0.1:
                        gate.rejected()
                    with lock:
                        inside -= 1
                    gate.done(0.001, 10)

        threads = [threading.Thread(target=work) for _ in range(12)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(30)
        assert len(seen) == 12 * 30  # each had its turn
        assert inside == 0
        assert max(seen) <= gate.highest <= 4

    def test_an_error_makes_room(self):
        gate = Concurrency(1)
        with pytest.raises(ZeroDivisionError), gate:
            raise ZeroDivisionError
        with gate:
            pass

    def test_what_waits_goes_when_the_limit_rises(self):
        gate, through = grown(2, 2), threading.Event()

        def third():
            with gate:
                through.set()

        with gate, gate:
            thread = threading.Thread(target=third)
            thread.start()
            assert not through.wait(0.05)
            gate.most = 3
            gate.done(1.0, 1000)
            gate.done(1.0, 1000)
            assert through.wait(10)
        thread.join()
