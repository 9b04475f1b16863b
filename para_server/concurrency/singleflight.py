"""The only place that lets all who ask the same of the world have one answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

T = TypeVar("T")
Args = TypeVarTuple("Args")
_MAX_CACHED: Final = 1000  # answers that are remembered


def single_flight(
    ask: Callable[[*Args], Awaitable[T]],
) -> Callable[[*Args], Awaitable[T]]:
    """Ask one thing once at a time; whoever asks it meanwhile shares the next answer.

    So nobody is given an answer that is older than their question.
    """
    questions: WeakValueDictionary[tuple[*Args], _Call[T]] = WeakValueDictionary()

    async def answered(question: _Call[T], *asked: *Args) -> T:
        async with question.turn:
            question.following = None  # who asks from now on may know of more than this answer
            return await ask(*asked)

    async def answer(*asked: *Args) -> T:
        question = questions.setdefault(asked, _Call())
        if question.following is None or question.following.done():
            question.following = asyncio.create_task(answered(question, *asked))
            question.following.add_done_callback(_retrieve_exception)
        return await asyncio.shield(question.following)

    return answer


def cached(ask: Callable[[*Args], Awaitable[T]]) -> Callable[[*Args], Awaitable[T]]:
    """Ask once for what can never become something else."""
    known: dict[tuple[*Args], T] = {}
    asking = single_flight(ask)

    async def answer(*asked: *Args) -> T:
        if asked in known:
            return known[asked]
        found = await asking(*asked)
        if len(known) >= _MAX_CACHED:
            known.pop(next(iter(known)))
        known[asked] = found
        return found

    return answer


def _retrieve_exception(task: asyncio.Task[T]) -> None:
    """Let nobody complain of an error that only those would have met who no longer ask."""
    if not task.cancelled():
        task.exception()


@dataclass
class _Call(Generic[T]):
    """What is asked: by one at a time, and for all who wait."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    following: asyncio.Task[T] | None = None  # it has not begun yet

    __hash__ = object.__hash__
