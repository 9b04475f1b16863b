"""Questions to the world that many have at once."""

from __future__ import annotations

import asyncio

import pytest

from para_server.concurrency.singleflight import cached, single_flight


class World:
    """What is asked: it gives the number that it had when it was asked, once it is let."""

    def __init__(self) -> None:
        self.now = 0
        self.asked: list[str] = []
        self.begun = asyncio.Event()
        self.let = asyncio.Event()

    async def ask(self, what: str) -> int:
        self.asked.append(what)
        self.begun.set()
        now = self.now
        await self.let.wait()
        if what == "wrong":
            raise ValueError(what)
        return now


async def test_nobody_gets_an_answer_that_is_older_than_the_question() -> None:
    world = World()
    ask = single_flight(world.ask)
    first = asyncio.ensure_future(ask("a"))
    await world.begun.wait()
    world.now = 1
    others = [asyncio.ensure_future(ask("a")) for _ in range(5)]
    await asyncio.sleep(0)
    world.let.set()
    assert await first == 0
    assert await asyncio.gather(*others) == [1] * 5
    assert world.asked == ["a"] * 2


async def test_other_questions_do_not_wait() -> None:
    world = World()
    ask = single_flight(world.ask)
    both = [asyncio.ensure_future(ask(what)) for what in "ab"]
    await world.begun.wait()
    await asyncio.sleep(0)
    assert world.asked == ["a", "b"]
    world.let.set()
    await asyncio.gather(*both)


async def test_who_gives_up_takes_the_answer_from_nobody() -> None:
    world = World()
    ask = single_flight(world.ask)
    one, other = (asyncio.ensure_future(ask("a")) for _ in range(2))
    await world.begun.wait()
    one.cancel()
    world.let.set()
    assert await other == 0
    assert one.cancelled()


async def test_what_fails_is_asked_anew() -> None:
    world = World()
    world.let.set()
    ask = cached(world.ask)
    for _ in range(2):
        with pytest.raises(ValueError, match="wrong"):
            await ask("wrong")
    assert [await ask("right") for _ in range(2)] == [0, 0]
    assert world.asked == ["wrong", "wrong", "right"]
