"""The only place that checks what para needs: `para.doctor`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from para_server.context import Context
from para_server.core.errors import CHECK_SETUP, ParaError
from para_server.core.params import NoParams
from para_server.core.results import Check, DoctorResult
from para_server.diagnostics import engine_checks, host_checks
from para_server.registry import command

Look = Callable[[Context], Awaitable[Check | None]]  # none where it does not apply
_HOST: Final[dict[str, Look]] = {
    "git": host_checks.git_version,
    "home": host_checks.home,
    "records": host_checks.records,
    "settings": host_checks.settings,
}
_ENGINE: Final[dict[str, Look]] = {"engine": engine_checks.engine}
_UNREAD: Final = "not checked, since the settings that name it cannot be read"
# what only an engine that answers can be asked
_ANSWERING: Final[dict[str, Look]] = {
    "owner": engine_checks.owner,
    "limits": engine_checks.limits,
    "image": engine_checks.image,
    "files": engine_checks.files,
    "user": engine_checks.user,
    "sessions": engine_checks.sessions,
    "login": engine_checks.login,
}


@command("para.doctor", "Check Setup")
async def doctor(context: Context, params: NoParams) -> DoctorResult:  # noqa: ARG001 # every command takes params
    """Check everything that para needs, and say how to mend what is missing.

    A check that is needed fails with level `error`; one of level `warning` leaves para usable.
    """
    found = [await _checked(name, look, context) for name, look in _HOST.items()]
    if not _can_read_settings(context):
        found.append(host_checks.warning("engine", "settings.invalid", _UNREAD))
    else:
        found += [await _checked(name, look, context) for name, look in _ENGINE.items()]
    if found[-1] is not None and found[-1].ok:
        found += [await _checked(name, look, context) for name, look in _ANSWERING.items()]
    return DoctorResult(checks=tuple(check for check in found if check is not None))


async def _checked(name: str, look: Look, context: Context) -> Check | None:
    try:
        return await look(context)
    except ParaError as error:
        needed = name in _HOST or _wants_containers(context)
        level: Literal["error", "warning"] = "error" if needed else "warning"
        others = tuple(one for one in error.problem.remedies if one != CHECK_SETUP)
        problem = error.problem.model_copy(update={"remedies": others})
        return Check(name=name, ok=False, detail=str(error), problem=problem, level=level)


def _can_read_settings(context: Context) -> bool:
    try:
        context.settings(None)
    except ParaError:  # it has a check of its own
        return False
    return True


def _wants_containers(context: Context) -> bool:
    """Return whether sessions are containers: worktrees need no engine."""
    return not _can_read_settings(context) or context.settings(None).container.enabled
