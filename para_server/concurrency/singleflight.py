"""Share one result among identical concurrent calls (single-flight)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar, TypeVarTuple
from weakref import WeakValueDictionary

T = TypeVar("T")
Args = TypeVarTuple("Args")
_MAX_CACHED: Final = 1000  # results that are cached for each function


def single_flight(
    function: Callable[[*Args], Awaitable[T]],
) -> Callable[[*Args], Awaitable[T]]:
    """Run one call at a time for the same arguments; callers that wait share the next result.

    No caller gets a result of a call that started before its own.
    """
    calls: WeakValueDictionary[tuple[*Args], _Call[T]] = WeakValueDictionary()

    async def start(call: _Call[T], *args: *Args) -> T:
        async with call.lock:
            call.next = None  # later callers may depend on something that this call does not see
            return await function(*args)

    async def shared(*args: *Args) -> T:
        call = calls.setdefault(args, _Call())
        if call.next is None or call.next.done():
            call.next = asyncio.create_task(start(call, *args))
            call.next.add_done_callback(_retrieve_exception)
        return await asyncio.shield(call.next)

    return shared


def cached(function: Callable[[*Args], Awaitable[T]]) -> Callable[[*Args], Awaitable[T]]:
    """Cache results that never change, for as long as the process runs; errors are not cached."""
    results: dict[tuple[*Args], T] = {}
    shared = single_flight(function)

    async def cached_call(*args: *Args) -> T:
        if args in results:
            return results[args]
        result = await shared(*args)
        if len(results) >= _MAX_CACHED:
            results.pop(next(iter(results)))
        results[args] = result
        return result

    return cached_call


def _retrieve_exception(task: asyncio.Task[T]) -> None:
    """Retrieve an error that no caller awaits any more, or asyncio logs it."""
    if not task.cancelled():
        task.exception()


@dataclass
class _Call(Generic[T]):
    """The running call for some arguments, and the next one, which the waiting callers share."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    next: asyncio.Task[T] | None = None  # not started yet

    __hash__ = object.__hash__
