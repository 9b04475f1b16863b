"""Gives a clone the names that its base reaches, and a remote that explains itself."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo

_log = logging.getLogger(__name__)
_GIVEN_REFS_FILE: Final = "para-given"  # in a clone's .git: the names that are the user's already
_MAX_REFS: Final = 1000  # names, the youngest first
_TIMEOUT: Final = 10.0  # in which git has to say which names a base reaches
_HEADS: Final = "refs/heads/"
# Nothing can be fetched or pushed, and git shows this text with its error. It begins like a path,
# so that no git takes it for a host.
REMOTE_CONFIG: Final = (
    '[remote "origin"]\n'
    '\turl = "/a session of para has no remote - commit here and ask for para finish, which brings'
    ' the commits to the repository"\n'
    "\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
)


async def list_reachable_refs(repo: Repo, commit: str) -> dict[str, str]:
    """Return the tags and branches of a repository that a commit reaches, with their objects.

    None where that takes long, as in an enormous history: they are a convenience.
    """
    asked = (
        *("for-each-ref", f"--merged={commit}", f"--count={_MAX_REFS}", "--sort=-creatordate"),
        *("--format=%(objectname) %(refname)", "refs/tags", "refs/heads", "refs/remotes"),
    )
    try:
        told = await git(repo.top, *asked, long_running=True, seconds=_TIMEOUT)
    except GitFailedError as error:
        _log.info("a session gets no names of tags and branches: %s", error)
        return {}
    named = (line.partition(" ") for line in told.splitlines())
    return {ref: at for at, _, ref in named}


def write_refs(git_folder: Path, names: dict[str, str], branch: str) -> dict[str, str]:
    """Write names into a new clone, but for those that its own branch leaves no room for."""
    own = f"{_HEADS}{branch}"
    room = {
        ref: at
        for ref, at in names.items()
        if ref != own and not own.startswith(f"{ref}/") and not ref.startswith(f"{own}/")
    }
    if room:
        lines = "".join(f"{at} {ref}\n" for ref, at in sorted(room.items()))
        for file in ("packed-refs", _GIVEN_REFS_FILE):
            (git_folder / file).write_text(lines, encoding="utf-8", errors="surrogateescape")
    return room
