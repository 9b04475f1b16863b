"""The only place that knows how a command is found, and its params validated.

Every face (LSP, command line, MCP) and every generated file is a loop over `COMMANDS`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, get_type_hints

from pydantic import BaseModel, ValidationError

from para_server.context import Context
from para_server.core.errors import Issue, ParaError
from para_server.core.names import NAME_RULE
from para_server.host.filesystem import error_for

P = TypeVar("P", bound=BaseModel)
R = TypeVar("R", bound=BaseModel)
_log = logging.getLogger(__name__)
_MAX_ISSUES: Final = 20


@dataclass(frozen=True)
class Command:
    """A row of the table: `title` is for palettes, `summary` is the function's own docstring."""

    name: str
    title: str
    params: type[BaseModel]
    result: type[BaseModel]
    run: Callable[[Context, Any], Awaitable[BaseModel]]

    @property
    def summary(self) -> str:
        """Say in one line what it does."""
        return (inspect.getdoc(self.run) or "").partition("\n")[0].rstrip(".")

    @property
    def description(self) -> str:
        """Say all there is to say."""
        return inspect.getdoc(self.run) or ""


COMMANDS: Final[dict[str, Command]] = {}


def command(
    name: str, title: str
) -> Callable[[Callable[[Context, P], Awaitable[R]]], Callable[[Context, P], Awaitable[R]]]:
    """Enter a function into the table; params and result are read off its signature."""

    def enter(
        run: Callable[[Context, P], Awaitable[R]],
    ) -> Callable[[Context, P], Awaitable[R]]:
        hints = get_type_hints(run)
        COMMANDS[name] = Command(name, title, hints["params"], hints["return"], run)
        return run

    return enter


async def call(context: Context, name: str, arguments: object) -> BaseModel:
    """Run a command; `arguments` is what JSON-RPC gave: nothing, [] or [{…}].

    Raises ParaError: command.unknown, command.invalid-params, and what the command raises.
    """
    found = COMMANDS.get(name)
    if found is None:
        raise ParaError("command.unknown", f"There is no command {name[:100]}")
    params = _parse_params(found, arguments)
    try:
        return await found.run(context, params)
    except OSError as error:
        refusal = error_for(error)
        if refusal is None:
            raise
        _log.warning("%s was refused a file", name, exc_info=error)
        raise refusal from None


def _parse_params(found: Command, arguments: object) -> BaseModel:
    given = [] if arguments is None else arguments
    if not isinstance(given, list | tuple) or len(given) > 1:
        raise _invalid_params(found, [Issue(path="", message="give one JSON object")])
    params = given[0] if given else {}
    if not isinstance(params, dict):
        raise _invalid_params(found, [Issue(path="", message="give one JSON object")])
    broken = next((k for k, v in params.items() if not (_is_utf8(k) and _is_utf8(v))), None)
    if broken is not None:
        raise _invalid_params(
            found, [Issue(path=ascii(broken)[1:-1][:100], message="it is not UTF-8")]
        )
    try:
        return found.params.model_validate(params, by_alias=True, by_name=False)
    except ValidationError as error:
        issues = [
            Issue(
                path=".".join(str(part)[:100] for part in e["loc"]),
                message=_describe_error(e["type"], e["msg"]),
            )
            for e in error.errors(include_input=False, include_context=False, include_url=False)
        ]
        raise _invalid_params(found, issues[:_MAX_ISSUES]) from None


def _describe_error(kind: str, message: str) -> str:
    """Write what is wrong with a param for a person."""
    if kind == "string_pattern_mismatch":  # names alone have a pattern
        return NAME_RULE
    if kind == "string_too_short":
        return "it is empty"
    return message.removeprefix("Value error, ")


def _is_utf8(value: object) -> bool:
    """Return whether a text is UTF-8: JSON and terminals can bring halves of characters."""
    try:
        return not isinstance(value, str) or bool(value.encode()) or not value
    except UnicodeEncodeError:
        return False


def _invalid_params(found: Command, issues: list[Issue]) -> ParaError:
    first = issues[0]
    where = f"{first.path}: " if first.path else ""
    return ParaError(
        "command.invalid-params",
        f"The params of {found.name} do not fit: {where}{first.message}",
        issues=issues,
    )
