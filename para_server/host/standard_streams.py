"""Write to the standard streams, which may be closed, full, or read by nobody any more."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TextIO


def write(stream: TextIO, text: str) -> str | None:
    """Write a text; returns why that failed, and None where it did not or nobody reads on."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:  # `para logs | head`: the reader has enough
        discard_output(stream)
    except (OSError, ValueError) as error:
        discard_output(stream)
        reason = getattr(error, "strerror", None)
        return str(reason or error)
    return None


def discard_output(stream: TextIO) -> None:
    """Let what is still to be written go nowhere: the interpreter would fail with it as it ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def flush_all() -> str | None:
    """Write what is not written yet; returns why stdout could not be written."""
    failed = write(sys.stdout, "")
    write(sys.stderr, "")
    return failed
