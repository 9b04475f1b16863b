"""Make text from sessions, repositories and engines safe to display."""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_ALLOWED_CONTROLS: Final = "\n\t"
_HIDDEN_CATEGORIES: Final = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
# displayed as nothing or as blanks, though they are letters or marks (Default_Ignorable)
_INVISIBLE: Final = frozenset(
    {
        *{0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0},
        *range(0x180B, 0x1810),
        *range(0xFE00, 0xFE0E),
        *range(0xE0100, 0xE01F0),
    }
)
_LINK: Final = re.compile(r"\](?=\()")  # the middle of [text](address)
MAX_MESSAGE: Final = 4000  # characters of a message
_MAX_CACHED: Final = 10_000  # characters: an output may contain all of Unicode


class _EscapeTable(dict[int, str]):
    """The displayed form of characters, computed once: an output has millions of them."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        hidden = character not in _ALLOWED_CONTROLS and (
            unicodedata.category(character) in _HIDDEN_CATEGORIES or code in _INVISIBLE
        )
        shown = _escape(code) if hidden else character
        if len(self) < _MAX_CACHED:
            self[code] = shown
        return shown


def printable(text: str) -> str:
    """Return a text with control characters, escapes and direction marks as codes."""
    return text.translate(_ESCAPES)


def one_line(text: str, limit: int = 200) -> str:
    """Return any text as one line of at most `limit` characters."""
    line = printable(" ".join(text[: limit * 8].split()))
    return line if len(line) <= limit else line[: limit - 1] + "…"


def safe_message(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return any text as a message: of limited length, without control characters and links.

    Editors render `[text](address)` in messages as a link, which may run one of their commands.
    """
    message = printable(_LINK.sub("] ", text[: 2 * limit]))
    return message if len(message) <= limit else message[: limit - 1] + "…"


def read_bounded(file: Path, limit: int, *, from_end: bool = False) -> bytes | None:
    """Return at most `limit` bytes of a regular file; None for a link, a pipe or no file."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return None
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            if from_end and status.st_size > limit:
                stream.seek(-limit, os.SEEK_END)
            return stream.read(limit)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"  # noqa: PLR2004 # one byte


_ESCAPES: Final = _EscapeTable()
