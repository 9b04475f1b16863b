"""The only place that takes commits out of a bundle that nobody has judged yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo, delete_refs, lenders
from para_server.names import incoming_ref

_HEADS: Final = (b"# v2 git bundle\n", b"# v3 git bundle\n")
_MAX_HEAD: Final = 1 << 16  # bytes; two refs and a base take a few hundred
# what is larger is never in memory as a whole
_SMALL: Final = ("-c", "core.bigFileThreshold=64m")


async def judge(repo: Repo, bundle: Path, quarantine: Path, seconds: float) -> None:
    """Check each object of a bundle, beside the repository; raises GitFailedError.

    `git fetch` does not (before 2.46), whatever it is told: it checks what comes over a network.
    """
    environment = {
        "GIT_OBJECT_DIRECTORY": str(quarantine),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": os.pathsep.join(map(_quoted, lenders(repo))),
    }
    with bundle.open("rb") as source:
        head = source.read(_MAX_HEAD)
        end = head.find(b"\n\n")
        if not head.startswith(_HEADS) or end < 0:
            raise GitFailedError("index-pack", "it is not a bundle")
        os.lseek(source.fileno(), end + 2, os.SEEK_SET)
        await git(
            repo.top,
            *(*_SMALL, "index-pack", "--stdin", "--fix-thin", "--strict"),
            source=source,
            long=True,
            seconds=seconds,
            environment=environment,
        )


async def fetch(
    repo: Repo, bundle: Path, session_id: str, ends: Sequence[str], seconds: float
) -> None:
    """Bring the commits of a bundle into the repository, under refs of their own."""
    incoming = incoming_ref(session_id)
    await git(
        repo.top,
        *("-c", "transfer.fsckObjects=true", "-c", "fetch.fsckObjects=true", *_SMALL),
        *("-c", "core.fsync=all", "-c", "fetch.writeCommitGraph=false"),
        *("fetch", "-q", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"),
        *("--no-auto-maintenance", "--no-prune", "--update-shallow", "--", str(bundle)),
        *(f"+refs/para/{end}:{incoming}/{end}" for end in ends),
        long=True,
        seconds=seconds,
    )


def incoming_refs(session_id: str) -> tuple[str, str]:
    """Name the refs that a bundle arrives under."""
    incoming = incoming_ref(session_id)
    return f"{incoming}/tip", f"{incoming}/keep"


async def drop_incoming(repo: Repo, session_id: str) -> None:
    """Delete the refs that a bundle arrived under."""
    await delete_refs(repo, *incoming_refs(session_id))


def _quoted(folder: Path) -> str:
    escaped = str(folder).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'  # else a colon in a path would end it
