"""Conversations with the server written once and run both ways, blocking and async.

A conversation is a generator: it yields requests (functions of a client) and pauses, and is sent the answers. It never
does I/O itself, so the sync and the async caller cannot drift apart, and a test can answer in the server's place.
"""

import asyncio
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait before the next request, in seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AtOnce:
    """Conversations to carry out at the same time; the answer is the list of their results, in order."""

    conversations: "Sequence[Steps[Any]]"


Request = Callable[[Any], Any]  # client -> response, or an awaitable of it with an async client
Result = TypeVar("Result")
Steps = Generator[Request | Pause | AtOnce, Any, Result]


def run(client: Any, steps: Steps[Result], pause: Callable[[float], object] | None = None) -> Result:
    """Carry out a conversation with a blocking client and return its result.

    :param pause: Waits for so many seconds, instead of sleeping; may raise to give the conversation up.
    """
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            step = steps.throw(error) if error is not None else steps.send(answer)
        except StopIteration as end:
            return cast(Result, end.value)
        answer = error = None
        if isinstance(step, Pause):
            (pause or time.sleep)(step.seconds)
            continue
        try:
            if isinstance(step, AtOnce):
                with ThreadPoolExecutor(len(step.conversations)) as pool:
                    answer = list(pool.map(lambda one: run(client, one, pause), step.conversations))
            else:
                answer = step(client)
        except Exception as failure:  # noqa: BLE001  it is raised inside the conversation
            error = failure


async def run_async(client: Any, steps: Steps[Result]) -> Result:
    """Carry out a conversation with an async client and return its result."""
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            step = steps.throw(error) if error is not None else steps.send(answer)
        except StopIteration as end:
            return cast(Result, end.value)
        answer = error = None
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            continue
        try:
            if isinstance(step, AtOnce):
                tasks = (run_async(client, one) for one in step.conversations)
                answer = await asyncio.gather(*tasks, return_exceptions=True)  # none is left behind by another's error
                for failure in filter(lambda one: isinstance(one, BaseException), answer):
                    raise failure
            else:
                async with _turn(client):
                    answer = await step(client)
        except Exception as failure:  # noqa: BLE001  it is raised inside the conversation
            error = failure


_turns: "WeakKeyDictionary[Any, tuple[asyncio.AbstractEventLoop, asyncio.Semaphore]]" = WeakKeyDictionary()


def _turn(client: Any) -> AbstractAsyncContextManager[None]:
    """Return a wait until one of the client's connections is free, first come, first served.

    The connections themselves are no queue: who has just had one is likely to get it again, so that of many who ask at
    once some would wait until their time is over.
    """
    transport = getattr(client, "transport", None)
    if transport is None:
        return nullcontext()
    loop = asyncio.get_running_loop()
    known = _turns.get(transport)
    if known is None or known[0] is not loop:
        connections = sum(node.config.connections_per_node for node in transport.node_pool.all())
        known = _turns[transport] = loop, asyncio.Semaphore(connections)
    return known[1]


def has_ended(client: Any) -> bool:
    """Tell whether the event loop is closed that an async client has its connections in: it is of no use then."""
    loop = getattr(client.transport, "_loop", None)
    return loop is not None and loop.is_closed()
