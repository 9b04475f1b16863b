"""Write to the standard streams, which may be closed or full."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def write(stream: TextIO, text: str) -> str | None:
    """Write a text; return the reason of a failure, None on success or if the reader has closed."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:  # as in `para logs | head`
        discard_output(stream)
    except (OSError, ValueError) as error:
        discard_output(stream)
        reason = getattr(error, "strerror", None)
        return str(reason or error)
    return None


def discard_output(stream: TextIO) -> None:
    """Discard buffered output, which would make the interpreter fail at exit."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)


def flush_all() -> str | None:
    """Flush stdout and stderr; return the reason if stdout fails."""
    failed = write(sys.stdout, "")
    write(sys.stderr, "")
    return failed
