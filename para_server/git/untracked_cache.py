"""The only place that knows how git's index remembers which folders have no untracked files.

Git believes this memory, the extension UNTR of the index, only in the place where it was made. Here
an index that was made in one place is made to count in another, which shows the same files.
"""

from __future__ import annotations

import os
import struct
from hashlib import sha1, sha256
from pathlib import Path
from typing import Final

_SIZE: Final = struct.Struct(">I")
_HASHES: Final = {"sha1": sha1, "sha256": sha256}


def moved(index: bytes, old: Path, new: str, object_format: str) -> bytes:
    """Give an index whose memory of the folder `old` counts for the folder `new`.

    One that has no such memory is given as it is.
    """
    was, becomes = _place(str(old)), _place(new)
    at = index.rfind(was)
    if at < 0:
        return index
    # before it: UNTR, the size of all that follows, and the length of the place
    start = at - _SIZE.size - len(b"UNTR")
    if index[start : start + len(b"UNTR")] != b"UNTR":
        return index
    (size,) = _SIZE.unpack_from(index, start + len(b"UNTR"))
    digest = _HASHES[object_format]
    whole = b"".join(
        (
            index[: start + len(b"UNTR")],
            _SIZE.pack(size - len(was) + len(becomes)),
            becomes,
            index[at + len(was) : -digest().digest_size],
        )
    )
    return whole + digest(whole).digest()


def _place(folder: str) -> bytes:
    """Write down a place as git does: its length, the words, and a NUL."""
    words = f"Location {folder}, system {os.uname().sysname}\0".encode(errors="surrogateescape")
    return _number(len(words)) + words


def _number(value: int) -> bytes:
    """Write a number as git's index has it: seven bits a byte, the most significant ones first."""
    written = [value & 0x7F]
    while value := value >> 7:
        value -= 1
        written.insert(0, 0x80 | (value & 0x7F))
    return bytes(written)
