"""List the sessions without a readable record and restore records from copies."""

from __future__ import annotations

import logging
from typing import Final

from para_server.context import Context, parse_path
from para_server.core.errors import SHOW_SESSIONS, ParaError, Problem, Remedy
from para_server.core.records import Record
from para_server.core.results import Check
from para_server.core.untrusted import one_line

_log = logging.getLogger(__name__)
_MAX_NAMED: Final = 20  # sessions in one check


def check_records(context: Context) -> Check:
    """Check for sessions whose record is missing or unreadable."""
    store = context.store
    try:
        lost = store.sessions_without_record()
    except ParaError as error:
        problem = error.problem
        return Check(name="records", ok=False, detail=str(error), problem=problem, level="error")
    newer = [record for record in store.read_all() if record.model_extra]
    if not lost and not newer:
        return Check(name="records", ok=True, detail="every session has its record")
    descriptions = [_describe(context, one) for one in lost]
    descriptions += [_describe_newer(context, record) for record in newer]
    if len(descriptions) > _MAX_NAMED:
        descriptions[_MAX_NAMED:] = [f"and {len(descriptions) - _MAX_NAMED} more"]
    message = "; ".join(descriptions)
    copies = [store.read_copy(one) for one in lost[:_MAX_NAMED]]
    remedies = tuple(_recover_remedy(copy) for copy in copies if copy is not None)
    problem = Problem(slug="store.unreadable", message=message, remedies=remedies)
    return Check(name="records", ok=False, detail=message, problem=problem, level="warning")


async def restore_record(context: Context, name: str, repo: str | None) -> Record | None:
    """Restore the record of a lost session from its copy; None if it is not lost.

    An unreadable record is kept under another name. `name` may be the id.
    """
    store = context.store
    lost = store.sessions_without_record()
    if any(name in {one.id, one.name} for one in store.read_all()) and name not in lost:
        return None
    found = [
        copy for one in lost if (copy := store.read_copy(one)) and name in {copy.id, copy.name}
    ]
    if repo is not None and len(found) > 1:
        found = [copy for copy in found if copy.repo == str(parse_path(repo))]
    if len(found) > 1:
        ids = ", ".join(copy.id for copy in found)
        raise ParaError("session.ambiguous", f"Specify a session: {ids}", SHOW_SESSIONS)
    if not found:
        if name in store.unreadable:
            raise _error(store.unreadable[name])
        return None
    [record] = found
    unreadable = store.unreadable.get(record.id)
    if unreadable is not None and unreadable.slug == "store.too-new":
        raise _error(unreadable)
    async with store.locked_session(record.id):
        if record.id not in store.sessions_without_record():
            return store.read_record(record.id)  # another process was first
        store.rename_unreadable(record.id)
        _log.warning("its record is restored from its copy", extra={"session": record.name})
        return store.write(record)


def explain_missing(context: Context, name: str, otherwise: ParaError) -> ParaError:
    """Return the error for a session with an unreadable record, or else `otherwise`."""
    context.store.sessions_without_record()
    for session_id, problem in context.store.unreadable.items():
        copy = context.store.read_copy(session_id)
        names = {session_id, session_id.rpartition("-")[0]} | ({copy.name} if copy else set())
        if names & {name, name.lower()}:
            if copy is not None and problem.slug == "store.unreadable":
                return _error(problem, _recover_remedy(copy))
            return _error(problem)
    return otherwise


def _error(problem: Problem, *first: Remedy) -> ParaError:
    return ParaError(problem.slug, problem.message, *first, *problem.remedies)


def _describe(context: Context, session_id: str) -> str:
    store = context.store
    problem = store.unreadable.get(session_id)
    why = problem.message if problem else f"{store.record_file(session_id)} is gone"
    copy = store.read_copy(session_id)
    subject = f"session {copy.name} of {copy.repo}" if copy else f"session {session_id}"
    workspace = store.workspace(session_id)
    where = f", whose files are in {workspace}" if workspace.is_dir() else ""
    return f"{why}: {subject}{where}"


def _describe_newer(context: Context, record: Record) -> str:
    file, fields = context.store.record_file(record.id), ", ".join(record.model_extra or ())
    return f"{file} has fields of another version of para, which are kept: {one_line(fields)}"


def _recover_remedy(copy: Record) -> Remedy:
    return Remedy(
        title=f"Recover {copy.name}",
        command="para.recover",
        params={"name": copy.id, "repo": copy.repo},
    )
