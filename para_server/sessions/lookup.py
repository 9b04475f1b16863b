"""Find the repository and the session of a command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from para_server.context import Context, parse_path
from para_server.core import lifecycle
from para_server.core.errors import SHOW_SESSIONS, ParaError, Remedy
from para_server.core.names import VOLUME_PREFIX
from para_server.core.records import Record
from para_server.core.untrusted import printable
from para_server.git import discovery, version
from para_server.git.repository import Repo
from para_server.host.installations import find_session_id
from para_server.host.paths import is_utf8
from para_server.sessions import lost_records


class RepositoryKey(NamedTuple):
    """A repository's work tree, and the git folder that it shares with linked worktrees."""

    top: str
    common: str

    def has(self, record: Record) -> bool:
        """Return whether a session belongs to this repository."""
        return record.repo == self.top or (record.common != "" and record.common == self.common)


async def find_repo(context: Context, given: str | None) -> Repo:
    """Return the given repository, or the only open one; raises workspace.ambiguous."""
    if given is not None:
        folder = parse_path(given)
        if not folder.is_absolute():
            raise ParaError(
                "workspace.not-a-repository",
                f"repo must be an absolute path or a file:// URI, not {given}",
            )
        if not _is_folder(folder):
            raise ParaError("workspace.not-a-repository", f"The folder {given} does not exist")
        return await _locate(context, folder)
    if context.cwd is not None:
        return await _locate(context, context.cwd)
    if len(context.folders) == 1:
        return await _locate(context, context.folders[0])
    reason = "no folder is open" if not context.folders else "several folders are open"
    raise ParaError("workspace.ambiguous", f"Specify a repository: {reason}", SHOW_SESSIONS)


async def find_session(
    context: Context,
    name: str | None,
    repo: str | None,
    *,
    active_only: bool = True,
    verb: str = "",
) -> Record:
    """Return the session with a name or id; raises session.not-found and session.ambiguous.

    Without a name it is the session around the working folder, or the only active one. Of several
    ended sessions with the name it is the last one that `verb` applies to.
    """
    records = context.store.read_all()
    if name is None:
        inside = _session_around(context, context.cwd)
        if inside is not None:
            return inside
    key = await _find_key(context, repo, records, name)
    top = key.top if key is not None else None
    candidates = [r for r in records if key is None or key.has(r)]
    active = [r for r in candidates if r.state not in lifecycle.ENDED_STATES]
    if name is not None:
        return _find_by_name(context, name, top, candidates, verb)
    if not active_only and not active:
        active = candidates
    nearest = [r for r in active if r.repo == top]
    if len(active) == 1 or len(nearest) == 1:
        return (nearest or active)[0]
    if not active:
        raise ParaError(
            "session.not-found",
            f"There is no active session in {top or 'any repository'}",
            SHOW_SESSIONS,
        )
    names = ", ".join(r.name for r in active)
    raise ParaError("session.ambiguous", f"Specify a session: {names}", SHOW_SESSIONS)


async def _locate(context: Context, folder: Path) -> Repo:
    """Return the repository of a folder; git never runs in the workspace of a container."""
    if not is_utf8(folder):
        raise ParaError(
            "workspace.not-a-repository",
            f"{printable(str(folder))} cannot have sessions: its path is not UTF-8",
        )
    inside = _session_around(context, folder)
    if inside is None:
        try:
            return await discovery.find_repository(folder)
        except ParaError:
            await version.require_supported_version(folder)  # an old git does not know the options
            raise
    if inside.type == "worktree" and inside.state not in lifecycle.ENDED_STATES:
        return await discovery.find_repository_anywhere(folder)
    raise ParaError(
        "workspace.not-a-repository",
        f"{folder} is the workspace of session {inside.name}, not a repository",
        Remedy(title=f"Use its repository: cd {shlex.quote(inside.repo)}"),
        SHOW_SESSIONS,
    )


def _is_folder(folder: Path) -> bool:
    try:
        return folder.is_dir()
    except OSError as error:
        raise ParaError(
            "workspace.not-a-repository", f"{folder} cannot be read: {error.strerror}"
        ) from None


def _session_around(context: Context, folder: Path | None) -> Record | None:
    """Return the session whose workspace contains a folder, also through links."""
    if folder is None:
        return None
    key = find_session_id(folder, context.store.home)
    if key is None and any(part.startswith(VOLUME_PREFIX) for part in folder.parts):
        # a volume folder of the engine, which this user may not be allowed to read
        key = next(
            p.removeprefix(VOLUME_PREFIX) for p in folder.parts if p.startswith(VOLUME_PREFIX)
        )
    return next((r for r in context.store.read_all() if r.id == key), None) if key else None


async def _find_key(
    context: Context, repo: str | None, records: Sequence[Record], name: str | None
) -> RepositoryKey | None:
    if repo is not None and any(r.repo == str(parse_path(repo)) for r in records):
        given = str(parse_path(repo))  # also if the repository is gone
        return RepositoryKey(given, next(r.common for r in records if r.repo == given))
    inside = _session_around(context, context.cwd) if repo is None else None
    if inside is not None:
        return RepositoryKey(inside.repo, inside.common)
    try:
        found = await find_repo(context, repo)
    except ParaError:
        # a unique name needs no repository
        if repo is None and name is not None and sum(name in (r.name, r.id) for r in records) == 1:
            return None
        raise
    return RepositoryKey(str(found.top), str(found.common))


def _find_by_name(
    context: Context, name: str, top: str | None, candidates: Sequence[Record], verb: str
) -> Record:
    matches = [r for r in candidates if r.name == name] or [r for r in candidates if r.id == name]
    active = [r for r in matches if r.state not in lifecycle.ENDED_STATES]
    found = (
        active or [r for r in matches if verb and lifecycle.is_allowed(verb, r.state)] or matches
    )
    if not found:
        where = f" in {top}" if top else ""
        missing = f"There is no session {name}{where}"
        raise lost_records.explain_missing(
            context, name, ParaError("session.not-found", missing, SHOW_SESSIONS)
        )
    return next((r for r in reversed(found) if r.repo == top), found[-1])
