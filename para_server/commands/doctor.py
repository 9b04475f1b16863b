"""Check the setup of para: `para.doctor`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Literal

from para_server.context import Context
from para_server.core.errors import CHECK_SETUP, ParaError
from para_server.core.params import NoParams
from para_server.core.results import Check, DoctorResult
from para_server.diagnostics import engine_checks, host_checks
from para_server.registry import command

CheckFunction = Callable[[Context], Awaitable[Check | None]]  # None if it does not apply
_HOST_CHECKS: Final[dict[str, CheckFunction]] = {
    "git": host_checks.check_git,
    "home": host_checks.check_home,
    "records": host_checks.check_records,
    "settings": host_checks.check_settings,
}
_ENGINE_CHECKS: Final[dict[str, CheckFunction]] = {"engine": engine_checks.check_engine}
_NOT_CHECKED: Final = "not checked, because the settings are invalid"
# these need an engine that answers
_SESSION_CHECKS: Final[dict[str, CheckFunction]] = {
    "owner": engine_checks.check_owner,
    "limits": engine_checks.check_limits,
    "image": engine_checks.check_images,
    "files": engine_checks.check_files,
    "user": engine_checks.check_user,
    "sessions": engine_checks.count_sessions,
    "login": engine_checks.check_login,
}


@command("para.doctor", "Check Setup")
async def doctor(context: Context, params: NoParams) -> DoctorResult:  # noqa: ARG001 # every command takes params
    """Check the setup and suggest a fix for each problem.

    A failed check of level `error` makes para unusable; one of level `warning` does not.
    """
    checks = [await _run_check(name, check, context) for name, check in _HOST_CHECKS.items()]
    if not _can_read_settings(context):
        checks.append(host_checks.make_warning("engine", "settings.invalid", _NOT_CHECKED))
    else:
        checks += [await _run_check(name, check, context) for name, check in _ENGINE_CHECKS.items()]
    if checks[-1] is not None and checks[-1].ok:
        checks += [
            await _run_check(name, check, context) for name, check in _SESSION_CHECKS.items()
        ]
    return DoctorResult(checks=tuple(check for check in checks if check is not None))


async def _run_check(name: str, check: CheckFunction, context: Context) -> Check | None:
    try:
        return await check(context)
    except ParaError as error:
        needed = name in _HOST_CHECKS or _wants_containers(context)
        level: Literal["error", "warning"] = "error" if needed else "warning"
        others = tuple(one for one in error.problem.remedies if one != CHECK_SETUP)
        problem = error.problem.model_copy(update={"remedies": others})
        return Check(name=name, ok=False, detail=str(error), problem=problem, level=level)


def _can_read_settings(context: Context) -> bool:
    try:
        context.settings(None)
    except ParaError:  # a check of its own reports it
        return False
    return True


def _wants_containers(context: Context) -> bool:
    """Return whether sessions need an engine, which worktrees do not."""
    return not _can_read_settings(context) or context.settings(None).container.enabled
