"""Conversations run the same with a blocking and with an async client."""

import asyncio
from types import SimpleNamespace

import pytest

from medte_haystack.index import Pause, run, run_async
from medte_haystack.index.steps import AtOnce


class Blocking:
    def answer(self, value):
        if value == "fail":
            raise LookupError("no answer")
        return f"answer to {value}"


class Async(Blocking):
    async def answer(self, value):
        return super().answer(value)


async def both(conversation):
    """Return what the conversation gives with either client, or the error it ends with."""
    results = []
    for way in ("blocking", "async"):
        try:
            found = run(Blocking(), conversation()) if way == "blocking" else await run_async(Async(), conversation())
        except LookupError as error:
            found = error
        results.append(found)
    return results


async def test_answers_are_sent_in():
    def conversation():
        first = yield lambda client: client.answer(1)
        yield Pause(0)
        second = yield lambda client: client.answer(2)
        return [first, second]

    assert await both(conversation) == [["answer to 1", "answer to 2"]] * 2


async def test_errors_are_raised_inside_and_can_be_handled():
    def conversation():
        try:
            yield lambda client: client.answer("fail")
        except LookupError as error:
            caught = str(error)
        return [caught, (yield lambda client: client.answer("after"))]

    assert await both(conversation) == [["no answer", "answer to after"]] * 2


async def test_errors_that_are_not_handled_come_out_after_the_last_request():
    asked = []

    def conversation():
        try:
            yield lambda client: client.answer("fail")
        except LookupError:
            yield lambda client: asked.append("cleaning up") or client.answer("bye")
            raise

    blocking, awaited = await both(conversation)
    assert isinstance(blocking, LookupError)
    assert isinstance(awaited, LookupError)
    assert asked == ["cleaning up"] * 2


async def test_pauses_are_slept(monkeypatch):
    slept = []

    async def sleep(seconds):
        slept.append(("async", seconds))

    monkeypatch.setattr("time.sleep", lambda seconds: slept.append(("blocking", seconds)))
    monkeypatch.setattr("asyncio.sleep", sleep)

    def conversation():
        yield Pause(1.5)
        return "done"

    assert await both(conversation) == ["done", "done"]
    assert slept == [("blocking", 1.5), ("async", 1.5)]


class TestAtOnce:
    @staticmethod
    def part(number):
        first = yield lambda client: client.answer(number)
        return [first, (yield lambda client: client.answer(-number))]

    async def test_results_come_in_order(self):
        def conversation():
            return (yield AtOnce([self.part(number) for number in (3, 1, 2)]))

        expected = [[f"answer to {number}", f"answer to {-number}"] for number in (3, 1, 2)]
        assert await both(conversation) == [expected] * 2

    async def test_an_error_of_one_comes_when_the_others_are_done(self):
        done = []

        def part(number):
            yield lambda client: client.answer("fail" if number == 1 else number)
            yield lambda client: client.answer(number)
            done.append(number)

        def conversation():
            try:
                yield AtOnce([part(number) for number in (1, 2, 3)])
            except LookupError as error:
                return str(error), sorted(done)

        assert await both(conversation) == [("no answer", [2, 3]), ("no answer", [2, 2, 3, 3])]


def test_a_conversation_without_requests():
    def conversation():
        return "at once"
        yield

    assert run(None, conversation()) == "at once"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_leave_at_once(error):
    def conversation():
        yield lambda client: (_ for _ in ()).throw(error)

    with pytest.raises(error):
        run(None, conversation())


class FakeTransport:
    """One node with two connections."""

    def __init__(self):
        config = SimpleNamespace(connections_per_node=2)
        self.node_pool = SimpleNamespace(all=lambda: [SimpleNamespace(config=config)])


class SlowClient:
    def __init__(self):
        self.transport = FakeTransport()
        self.under_way = self.most = 0
        self.served = []

    async def ask(self, who):
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0)
        self.under_way -= 1
        self.served.append(who)


def asking(who):
    yield lambda client: client.ask(who)


async def test_who_waits_for_a_connection_comes_before_who_has_just_had_one():
    client = SlowClient()

    async def asks_on_and_on(who):
        for _ in range(5):
            await run_async(client, asking(who))

    await asyncio.gather(*(asks_on_and_on(who) for who in range(8)))
    assert client.most == 2
    for turn in range(5):
        assert sorted(client.served[8 * turn : 8 * turn + 8]) == list(range(8))


def test_a_client_serves_one_event_loop_after_the_other():
    client = SlowClient()

    async def all_at_once():
        await asyncio.gather(*(run_async(client, asking(who)) for who in range(4)))

    for _ in range(2):
        asyncio.run(all_at_once())
    assert len(client.served) == 8


async def test_an_error_or_a_cancellation_gives_the_turn_back():
    client = SlowClient()

    async def fail(_):
        raise ValueError("no")

    async def wait_on(_):
        await asyncio.sleep(60)

    def step(request):
        yield request

    for _ in range(3):
        with pytest.raises(ValueError, match="no"):
            await run_async(client, step(fail))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run_async(client, step(wait_on)), 0.01)
    await asyncio.wait_for(run_async(client, asking("last")), 5)
    assert client.served == ["last"]
