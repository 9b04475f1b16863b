"""Verify the bundle of a session, and import its commits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from para_server.core.names import incoming_ref
from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo, delete_refs, list_object_stores

_SIGNATURES: Final = (b"# v2 git bundle\n", b"# v3 git bundle\n")
_MAX_HEADER: Final = 1 << 16  # bytes; two refs and a base commit take a few hundred
_MAX_LOOSE_OBJECTS: Final = 100  # as in `git fetch`: fewer objects are not worth a pack
# larger objects are never whole in memory
_STREAM_LARGE_BLOBS: Final = ("-c", "core.bigFileThreshold=64m")
# Defects that old programs wrote, and that git shows and copies without complaint. All others are
# refused: names that git treats as its own, links in place of its files, submodule URLs that are
# options.
_TOLERATED_DEFECTS: Final = (
    "badDate badDateOverflow badEmail badFilemode badName badTagName badTimezone missingEmail "
    "missingNameBeforeEmail missingSpaceBeforeDate missingSpaceBeforeEmail missingTaggerEntry "
    "multipleAuthors nulInCommit zeroPaddedDate zeroPaddedFilemode"
).split()


async def verify_bundle(
    repo: Repo,
    bundle: Path,
    quarantine: Path,
    seconds: float,
    tips: Sequence[str],
    since: str | None,
) -> None:
    """Verify each object of a bundle in a quarantine folder; raises GitFailedError.

    `git fetch` before 2.46 has no setting for this: it verifies only objects from a network.
    All that `tips` reach must be in the bundle or in the repository. The history of `since`, if
    set, is assumed to be complete.
    """
    alternates = os.pathsep.join(map(_quote, list_object_stores(repo)))
    quarantined = {
        "GIT_OBJECT_DIRECTORY": str(quarantine),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": alternates,
    }
    strict = ",".join(f"{defect}=ignore" for defect in _TOLERATED_DEFECTS)
    with bundle.open("rb") as source:
        _seek_pack(source)
        await _unpack_objects(
            repo, source, seconds, "index-pack", f"--strict={strict}", environment=quarantined
        )
    if not tips:
        return
    await git(
        repo.top,
        *("rev-list", "--quiet", "--objects", "--stdin"),
        input_text="".join(f"{one}\n" for one in (*tips, *([f"^{since}"] if since else []))),
        long_running=True,
        seconds=seconds,
        environment=quarantined,
    )


async def import_bundle(
    repo: Repo, bundle: Path, session_id: str, tips: Mapping[str, str], seconds: float
) -> None:
    """Import the objects of a bundle into the repository, and set incoming refs for `tips`.

    Without a transport, which the user's configuration may forbid or redirect.
    """
    with bundle.open("rb") as source:
        few = _seek_pack(source) < _MAX_LOOSE_OBJECTS
        await _unpack_objects(repo, source, seconds, "unpack-objects" if few else "index-pack")
    incoming = incoming_ref(session_id)
    commands = "".join(f"update {incoming}/{end}\0{commit}\0\0" for end, commit in tips.items())
    await git(repo.top, "-c", "core.fsync=all", "update-ref", "-z", "--stdin", input_text=commands)


def incoming_refs(session_id: str) -> tuple[str, str]:
    """Return the refs under which a bundle is imported: of its tip, and of what is kept beside."""
    incoming = incoming_ref(session_id)
    return f"{incoming}/tip", f"{incoming}/keep"


async def delete_incoming_refs(repo: Repo, session_id: str) -> None:
    """Delete the refs under which a bundle was imported."""
    await delete_refs(repo, *incoming_refs(session_id))


def _seek_pack(source: IO[bytes]) -> int:
    """Seek to the pack of a bundle, and return the number of its objects."""
    head = source.read(_MAX_HEADER)
    end = head.find(b"\n\n")
    if not head.startswith(_SIGNATURES) or end < 0:
        raise GitFailedError("index-pack", "the file is not a bundle")
    source.seek(end + 2)
    pack = source.read(12)
    os.lseek(source.fileno(), end + 2, os.SEEK_SET)  # git reads from here
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
    return f'"{escaped}"'  # unquoted, a colon would separate paths
