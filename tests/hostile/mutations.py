"""Makes odd bytes, names and values out of good ones; the same seed makes the same."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

_LONGEST_OF_SOCKET = 100  # bytes of a name, of which a system takes few for a socket
_TOKENS: tuple[bytes, ...] = (
    *(b"\0", b"\n", b"\r\n", b"\x1b[2J", b"\x1b]0;t\x07", b"\x1e", b"\xff\xfe", b"\xed\xa0\x80"),
    *("\u202e".encode(), "\u2028".encode(), b"\t", b" ", b"-x", b"../../", b"/", b"~", b"%s%n"),
    *(b"refs/heads/", b"ref: ", b"0" * 40, b"f" * 40, b"0" * 64, b"99999999999999999999", b"-1"),
    *(b"1e400", b"NaN", b"null", b"true", b"{", b"}", b'"', b"[", b"\\u0000", b"\\ud800", b"'''"),
    *(b"a.b.c.d = 1\n", b"[x]\n", b"[[x]]\n", b"=", b"#", b"$HOME", b"${x}", b"\xef\xbb\xbf"),
)
_LONG: tuple[Callable[[int], bytes], ...] = (
    lambda n: b"A" * n,
    lambda n: b"9" * n,
    lambda n: b"[" * n,
    lambda n: b'{"a":' * (n // 5),
    lambda n: b"a." * (n // 2),
    lambda n: b"\x1b" * n,
    lambda n: b"\n" * n,
    lambda n: b"\xf0\x9f\x92\xa9" * (n // 4),
    lambda n: b"\x1e{}\n" * (n // 4),
)


def mutated(chance: Random, good: bytes, longest: int = 200_000) -> bytes:
    """Change some bytes: flip, cut, double, put in what parsers stumble over."""
    found = bytearray(good)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(found) + 1)
        end = min(len(found), at + chance.randrange(1, 40))
        match chance.randrange(7):
            case 0 if found:
                found[at % len(found)] ^= 1 << chance.randrange(8)
            case 1:
                del found[at:end]
            case 2:
                found[at:at] = found[at:end] * chance.randrange(1, 5)
            case 3:
                del found[at:]
            case 4 if chance.random() < 0.3:
                found[at:at] = chance.choice(_LONG)(chance.choice((300, 5000, longest)))
            case 5:
                found[at:end] = chance.randbytes(end - at)
            case _:
                found[at:at] = chance.choice(_TOKENS)
    return bytes(found)


def odd_value(chance: Random) -> Any:
    """Make a JSON value that nobody expects where it stands."""
    values: list[Any] = [
        *(None, True, -1, 0, 2**63, 10**400, 1.5, 1e308, "", " ", "-x", "..", "../../x", "/"),
        *("\0", "\ud800", "a" * 5000, "a\nb", "\x1b[2J", "\u202e", "refs/heads/x", "0" * 40),
        *(
            [],
            {},
            [[]],
            [{}],
            {"a": {"a": {}}},
            "running",
            "finished",
            "start",
            "finish",
            "worktree",
        ),
        *(
            "2026-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "0001-01-01T00:00:00Z",
            "/etc",
            "/dev/zero",
        ),
    ]
    return chance.choice(values)


def odd_json(chance: Random, good: dict[str, Any]) -> bytes:
    """Change fields of an object, or its bytes."""
    found = dict(good)
    for _ in range(chance.choice((1, 1, 2, 5))):
        key = chance.choice(sorted(found) or ["x"])
        match chance.randrange(4):
            case 0:
                found.pop(key, None)
            case 1:
                found[str(odd_value(chance))[:100]] = odd_value(chance)
            case _:
                found[key] = odd_value(chance)
    text = json.dumps(found).encode()
    return mutated(chance, text) if chance.random() < 0.3 else text


def odd_name(chance: Random) -> bytes:
    """Make the name of a file, as long as a system takes it."""
    raw = mutated(chance, chance.choice((b"Makefile", b"a b.txt", b".gitmodules", b"x")), 250)
    name = raw.replace(b"/", b"_").replace(b"\0", b"_")[:250]
    return name if name not in {b"", b".", b"..", b".git"} else b"y"


def put(chance: Random, file: Path, good: bytes, longest: int = 200_000) -> None:
    """Write a changed file, or something that is no plain file, in the place of another."""
    remove(file)
    match chance.randrange(24):
        case 0:
            os.mkfifo(file)
        case 1:
            file.mkdir()
        case 2:
            file.symlink_to(chance.choice(("/dev/zero", "/dev/tty", "/proc/self/mem", str(file))))
        case 3:
            with file.open("wb") as stream:
                stream.truncate(300 << 30)
        case 4 if len(os.fsencode(file.name)) < _LONGEST_OF_SOCKET:
            with socket.socket(socket.AF_UNIX) as made:
                here = Path.cwd()
                os.chdir(file.parent)  # a socket's path is short
                try:
                    made.bind(file.name)
                finally:
                    os.chdir(here)
        case 5:
            file.write_bytes(good)
            file.chmod(0)
        case 6:
            file.write_bytes(b"")
        case _:
            file.write_bytes(mutated(chance, good, longest))


def remove(file: Path) -> None:
    """Remove whatever is in a place."""
    if file.is_dir() and not file.is_symlink():
        file.rmdir()
    else:
        file.unlink(missing_ok=True)
