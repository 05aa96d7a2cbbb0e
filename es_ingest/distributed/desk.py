"""The desk where the driver and its workers meet: groups of records to be fetched, answers to be given."""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from es_ingest.distributed.errors import EngineError
from es_ingest.distributed.messages import Destination, Failed

TRIES = 8  # of a group whose workers die
_LOOK_AT = "look at the memory of the cluster's machines and at Ray's logs there"


class Desk:
    """An actor with one process of its own. Only numbers of groups travel through Ray Data: work may be repeated there.

    A group stays until the driver has settled it, so whatever Ray does again finds it here, or finds that there is
    nothing left to do.

    :param destination: Where workers write to; it holds credentials, which Ray Data would log if it knew them.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._groups: dict[int, Any] = {}
        self._fetched: Counter[int] = Counter()
        self._given = 0  # all groups below this number have been given out
        self._open = True  # whether more may come
        self._ending = False
        self._gave_up = False
        self._answers: dict[int, bool] = {}
        self._said = 0
        self._messages: list[tuple[int, object]] = []
        self._changed = asyncio.Condition()

    async def destination(self) -> Destination:
        """Return where workers write to."""
        return self._destination

    async def give(self, number: int, group: object) -> None:
        """Take a group for the workers; numbers count from 0 without a gap."""
        async with self._changed:
            self._groups[number] = group
            self._given = number + 1
            self._changed.notify_all()

    async def close(self, *, withdraw: bool = False, give_up: bool = False) -> None:
        """Take no more groups.

        :param withdraw: Take back those that no worker has fetched.
        :param give_up: Let nothing more be sent to the server either.
        """
        async with self._changed:
            self._open = False
            self._ending = self._ending or withdraw or give_up
            self._gave_up = self._gave_up or give_up
            if withdraw or give_up:
                self._groups.clear()
            self._changed.notify_all()

    async def answer(self, question: int, may_send: bool) -> None:
        """Answer :meth:`ask`.

        :param question: Number of the message that asked.
        """
        async with self._changed:
            self._answers[question] = may_send
            self._changed.notify_all()

    async def settle(self, number: int) -> None:
        """Forget a group."""
        self._groups.pop(number, None)
        self._fetched.pop(number, None)

    async def messages(self, seconds: float) -> list[tuple[int, object]]:
        """Return what workers have said, in order and numbered; waits so long if they have said nothing."""
        async with self._changed:
            with suppress(TimeoutError):
                if not self._messages:
                    await asyncio.wait_for(self._changed.wait_for(lambda: self._messages), seconds)
            said, self._messages = self._messages, []
            return said

    async def is_given(self, number: int) -> bool:
        """Wait until a group has been given out; tell whether there is one of this number."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._given > number or not self._open)
            return self._given > number

    async def group(self, number: int) -> Any:
        """Return a group, None if it is settled or has been taken back.

        One that is asked for again and again is one that workers die from; that ends the run.
        """
        self._fetched[number] += 1
        if self._fetched[number] > TRIES and number in self._groups:
            await self.tell(
                Failed(EngineError(f"{TRIES} workers died while they encoded the same records; {_LOOK_AT}"))
            )
            return None
        return self._groups.get(number)

    async def tell(self, message: object) -> int:
        """Say something to the driver; return the message's number."""
        async with self._changed:
            self._said += 1
            self._messages.append((self._said, message))
            self._changed.notify_all()
            return self._said

    async def ask(self, message: object) -> bool:
        """Say something about a group to the driver and wait for the answer: whether it may be sent to the server."""
        question = await self.tell(message)
        async with self._changed:
            await self._changed.wait_for(lambda: question in self._answers or self._gave_up)
            return self._answers.pop(question, False) and not self._gave_up

    async def pause(self, seconds: float, grace: float) -> float | None:
        """Wait so long, but no longer than `grace` once the end was asked for.

        :returns: What is left of `grace`; None if nothing is, or all is given up.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        await self._wait(seconds, lambda: self._ending)
        if self._ending:
            began = clock()
            await self._wait(min(until - began, grace), lambda: self._gave_up)
            grace -= clock() - began
        return None if self._gave_up or grace <= 0 else grace

    async def _wait(self, seconds: float, condition: Callable[[], bool]) -> None:
        with suppress(TimeoutError):
            async with self._changed:
                await asyncio.wait_for(self._changed.wait_for(condition), max(0.0, seconds))
