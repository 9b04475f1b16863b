"""Register commands, validate their params and run them.

Every interface (LSP, command line, MCP) and every generated file is a loop over `COMMANDS`.
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
_NOT_AN_OBJECT: Final = "expected one JSON object"


@dataclass(frozen=True)
class Command:
    """A registered command; `title` is for palettes."""

    name: str
    title: str
    params: type[BaseModel]
    result: type[BaseModel]
    run: Callable[[Context, Any], Awaitable[BaseModel]]

    @property
    def summary(self) -> str:
        """Return the first line of the docstring."""
        return (inspect.getdoc(self.run) or "").partition("\n")[0].rstrip(".")

    @property
    def description(self) -> str:
        """Return the whole docstring."""
        return inspect.getdoc(self.run) or ""


COMMANDS: Final[dict[str, Command]] = {}


def command(
    name: str, title: str
) -> Callable[[Callable[[Context, P], Awaitable[R]]], Callable[[Context, P], Awaitable[R]]]:
    """Register a function as a command; its annotations define params and result."""

    def register(
        run: Callable[[Context, P], Awaitable[R]],
    ) -> Callable[[Context, P], Awaitable[R]]:
        hints = get_type_hints(run)
        COMMANDS[name] = Command(name, title, hints["params"], hints["return"], run)
        return run

    return register


async def call(context: Context, name: str, arguments: object) -> BaseModel:
    """Run a command and return its result; `arguments` is None, [] or [{…}], as in JSON-RPC.

    Raises command.unknown, command.invalid-params and the errors of the command.
    """
    entry = COMMANDS.get(name)
    if entry is None:
        raise ParaError("command.unknown", f"Unknown command {name[:100]}")
    params = _parse_params(entry, arguments)
    try:
        return await entry.run(context, params)
    except OSError as error:
        refusal = error_for(error)
        if refusal is None:
            raise
        _log.warning("%s could not access a file", name, exc_info=error)
        raise refusal from None


def _parse_params(entry: Command, arguments: object) -> BaseModel:
    items = [] if arguments is None else arguments
    if not isinstance(items, list | tuple) or len(items) > 1:
        raise _invalid_params(entry, [Issue(path="", message=_NOT_AN_OBJECT)])
    params = items[0] if items else {}
    if not isinstance(params, dict):
        raise _invalid_params(entry, [Issue(path="", message=_NOT_AN_OBJECT)])
    invalid = next((k for k, v in params.items() if not (_is_utf8(k) and _is_utf8(v))), None)
    if invalid is not None:
        raise _invalid_params(entry, [Issue(path=ascii(invalid)[1:-1][:100], message="not UTF-8")])
    try:
        return entry.params.model_validate(params, by_alias=True, by_name=False)
    except ValidationError as error:
        issues = [
            Issue(
                path=".".join(str(part)[:100] for part in e["loc"]),
                message=_describe_error(e["type"], e["msg"]),
            )
            for e in error.errors(include_input=False, include_context=False, include_url=False)
        ]
        raise _invalid_params(entry, issues[:_MAX_ISSUES]) from None


def _describe_error(kind: str, message: str) -> str:
    """Return a message for people about an invalid parameter."""
    if kind == "string_pattern_mismatch":  # only names have a pattern
        return NAME_RULE
    if kind == "string_too_short":
        return "must not be empty"
    return message.removeprefix("Value error, ")


def _is_utf8(value: object) -> bool:
    """Return whether a text is UTF-8: JSON and terminals can contain lone surrogates."""
    try:
        return not isinstance(value, str) or bool(value.encode()) or not value
    except UnicodeEncodeError:
        return False


def _invalid_params(entry: Command, issues: list[Issue]) -> ParaError:
    first = issues[0]
    prefix = f"{first.path}: " if first.path else ""
    return ParaError(
        "command.invalid-params",
        f"Invalid parameters for {entry.name}: {prefix}{first.message}",
        issues=issues,
    )
