import asyncio

from es_ingest.distributed.desk import TRIES, Desk


async def test_numbers_are_waited_for_until_the_end():
    desk = Desk(None)
    waiting = asyncio.create_task(desk.is_given(1))
    await desk.give(0, "a")
    assert await desk.is_given(0)
    assert not waiting.done()
    await desk.give(1, "b")
    assert await waiting
    end = asyncio.create_task(desk.is_given(2))
    await desk.close()
    assert not await end
    assert (await desk.group(0), await desk.group(1)) == ("a", "b")
    await desk.settle(0)
    assert await desk.group(0) is None
    assert await desk.is_given(0)  # read again, the same numbers come


async def test_questions_are_answered_each():
    desk = Desk(None)
    first, again = asyncio.create_task(desk.ask("a")), asyncio.create_task(desk.ask("a"))
    await asyncio.sleep(0)
    messages = await desk.messages(1)
    assert [message for _, message in messages] == ["a", "a"]
    await desk.answer(messages[1][0], False)
    assert not await again
    await desk.answer(messages[0][0], True)
    assert await first


async def test_what_is_taken_back_is_not_to_be_had():
    desk = Desk(None)
    await desk.give(0, "a")
    await desk.close(withdraw=True)
    assert await desk.group(0) is None


async def test_pauses_are_short_once_the_end_is_asked_for():
    desk = Desk(None)
    assert await desk.pause(0.01, 0.05) == 0.05  # not yet
    pause = asyncio.create_task(desk.pause(60, 0.05))
    await asyncio.sleep(0)
    await desk.close(withdraw=True)
    assert await pause is None
    assert 9 < await desk.pause(0.01, 10) < 10


async def test_giving_up_ends_questions_and_pauses():
    desk = Desk(None)
    asked, paused = asyncio.create_task(desk.ask("a")), asyncio.create_task(desk.pause(60, 60))
    await asyncio.sleep(0)
    await desk.close(give_up=True)
    assert not await asked
    assert await paused is None
    assert not await desk.ask("b")


async def test_a_group_that_workers_die_from_ends_the_run():
    desk = Desk(None)
    await desk.give(0, "a")
    for _ in range(TRIES):
        assert await desk.group(0) == "a"
    assert await desk.group(0) is None
    ((_, message),) = await desk.messages(1)
    assert "workers died" in str(message.error)
