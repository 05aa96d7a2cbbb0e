"""Conversations with the server written once and run both ways, blocking and async.

A conversation is a generator: it yields requests (functions of a client) and pauses, and is sent the answers. It never
does I/O itself, so the sync and the async caller cannot drift apart, and a test can answer in the server's place.
"""

import asyncio
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar, cast


@dataclass(frozen=True, slots=True)
class Pause:
    """A wait before the next request, in seconds."""

    seconds: float


Request = Callable[[Any], Any]  # client -> response, or an awaitable of it with an async client
Result = TypeVar("Result")
Steps = Generator[Request | Pause, Any, Result]


def run(client: Any, steps: Steps[Result]) -> Result:
    """Carry out a conversation with a blocking client and return its result."""
    answer: Any = None
    error: Exception | None = None
    while True:
        try:
            step = steps.throw(error) if error is not None else steps.send(answer)
        except StopIteration as end:
            return cast(Result, end.value)
        answer = error = None
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            continue
        try:
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
            answer = await step(client)
        except Exception as failure:  # noqa: BLE001  it is raised inside the conversation
            error = failure
