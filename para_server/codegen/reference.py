"""Generate files from the registry, the settings and the errors.

`python -m para_server.codegen` writes them; `--check` only compares.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel

import para_server.commands.all  # noqa: F401 # fills the registry
from para_server.codegen import typescript, vscode_manifest
from para_server.command_line import usage_line
from para_server.core import errors, results, settings
from para_server.core.repository_settings import REPO_FILE
from para_server.registry import COMMANDS, Command

ROOT: Final = Path(__file__).resolve().parents[2]
_REFERENCE: Final = Path("docs/reference")
_COMMANDS: Final = Path("para_server/commands.json")  # read without importing the commands
_PROTOCOL: Final = Path("editor/generated/protocol.ts")
_PACKAGE: Final = Path("editor/package.json")  # only parts of it are generated
_NOTE: Final = "<!-- Written by `make generate`; edit the Python side instead. -->"
_ON_COMMANDS: Final = """\
A client calls a command with `workspace/executeCommand`; `arguments` is `[]` or `[{…}]`.
`repo` is optional for a client with one workspace folder.
`name` is optional if one session is meant: that of the current folder, else the only active one.
At a terminal, `--json` prints the result as on the wire."""
_ON_NOTIFICATIONS: Final = """\
`para/sessionsChanged` is sent after `initialized` and on every change.
It goes to clients that set `capabilities.experimental.para` or
`initializationOptions.notifications` to `true`."""
_ON_SETTINGS: Final = f"""\
Each layer overrides the one before it: the defaults, `$PARA_CONFIG_HOME/config.toml`,
`{REPO_FILE}` in the repository, the environment, the editor (section `para`), a command's params.
A repository is not trusted: its `{REPO_FILE}` may set only the keys marked *repo*, to the values
that their rows allow, unless a client trusts a folder of it (`initializationOptions.trusted`:
`true` for the open folders, or a list of folders). Other repositories stay untrusted.
In a file, a key is in the table of its section.
Unknown keys of `config.toml` are ignored; `para.doctor` and the log name them.
In the environment, lists and tables are JSON; a list of strings may be separated by commas."""
_ON_ERRORS: Final = """\
`error.data` of a failed request is a `Problem`.
Every remedy is complete: a command with its params, a setting or a URL."""
_LIMITS: Final = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
_CODES: Final = {
    errors.INVALID_PARAMS: "invalid request",
    errors.REQUEST_FAILED: "the command failed",
    errors.REQUEST_CANCELLED: "cancelled",
    errors.SERVER_CANCELLED: "the server is shutting down",
    errors.INTERNAL_ERROR: "internal error",
}


def generate_files() -> dict[Path, str]:
    """Return the text of each generated file by its path in the repository."""
    return {
        _COMMANDS: json.dumps({n: COMMANDS[n].summary for n in sorted(COMMANDS)}, indent=2) + "\n",
        _REFERENCE / "commands.md": _render_commands(),
        _REFERENCE / "settings.md": _render_settings(),
        _REFERENCE / "errors.md": _render_errors(),
        _PROTOCOL: typescript.render_protocol(
            vscode_manifest.list_session_actions(),
            vscode_manifest.list_general_actions(),
            vscode_manifest.list_state_icons(),
        ),
        _PACKAGE: vscode_manifest.render_manifest((ROOT / _PACKAGE).read_text()),
    }


def find_stale() -> list[Path]:
    """Return the paths of the generated files that are missing or out of date."""
    return [
        path
        for path, text in generate_files().items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text() != text
    ]


def main(argv: Sequence[str]) -> int:
    """Write the stale files; with --check, list them and return 1 if there are any."""
    checking = "--check" in argv
    paths = find_stale()
    for path in paths:
        sys.stdout.write(f"{'stale' if checking else 'written'}: {path}\n")
        if not checking:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(generate_files()[path])
    return 1 if checking and paths else 0


def _render_commands() -> str:
    # the registry has the order of imports, which differs between processes
    table = [COMMANDS[name] for name in sorted(COMMANDS)]
    rows = [[f"[`{c.name}`](#{_create_anchor(c.name)})", c.title, c.summary] for c in table]
    parts = [
        _NOTE,
        "# Commands",
        _ON_COMMANDS,
        _render_table(["command", "title", ""], rows),
        *(_render_command(command) for command in table),
        "## Notifications",
        _ON_NOTIFICATIONS,
        _render_fields(_get_schema(results.SessionsChanged, "serialization"), is_result=True),
        "## Shapes",
        *(_render_shape(name, schema) for name, schema in sorted(_collect_shapes().items())),
    ]
    return _join_page(parts)


def _render_command(command: Command) -> str:
    params = _get_schema(command.params, "validation")
    result = command.result.__name__
    fields = _render_fields(params, is_result=False) if params.get("properties") else "No params."
    parts = [
        f"## {command.name}",
        command.description,
        f"```sh\n{usage_line(command)}\n```",
        fields,
        f"Result: [`{result}`](#{result.lower()}).",
    ]
    return "\n\n".join(parts)


def _collect_shapes() -> dict[str, Mapping[str, Any]]:
    """Return the schemas of all results and of the models in them, by name."""
    shapes: dict[str, Mapping[str, Any]] = {}
    for command in COMMANDS.values():
        schema = _get_schema(command.result, "serialization")
        shapes |= {**schema.get("$defs", {}), command.result.__name__: schema}
    shapes |= _get_schema(results.SessionsChanged, "serialization")["$defs"]
    return shapes


def _render_shape(name: str, schema: Mapping[str, Any]) -> str:
    parts = [f"### {name}", schema.get("description", "")]
    if "enum" in schema:
        parts.append(" ".join(f"`{value}`" for value in schema["enum"]))
    else:
        parts.append(_render_fields(schema, is_result=True))
    return "\n\n".join(parts)


def _render_fields(schema: Mapping[str, Any], *, is_result: bool) -> str:
    required = schema.get("required", ())
    rows = []
    for name, field in schema.get("properties", {}).items():
        optional = "" if is_result or name in required else "?"
        text = field.get("description", "")
        row = [f"`{name}{optional}`", _format_type(field, null=is_result)]
        rows.append(row if is_result else [*row, _format_default(field.get("default")), text])
    return _render_table(["field", "type"] if is_result else ["param", "type", "default", ""], rows)


def _render_settings() -> str:
    rows = []
    for section, model in settings.section_models().items():
        schema = _get_schema(model, "validation")
        for field in model.model_fields.values():
            shown = schema["properties"][field.alias]
            variable = f"PARA_{section}_{_get_python_name(model, field.alias)}".upper()
            rows.append(
                [
                    f"`{section}.{field.alias}`",
                    _format_type(shown),
                    _format_default(field.get_default(call_default_factory=True), empty=True),
                    "yes" if shown.get("repo") else "",
                    f"`{variable}`",
                    shown.get("description", ""),
                ]
            )
    parts = [
        _NOTE,
        "# Settings",
        _ON_SETTINGS,
        "```toml\n[container]\nmaxRunning = 3\n```",
        _render_table(["key", "type", "default", "repo", "environment", ""], rows),
    ]
    return _join_page(parts)


def _render_errors() -> str:
    rows = [
        [f"`{slug}`", f"{code}: {_CODES[code]}", meaning]
        for slug, (code, meaning) in errors.SLUGS.items()
    ]
    exits = [["0", "success"], ["1", "the command failed"], ["2", "usage error"]]
    exits += [["70", "internal error"], ["130", "cancelled"]]
    parts = [
        _NOTE,
        "# Errors",
        _ON_ERRORS,
        _render_table(["slug", "code", "meaning"], rows),
        "## Codes",
        _render_table(["code", "meaning"], [[str(code), text] for code, text in _CODES.items()]),
        "## Exit codes of `para`",
        _render_table(["code", "meaning"], exits),
        "## Problem",
        _render_fields(_get_schema(errors.Problem, "serialization"), is_result=True),
        "### Remedy",
        _render_fields(_get_schema(errors.Remedy, "serialization"), is_result=True),
        "### Issue",
        _render_fields(_get_schema(errors.Issue, "serialization"), is_result=True),
    ]
    return _join_page(parts)


def _get_schema(model: type[BaseModel], mode: Any) -> dict[str, Any]:
    return model.model_json_schema(mode=mode)


def _format_type(schema: Mapping[str, Any], *, null: bool = True) -> str:
    """Return a JSON schema as a type for readers."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    if "anyOf" in schema:
        parts = [
            _format_type(part) for part in schema["anyOf"] if null or part.get("type") != "null"
        ]
        return " or ".join(parts)
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_format_type(schema.get('items', {}))}"
    limits = [f"{sign} {schema[key]}" for key, sign in _LIMITS.items() if key in schema]
    if schema.get("format") == "date-time":
        return "time"
    return " ".join([str(kind), *limits])


def _format_default(value: object, *, empty: bool = False) -> str:
    if value is None or (value is False and not empty):
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _get_python_name(model: type[BaseModel], alias: str | None) -> str:
    return next(name for name, field in model.model_fields.items() if field.alias == alias)


def _create_anchor(name: str) -> str:
    return name.replace(".", "").lower()


def _render_table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *([_escape_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _escape_cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _join_page(parts: Sequence[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part) + "\n"
