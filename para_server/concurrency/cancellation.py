"""Delay a cancellation until the current step of a command has ended, then roll back."""

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
    """Return the result of a step, which a cancellation does not interrupt.

    The cancellation is raised after the step has ended: a rollback must not race the step.
    `interrupt` can end a long step early; it is called once, and the step is still awaited.
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
            task.exception()  # retrieved, or asyncio logs that it never was
        raise cancelled
    return task.result()


async def ignore_cancellation(step: Awaitable[T]) -> T:
    """Return the result of a step that cannot be rolled back; a cancellation is ignored."""
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
    """Return the results of two concurrent steps.

    If one fails, the other is cancelled and awaited first. The error is raised as it is, not in an
    ExceptionGroup as asyncio.TaskGroup does.
    """
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
    """Wait for all other tasks of the loop, which their callers no longer await.

    `asyncio.run` would cancel them in the middle of a step: a process start that is cancelled
    between the fork and its pipes never returns.
    """
    this = asyncio.current_task()
    while rest := asyncio.all_tasks() - {this}:
        await run_to_end(asyncio.wait(rest))


async def run_in_thread(work: Callable[[], T]) -> T:
    """Return the result of a blocking call, made in a thread and not interrupted."""
    return await run_to_end(asyncio.to_thread(work))


@asynccontextmanager
async def rollback_on_failure() -> AsyncIterator[AsyncExitStack]:
    """Enter a stack of callbacks that run in reverse order if the block raises.

    Push a rollback before its step; it must detect by itself whether there is anything to do.
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
    except Exception as error:  # noqa: BLE001 # the first error is reported, not this one
        # the next process reconciles the rest
        _log.warning("The rollback is incomplete: %s", str(error) or type(error).__name__)
