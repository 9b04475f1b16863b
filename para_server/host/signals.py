"""Handle the signals that ask a process to stop: with a callback for a while, else by default."""

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

    What this process was started to ignore stays ignored: by nohup, or by a shell for a job in
    the background.
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
            if signal.SIGINT in numbers:  # asyncio puts Python's handler back, which raises
                signal.signal(signal.SIGINT, signal.SIG_DFL)
        except KeyboardInterrupt:
            end_process_by(signal.SIGINT)


def end_process_by(number: int) -> NoReturn:
    """End this process at once by a signal, so that whoever started it sees which."""
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    raise SystemExit(128 + number)  # where the signal is blocked
