"""Change the folder for which the untracked cache of a git index is valid.

git uses this cache (the UNTR extension of the index: folders without untracked files) only in the
folder where it was written. An index from one folder is made valid for another with the same files.
"""

from __future__ import annotations

import os
import struct
from hashlib import sha1, sha256
from pathlib import Path
from typing import Final

_SIZE: Final = struct.Struct(">I")
_HASHES: Final = {"sha1": sha1, "sha256": sha256}


def relocate_cache(index: bytes, old: Path, new: str, object_format: str) -> bytes:
    """Return an index whose untracked cache for the folder `old` is valid for the folder `new`.

    An index without such a cache is returned unchanged.
    """
    old_location, new_location = _encode_location(str(old)), _encode_location(new)
    at = index.rfind(old_location)
    if at < 0:
        return index
    # before the location: UNTR and the size of the extension
    start = at - _SIZE.size - len(b"UNTR")
    if index[start : start + len(b"UNTR")] != b"UNTR":
        return index
    (size,) = _SIZE.unpack_from(index, start + len(b"UNTR"))
    digest = _HASHES[object_format]
    content = b"".join(
        (
            index[: start + len(b"UNTR")],
            _SIZE.pack(size - len(old_location) + len(new_location)),
            new_location,
            index[at + len(old_location) : -digest().digest_size],
        )
    )
    return content + digest(content).digest()


def _encode_location(folder: str) -> bytes:
    """Encode a location as git does: its length, the text, and a NUL."""
    text = f"Location {folder}, system {os.uname().sysname}\0".encode(errors="surrogateescape")
    return _encode_number(len(text)) + text


def _encode_number(value: int) -> bytes:
    """Encode a number as in git's index: seven bits per byte, the most significant ones first."""
    encoded = [value & 0x7F]
    while value := value >> 7:
        value -= 1
        encoded.insert(0, 0x80 | (value & 0x7F))
    return bytes(encoded)
