"""A person at a terminal: types nothing, reads what appears, and waits for the end."""

from __future__ import annotations

import os
import pty
import select
import time
from typing import Any

DEADLINE = 60.0  # seconds


def follows(terminal: dict[str, Any]) -> str:
    """Run a command in a terminal to its end, and give what appeared there."""
    child, screen = pty.fork()
    if child == 0:
        os.execvp(terminal["command"], [terminal["command"], *terminal["args"]])  # noqa: S606 # that is the point
    appeared = b""
    end = time.monotonic() + DEADLINE
    try:
        while time.monotonic() < end:
            if select.select([screen], [], [], 0.2)[0]:
                try:
                    part = os.read(screen, 65536)
                except OSError:  # how Linux says that the other side is gone
                    part = b""
                if not part:
                    break
                appeared += part
        else:
            raise AssertionError(f"it never ended: {appeared!r}")
    finally:
        os.close(screen)
        os.waitpid(child, 0)
    return appeared.decode(errors="replace")
