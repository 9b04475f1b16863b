"""The only place that knows how a command is stopped between its steps and never within one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final, TypeVar

T = TypeVar("T")
U = TypeVar("U")
_log: Final = logging.getLogger(__name__)


async def run_to_end(step: Awaitable[T], interrupt: Callable[[], object] | None = None) -> T:
    """Let a step run to its end, and pass a cancellation on only then.

    Otherwise the undo races the step that it undoes.
    `interrupt` hurries a long step along; it is called once, and the step is still awaited.
    """
    task = asyncio.ensure_future(step)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            if cancelled is None and interrupt is not None:
                interrupt()
            cancelled = error
    if cancelled is not None:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains that it never was
        raise cancelled
    return task.result()


async def ignore_cancellation(step: Awaitable[T]) -> T:
    """Let a step run to its end and overhear a cancellation: what it does cannot be taken back."""
    task = asyncio.ensure_future(step)
    try:
        return await run_to_end(task)
    except asyncio.CancelledError:
        if task.cancelled():
            raise
        current = asyncio.current_task()
        while current is not None and current.cancelling():
            current.uncancel()
        return task.result()


async def run_both(one: Awaitable[T], other: Awaitable[U]) -> tuple[T, U]:
    """Take two steps side by side; when one fails, the other is stopped first."""
    tasks = asyncio.ensure_future(one), asyncio.ensure_future(other)
    try:
        first, second = await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise
    return first, second


async def wait_for_other_tasks() -> None:
    """Wait for the other tasks of the loop, which the one who asked for them no longer awaits.

    `asyncio.run` would cancel each of them, and so break a step in its midst: the start of a
    process that is cancelled between its fork and its pipes is awaited for ever.
    """
    this = asyncio.current_task()
    while rest := asyncio.all_tasks() - {this}:
        await run_to_end(asyncio.wait(rest))


async def run_in_thread(work: Callable[[], T]) -> T:
    """Do slow work beside the event loop, to its end."""
    return await run_to_end(asyncio.to_thread(work))


@asynccontextmanager
async def rollback_on_failure() -> AsyncIterator[AsyncExitStack]:
    """Give a stack of undos that run, last first, unless the block ends well.

    An undo is pushed before its step, and finds by itself whether there is something to undo.
    """
    stack = AsyncExitStack()
    try:
        yield stack
    except BaseException:
        await run_to_end(_roll_back(stack))
        raise


async def _roll_back(stack: AsyncExitStack) -> None:
    try:
        await stack.aclose()
    except Exception as error:  # noqa: BLE001 # a failure of any kind is contained
        # what failed first is what people need to know; the next process undoes the rest
        _log.warning("not all could be undone: %s", str(error) or type(error).__name__)
