"""The memory that requests hold together."""

import asyncio

import pytest

from service.ingest.memory import Busy, Memory


async def test_memory_is_held_while_a_request_lasts_and_given_back() -> None:
    memory = Memory(100, patience_s=0.05)
    with memory.hold() as one, memory.hold() as two:
        await one.grow_to(40)
        await one.grow_to(30)
        await two.grow_to(60)
        assert memory.bytes_held == 100
        with pytest.raises(Busy, match="INGEST_QUEUE_MB"):
            await two.grow_to(61)
    assert memory.bytes_held == 0


async def test_a_request_waits_for_memory_until_another_gives_it_back() -> None:
    memory = Memory(100, patience_s=120)
    with memory.hold() as two:
        with memory.hold() as one:
            await one.grow_to(90)
            waiting = asyncio.create_task(two.grow_to(20))
            await asyncio.sleep(0.01)
            assert not waiting.done()
        await waiting
        assert memory.bytes_held == 20


async def test_requests_that_grow_together_do_not_wait_for_each_other_for_ever() -> None:
    memory = Memory(100, patience_s=120)
    ended = []

    async def grow(name: str) -> None:
        with memory.hold() as hold:
            for size in range(10, 100, 10):
                await hold.grow_to(size)
                await asyncio.sleep(0)
                assert memory.bytes_held <= 100 + 90
            ended.append(name)

    async with asyncio.timeout(60):
        await asyncio.gather(*map(grow, "abcd"))
    assert ended == list("abcd")
    assert memory.bytes_held == 0


async def test_what_turns_out_to_be_smaller_gives_room_to_those_who_wait() -> None:
    memory = Memory(100, patience_s=120)
    with memory.hold() as one, memory.hold() as two:
        await one.grow_to(90)
        waiting = asyncio.create_task(two.grow_to(60))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        assert memory.waiting == 1
        one.shrink_to(40)
        await waiting
        assert memory.bytes_held == 100


async def test_a_request_that_is_alone_may_go_beyond_the_bound() -> None:
    memory = Memory(100, patience_s=0.05)
    with memory.hold() as one:
        await one.grow_to(60)
        await one.grow_to(500)
        assert memory.bytes_held == 500
