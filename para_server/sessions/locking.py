"""Find and lock the session of a command, reconcile it and check its state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from para_server.context import Context
from para_server.core import lifecycle
from para_server.core.errors import SHOW_SESSIONS, ParaError, Remedy
from para_server.core.models import Session
from para_server.core.records import Record
from para_server.engine.containers import ContainerInfo
from para_server.host import disk_reserve
from para_server.sessions import lookup, lost_records, present, reconcile

_FREES_SPACE: Final = frozenset({"finish", "cancel", "pause"})  # must work on a full disk


class LockedSession(NamedTuple):
    """A locked session as it was when it was locked."""

    record: Record
    session: Session
    container: ContainerInfo | None  # None if it has no container


@asynccontextmanager
async def locked_session(
    context: Context,
    verb: str,
    name: str | None,
    repo: str | None,
    instead: Callable[[Record], Remedy | None] = lambda _: None,
) -> AsyncIterator[LockedSession]:
    """Lock a session, reconciled and in a state that the command `verb` applies to.

    `instead` returns a remedy to propose if the session is running and `verb` does not apply.
    Raises session.not-found, session.ambiguous and session.illegal-transition.
    """
    chosen = await lookup.find_session(context, name, repo, verb=verb)
    if verb in _FREES_SPACE:
        disk_reserve.release(context.store.home)
    async with context.store.locked_session(chosen.id):
        try:
            await _reconcile(context, verb, chosen)
            record = context.store.read_record(chosen.id)
        except ParaError as error:
            raise lost_records.explain_missing(context, chosen.name, error) from None
        if record is None:
            raise ParaError(
                "session.not-found", f"Session {chosen.name} does not exist any more", SHOW_SESSIONS
            )
        container = await present.find_container(context, record)
        session = present.build_session(context, record, container)
        lifecycle.require_allowed(
            verb,
            record.name,
            record.repo,
            session.state,
            problem=session.problem,
            instead=instead(record),
        )
        yield LockedSession(record, session, container)


async def _reconcile(context: Context, verb: str, record: Record) -> None:
    """Reconcile a session; if that fails for an ended one, its state is the better error."""
    try:
        await reconcile.reconcile_session(context, record.id)
    except ParaError:
        current = context.store.read_record(record.id)
        if (
            current is None
            or current.state not in lifecycle.ENDED_STATES
            or lifecycle.is_allowed(verb, current.state)
        ):
            raise
