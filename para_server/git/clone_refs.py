"""Write the refs that the base commit reaches into a clone, and a remote that explains itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo

_log = logging.getLogger(__name__)
_GIVEN_REFS_FILE: Final = "para-given"  # in a clone's .git: the refs that it started with
_MAX_REFS: Final = 1000  # the youngest ones
_TIMEOUT: Final = 10.0  # seconds
_HEADS: Final = "refs/heads/"
# Fetch and push fail, and git shows the URL in its error. It starts like a path, so that git does
# not take it for a host.
REMOTE_CONFIG: Final = (
    '[remote "origin"]\n'
    '\turl = "/a session of para has no remote - commit here and ask for para finish, which brings'
    ' the commits to the repository"\n'
    "\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
)


async def list_reachable_refs(repo: Repo, commit: str) -> dict[str, str]:
    """Return the tags and branches that a commit reaches, with their objects.

    The result is empty at the timeout, as with an enormous history: these refs are a convenience.
    """
    command = (
        *("for-each-ref", f"--merged={commit}", f"--count={_MAX_REFS}", "--sort=-creatordate"),
        *("--format=%(objectname) %(refname)", "refs/tags", "refs/heads", "refs/remotes"),
    )
    try:
        listing = await git(repo.top, *command, long_running=True, seconds=_TIMEOUT)
    except GitFailedError as error:
        _log.info("Session without tags and branches of the repository: %s", error)
        return {}
    named = (line.partition(" ") for line in listing.splitlines())
    return {ref: oid for oid, _, ref in named}


def write_refs(git_folder: Path, names: dict[str, str], branch: str) -> dict[str, str]:
    """Write refs into a new clone, and return those that do not conflict with its own branch."""
    own = f"{_HEADS}{branch}"
    written = {
        ref: oid
        for ref, oid in names.items()
        if ref != own and not own.startswith(f"{ref}/") and not ref.startswith(f"{own}/")
    }
    if written:
        lines = "".join(f"{oid} {ref}\n" for ref, oid in sorted(written.items()))
        for file in ("packed-refs", _GIVEN_REFS_FILE):
            (git_folder / file).write_text(lines, encoding="utf-8", errors="surrogateescape")
    return written
