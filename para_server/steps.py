"""The only place that knows how a command is stopped between its steps and never within one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


async def to_end(step: Awaitable[T], interrupt: Callable[[], None] | None = None) -> T:
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


@asynccontextmanager
async def undone_on_failure() -> AsyncIterator[AsyncExitStack]:
    """Give a stack of undos that run, last first, unless the block ends well.

    An undo is pushed before its step, and finds by itself whether there is something to undo.
    """
    stack = AsyncExitStack()
    try:
        yield stack
    except BaseException:
        await to_end(_all(stack))
        raise


async def _all(stack: AsyncExitStack) -> None:
    await stack.aclose()
