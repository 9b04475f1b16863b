"""Generate the extension's TypeScript types and tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args

from pydantic import BaseModel

from para_server.core import lifecycle, results, settings
from para_server.core.models import SessionType, State
from para_server.registry import COMMANDS

_NOTE: Final = "// Written by `make generate`; edit the Python side instead."
_PRIMITIVES: Final = {"integer": "number", "number": "number", "boolean": "boolean", "null": "null"}


def render_protocol(
    session_actions: Sequence[tuple[str, str, str]],
    general: Sequence[tuple[str, str]],
    icons: Mapping[str, Sequence[str]],
) -> str:
    """Return the module `protocol.ts`: all types, and the tables of commands and states.

    `session_actions` are the commands for a session: command, label, and the verb that must apply;
    `general` the commands without a session: command, label. `icons` has icon and color by state.
    """
    table = [COMMANDS[name] for name in sorted(COMMANDS)]
    shapes: dict[str, str] = {}
    for command in table:
        shapes |= _render_shapes(command.params, "validation")
        shapes |= _render_shapes(command.result, "serialization")
    shapes |= _render_shapes(results.SessionsChanged, "serialization")
    rows = [f"  '{c.name}': [{c.params.__name__}, {c.result.__name__}];" for c in table]
    titles = [f"  '{c.name}': {_quote(c.title)}," for c in table]
    keys = "\n".join(f"  '{key}'," for key in settings.setting_keys())  # no dict: the module
    parts = [
        _NOTE,
        *(shapes[name] for name in sorted(shapes)),
        "/** Each command's params and result. */\nexport interface Commands {",
        *rows,
        "}\nexport type Command = keyof Commands;",
        "export const TITLES: Record<Command, string> = {",
        *titles,
        "};",
        f"export const SETTINGS = [\n{keys}\n] as const;",
        "/** The verbs that apply to a session, by its type and state. */",
        f"export const VERBS = [{', '.join(_quote(verb) for verb in lifecycle.VERBS)}] as const;",
        "export type Verb = (typeof VERBS)[number];",
        "export const VERBS_BY_STATE: Record<Session['type'], Record<State, readonly Verb[]>> = {",
        *(_render_verbs(kind) for kind in get_args(SessionType)),
        "};",
        "/** Commands for a session: command, label, and the verb that must apply. */",
        "export const SESSION_ACTIONS: readonly (readonly [string, string, Verb | ''])[] = [",
        *(f"  [{', '.join(_quote(text) for text in action)}]," for action in session_actions),
        "];",
        "/** Commands without a session: command, label. */",
        "export const GENERAL_ACTIONS: readonly (readonly [string, string])[] = [",
        *(f"  [{', '.join(_quote(text) for text in entry)}]," for entry in general),
        "];",
        "/** Icon and optional color of a session, by its state or its agent's. */",
        "export const STATE_ICONS: Record<State | AgentState, readonly [string, string?]> = {",
        *(f"  {state}: [{', '.join(map(_quote, icons[state]))}]," for state in sorted(icons)),
        "};",
    ]
    return "\n".join(parts) + "\n"


def _render_verbs(kind: SessionType) -> str:
    rows = []
    for state in State:
        verbs = ", ".join(
            f"'{verb}'" for verb in lifecycle.VERBS if _is_applicable(verb, kind, state)
        )
        rows.append(f"    {state}: [{verbs}],")
    return "\n".join([f"  {kind}: {{", *rows, "  },"])


def _is_applicable(verb: str, kind: SessionType, state: State) -> bool:
    return lifecycle.applies_to(verb, kind) and lifecycle.is_allowed(verb, state)


def _render_shapes(model: type[BaseModel], mode: Any) -> dict[str, str]:
    schema = model.model_json_schema(mode=mode)
    shapes = {
        name: _render_shape(name, inner, mode) for name, inner in schema.get("$defs", {}).items()
    }
    return {**shapes, model.__name__: _render_shape(model.__name__, schema, mode)}


def _render_shape(name: str, schema: Mapping[str, Any], mode: str) -> str:
    comment = f"/** {str(schema.get('description', '')).partition(chr(10))[0]} */"
    if "enum" in schema:
        return f"{comment}\nexport type {name} = {_render_union(schema['enum'])};"
    required = schema.get("required", ()) if mode == "validation" else schema.get("properties", ())
    fields = [
        f"  {field}{'' if field in required else '?'}: {_render_type(described)};"
        for field, described in schema.get("properties", {}).items()
    ]
    if not fields:
        return f"{comment}\nexport type {name} = Record<string, never>;"
    return "\n".join([comment, f"export interface {name} {{", *fields, "}"])


def _render_type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " | ".join(_render_type(part) for part in schema["anyOf"])
    if "enum" in schema:
        return _render_union(schema["enum"])
    if schema.get("type") == "array":
        inner = _render_type(schema.get("items", {}))
        return f"readonly ({inner})[]" if "|" in inner else f"readonly {inner}[]"
    if schema.get("type") == "object":
        return "Readonly<Record<string, unknown>>"
    return _PRIMITIVES.get(str(schema.get("type")), "string" if "type" in schema else "unknown")


def _render_union(values: Iterable[str]) -> str:
    return " | ".join(f"'{value}'" for value in values)


def _quote(text: str) -> str:
    return f"'{json.dumps(text)[1:-1]}'"
