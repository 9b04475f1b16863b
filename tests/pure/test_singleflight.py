"""Sharing of results among concurrent calls."""

from __future__ import annotations

import asyncio

import pytest

from para_server.concurrency.singleflight import cached, single_flight


class SlowFunction:
    """A function that waits until it is released, and returns `now` as of its call."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[str] = []
        self.started = asyncio.Event()
        self.released = asyncio.Event()

    async def call(self, argument: str) -> int:
        self.calls.append(argument)
        self.started.set()
        now = self.now
        await self.released.wait()
        if argument == "wrong":
            raise ValueError(argument)
        return now


async def test_no_caller_gets_a_result_older_than_its_call() -> None:
    slow = SlowFunction()
    function = single_flight(slow.call)
    first = asyncio.ensure_future(function("a"))
    await slow.started.wait()
    slow.now = 1
    others = [asyncio.ensure_future(function("a")) for _ in range(5)]
    await asyncio.sleep(0)
    slow.released.set()
    assert await first == 0
    assert await asyncio.gather(*others) == [1] * 5
    assert slow.calls == ["a"] * 2


async def test_calls_with_other_arguments_do_not_wait() -> None:
    slow = SlowFunction()
    function = single_flight(slow.call)
    both = [asyncio.ensure_future(function(argument)) for argument in "ab"]
    await slow.started.wait()
    await asyncio.sleep(0)
    assert slow.calls == ["a", "b"]
    slow.released.set()
    await asyncio.gather(*both)


async def test_a_cancelled_caller_does_not_cancel_the_others() -> None:
    slow = SlowFunction()
    function = single_flight(slow.call)
    one, other = (asyncio.ensure_future(function("a")) for _ in range(2))
    await slow.started.wait()
    one.cancel()
    slow.released.set()
    assert await other == 0
    assert one.cancelled()


async def test_an_error_is_not_cached() -> None:
    slow = SlowFunction()
    slow.released.set()
    function = cached(slow.call)
    for _ in range(2):
        with pytest.raises(ValueError, match="wrong"):
            await function("wrong")
    assert [await function("right") for _ in range(2)] == [0, 0]
    assert slow.calls == ["wrong", "wrong", "right"]
