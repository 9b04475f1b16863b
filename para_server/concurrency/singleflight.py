"""The only place that lets all who ask the same of the world have one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

T = TypeVar("T")
Asked = TypeVarTuple("Asked")
_MOST: Final = 1000  # answers that are remembered


def single_flight(
    ask: Callable[[*Asked], Awaitable[T]],
) -> Callable[[*Asked], Awaitable[T]]:
    """Ask one thing once at a time; whoever asks it meanwhile shares the next answer.

    So nobody is given an answer that is older than their question.
    """
    questions: WeakValueDictionary[tuple[*Asked], _Question[T]] = WeakValueDictionary()

    async def answered(question: _Question[T], *asked: *Asked) -> T:
        async with question.turn:
            question.following = None  # who asks from now on may know of more than this answer
            return await ask(*asked)

    async def answer(*asked: *Asked) -> T:
        question = questions.setdefault(asked, _Question())
        if question.following is None or question.following.done():
            question.following = asyncio.create_task(answered(question, *asked))
            question.following.add_done_callback(_looked_at)
        return await asyncio.shield(question.following)

    return answer


def cached(ask: Callable[[*Asked], Awaitable[T]]) -> Callable[[*Asked], Awaitable[T]]:
    """Ask once for what can never become something else."""
    known: dict[tuple[*Asked], T] = {}
    asking = single_flight(ask)

    async def answer(*asked: *Asked) -> T:
        if asked in known:
            return known[asked]
        found = await asking(*asked)
        if len(known) >= _MOST:
            known.pop(next(iter(known)))
        known[asked] = found
        return found

    return answer


def _looked_at(task: asyncio.Task[T]) -> None:
    """Let nobody complain of an error that only those would have met who no longer ask."""
    if not task.cancelled():
        task.exception()


@dataclass
class _Question(Generic[T]):
    """What is asked: by one at a time, and for all who wait."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    following: asyncio.Task[T] | None = None  # it has not begun yet

    __hash__ = object.__hash__
