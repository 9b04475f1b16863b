"""Keep the work of a session under its archive ref, and never less than was kept before."""

from __future__ import annotations

from para_server.core.names import archive_ref
from para_server.core.records import Record
from para_server.git import repository
from para_server.git.repository import Repo


async def archive_work(repo: Repo, record: Record, keep: str) -> None:
    """Set the session's archive; another one that it has already gets a ref of its own.

    Only the one that the session was recovered from is replaced, since its files are the session's,
    and that only where all commits that it kept are in the new one.
    """
    ref = archive_ref(record.id)
    before = await repository.ref_commit(repo, ref)
    if before is not None and not await _is_contained(repo, record, before, keep):
        aside = f"{ref}.{before}"
        await repository.move_ref(repo, aside, before, await repository.ref_commit(repo, aside))
    await repository.move_ref(repo, ref, keep, before)


async def _is_contained(repo: Repo, record: Record, before: str, keep: str) -> bool:
    """Return whether a new archive has all that the one before has."""
    needed = await repository.parents(repo, before) if before == record.archive else [before]
    return all([await repository.is_ancestor(repo, one, keep) for one in needed])
