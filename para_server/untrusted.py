"""The only place that makes text from a session fit to be shown."""

from __future__ import annotations

import os
import stat
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_KEPT: Final = "\n\t"
_HIDDEN: Final = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def printable(text: str) -> str:
    """Show control characters, terminal escapes and direction marks as codes."""
    if text.isascii() and text.replace("\n", "").replace("\t", "").isprintable():
        return text
    return "".join(
        c if c in _KEPT or unicodedata.category(c) not in _HIDDEN else _escaped(c) for c in text
    )


def one_line(text: str, limit: int = 200) -> str:
    """Make one short line of any text."""
    line = printable(" ".join(text[: limit * 8].split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def read_bounded(file: Path, limit: int, *, from_end: bool = False) -> bytes | None:
    """Read at most `limit` bytes of a plain file; None where it is none: no link, no pipe."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)  # a folder cannot even be made a stream
        return None
    with os.fdopen(descriptor, "rb") as stream:
        try:
            if from_end and status.st_size > limit:
                stream.seek(-limit, os.SEEK_END)
            return stream.read(limit)
        except OSError:
            return None


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 # one byte's worth
