"""Handle SIGINT, SIGTERM and SIGHUP with a callback."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Iterator

GRACEFUL_INTERRUPTS: Final = 2  # a further Ctrl-C ends the process at once
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def handled_signals(loop: AbstractEventLoop, stop: Callable[[int], None]) -> Iterator[None]:
    """Call `stop` with the number of each signal, in the event loop, within the block.

    A signal that was ignored when the process started stays ignored, as nohup and background jobs
    of shells expect.
    """
    numbers = [one for one in _STOP_SIGNALS if signal.getsignal(one) is not signal.SIG_IGN]
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield
    finally:
        try:
            for number in numbers:
                loop.remove_signal_handler(number)
            if signal.SIGINT in numbers:  # asyncio restores the handler that raises
                signal.signal(signal.SIGINT, signal.SIG_DFL)
        except KeyboardInterrupt:
            end_process_by(signal.SIGINT)


def end_process_by(number: int) -> NoReturn:
    """End this process by a signal, so that its parent sees which one."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    raise SystemExit(128 + number)  # if the signal is blocked
