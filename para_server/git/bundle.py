"""Takes commits out of a bundle that nobody has checked yet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from para_server.core.names import incoming_ref
from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo, delete_refs, list_object_stores

_SIGNATURES: Final = (b"# v2 git bundle\n", b"# v3 git bundle\n")
_MAX_HEADER: Final = 1 << 16  # bytes; two refs and a base take a few hundred
_MAX_LOOSE_OBJECTS: Final = 100  # objects; as `git fetch` has it, fewer are not worth a pack
# what is larger is never in memory as a whole
_STREAM_LARGE_BLOBS: Final = ("-c", "core.bigFileThreshold=64m")
# What old or careless programs wrote, and what git itself shows and copies without complaint.
# Everything else stays refused: names that git takes for its own, links in place of its files,
# addresses of submodules that are options.
_TOLERATED_DEFECTS: Final = (
    "badDate badDateOverflow badEmail badFilemode badName badTagName badTimezone missingEmail "
    "missingNameBeforeEmail missingSpaceBeforeDate missingSpaceBeforeEmail missingTaggerEntry "
    "multipleAuthors nulInCommit zeroPaddedDate zeroPaddedFilemode"
).split()


async def verify_bundle(
    repo: Repo, bundle: Path, quarantine: Path, seconds: float, ends: Sequence[str], had: str | None
) -> None:
    """Check each object of a bundle, beside the repository; raises GitFailedError.

    `git fetch` does not (before 2.46), whatever it is told: it checks what comes over a network.
    Everything that `ends` reach must be there, in the bundle or in the repository. The history of
    `had`, where it is given, is taken to be whole.
    """
    lent = os.pathsep.join(map(_quote, list_object_stores(repo)))
    apart = {
        "GIT_OBJECT_DIRECTORY": str(quarantine),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": lent,
    }
    strict = ",".join(f"{one}=ignore" for one in _TOLERATED_DEFECTS)
    with bundle.open("rb") as source:
        _seek_pack(source)
        await _unpack_objects(
            repo, source, seconds, "index-pack", f"--strict={strict}", environment=apart
        )
    if not ends:
        return
    await git(
        repo.top,
        *("rev-list", "--quiet", "--objects", "--stdin"),
        input_text="".join(f"{one}\n" for one in (*ends, *([f"^{had}"] if had else []))),
        long_running=True,
        seconds=seconds,
        environment=apart,
    )


async def import_bundle(
    repo: Repo, bundle: Path, session_id: str, ends: Mapping[str, str], seconds: float
) -> None:
    """Bring the objects of a bundle into the repository, and set refs of their own for `ends`.

    No transport is involved, so no configuration of transports can forbid or redirect it.
    """
    with bundle.open("rb") as source:
        few = _seek_pack(source) < _MAX_LOOSE_OBJECTS
        await _unpack_objects(repo, source, seconds, "unpack-objects" if few else "index-pack")
    incoming = incoming_ref(session_id)
    told = "".join(f"update {incoming}/{end}\0{commit}\0\0" for end, commit in ends.items())
    await git(repo.top, "-c", "core.fsync=all", "update-ref", "-z", "--stdin", input_text=told)


def incoming_refs(session_id: str) -> tuple[str, str]:
    """Name the refs that a bundle arrives under."""
    incoming = incoming_ref(session_id)
    return f"{incoming}/tip", f"{incoming}/keep"


async def delete_incoming_refs(repo: Repo, session_id: str) -> None:
    """Delete the refs that a bundle arrived under."""
    await delete_refs(repo, *incoming_refs(session_id))


def _seek_pack(source: IO[bytes]) -> int:
    """Move to where the pack of a bundle begins, and return the number of its objects."""
    head = source.read(_MAX_HEADER)
    end = head.find(b"\n\n")
    if not head.startswith(_SIGNATURES) or end < 0:
        raise GitFailedError("index-pack", "it is not a bundle")
    source.seek(end + 2)
    pack = source.read(12)
    os.lseek(source.fileno(), end + 2, os.SEEK_SET)  # git reads on from here
    return int.from_bytes(pack[8:12], "big")


async def _unpack_objects(
    repo: Repo,
    source: IO[bytes],
    seconds: float,
    verb: str,
    *options: str,
    environment: Mapping[str, str] | None = None,
) -> None:
    thin = ("--stdin", "--fix-thin") if verb == "index-pack" else ("-q",)
    await git(
        repo.top,
        *(*_STREAM_LARGE_BLOBS, "-c", "core.fsync=all", verb, *thin, *options),
        stdin=source,
        long_running=True,
        seconds=seconds,
        environment=environment,
    )


def _quote(folder: Path) -> str:
    escaped = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'  # else a colon in a path would end it
