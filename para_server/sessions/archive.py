"""Set the archive ref of a session, and never lose what an earlier archive has."""

from __future__ import annotations

from para_server.core.names import archive_ref
from para_server.core.records import Record
from para_server.git import repository
from para_server.git.repository import Repo


async def archive_work(repo: Repo, record: Record, keep: str) -> None:
    """Set the archive ref of a session to `keep`; an earlier archive is moved to another ref.

    Only the archive that the session was recovered from is replaced, because the session has its
    files, and only if the new archive has all of its commits.
    """
    ref = archive_ref(record.id)
    previous = await repository.resolve_ref(repo, ref)
    if previous is not None and not await _is_contained(repo, record, previous, keep):
        aside = f"{ref}.{previous}"
        await repository.move_ref(repo, aside, previous, await repository.resolve_ref(repo, aside))
    await repository.move_ref(repo, ref, keep, previous)


async def _is_contained(repo: Repo, record: Record, previous: str, keep: str) -> bool:
    """Return whether the new archive has all commits of the earlier one."""
    needed = (
        await repository.list_parents(repo, previous) if previous == record.archive else [previous]
    )
    return all([await repository.is_ancestor(repo, one, keep) for one in needed])
