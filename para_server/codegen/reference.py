"""The only place that writes files from the tables: commands, settings, errors.

`python -m para_server.codegen` writes them, `--check` tells whether they are fresh.
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
_COMMANDS: Final = Path("para_server/commands.json")  # for who cannot wait until all is loaded
_PROTOCOL: Final = Path("editor/generated/protocol.ts")
_PACKAGE: Final = Path("editor/package.json")  # in parts; the others are written by hand
_NOTE: Final = "<!-- Written by `make generate`; edit the Python side instead. -->"
_ON_COMMANDS: Final = """\
A client calls a command by `workspace/executeCommand`; `arguments` is `[]` or one JSON object.
`repo` may be left out where the client has one workspace folder.
`name` may be left out where it can be told: the session that holds `cwd`, else the only live one.
At a terminal, `--json` prints the result as it is on the wire."""
_ON_NOTIFICATIONS: Final = """\
`para/sessionsChanged` is sent after `initialized` and on every change.
It goes to clients that set `capabilities.experimental.para` or
`initializationOptions.notifications` to `true`."""
_ON_SETTINGS: Final = f"""\
Each layer lies on top of the one before it: the defaults, `$PARA_CONFIG_HOME/config.toml`,
`{REPO_FILE}` in the repository, the environment, what the editor says (section `para`),
a command's own params.
A repository is not trusted: its `{REPO_FILE}` may set only what is marked *repo*, to what its
row allows, unless a client says that a folder in it is trusted (`initializationOptions.trusted`:
`true` for the folders that are open, or a list of folders). No other repository is trusted by that.
In a file, a key stands in the table of its section.
In the environment, lists and tables are JSON; a list of texts may be written with commas."""
_ON_ERRORS: Final = """\
`error.data` of a failed request is a `Problem`.
Every remedy in it can be carried out as it stands."""
_LIMITS: Final = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤"}
_CODES: Final = {
    errors.INVALID_PARAMS: "the caller is wrong",
    errors.REQUEST_FAILED: "it cannot be done",
    errors.REQUEST_CANCELLED: "cancelled",
    errors.SERVER_CANCELLED: "the server is shutting down",
    errors.INTERNAL_ERROR: "a bug",
}


def files() -> dict[Path, str]:
    """Give each generated file, by its path from the top level, and its text."""
    return {
        _COMMANDS: json.dumps({n: COMMANDS[n].summary for n in sorted(COMMANDS)}, indent=2) + "\n",
        _REFERENCE / "commands.md": _commands(),
        _REFERENCE / "settings.md": _settings(),
        _REFERENCE / "errors.md": _errors(),
        _PROTOCOL: typescript.protocol(
            vscode_manifest.actions(), vscode_manifest.entries(), vscode_manifest.looks()
        ),
        _PACKAGE: vscode_manifest.package((ROOT / _PACKAGE).read_text()),
    }


def stale() -> list[Path]:
    """Name the generated files that are not as they would be written now."""
    return [
        path
        for path, text in files().items()
        if not (ROOT / path).is_file() or (ROOT / path).read_text() != text
    ]


def main(argv: Sequence[str]) -> int:
    """Write what is stale, or with --check only name it; the exit code is then 1."""
    checking = "--check" in argv
    found = stale()
    for path in found:
        sys.stdout.write(f"{'stale' if checking else 'written'}: {path}\n")
        if not checking:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(files()[path])
    return 1 if checking and found else 0


def _commands() -> str:
    # the order of the registry is that of imports, which differs from one process to the next
    table = [COMMANDS[name] for name in sorted(COMMANDS)]
    rows = [[f"[`{c.name}`](#{_anchor(c.name)})", c.title, c.summary] for c in table]
    parts = [
        _NOTE,
        "# Commands",
        _ON_COMMANDS,
        _table(["command", "title", ""], rows),
        *(_command(command) for command in table),
        "## Notifications",
        _ON_NOTIFICATIONS,
        _fields(_schema(results.SessionsChanged, "serialization"), answers=True),
        "## Shapes",
        *(_shape(name, schema) for name, schema in sorted(_shapes().items())),
    ]
    return _page(parts)


def _command(command: Command) -> str:
    params = _schema(command.params, "validation")
    result = command.result.__name__
    fields = _fields(params, answers=False) if params.get("properties") else "No params."
    parts = [
        f"## {command.name}",
        command.description,
        f"```sh\n{usage_line(command)}\n```",
        fields,
        f"Result: [`{result}`](#{result.lower()}).",
    ]
    return "\n\n".join(parts)


def _shapes() -> dict[str, Mapping[str, Any]]:
    """Collect the results and all that they are made of."""
    found: dict[str, Mapping[str, Any]] = {}
    for command in COMMANDS.values():
        schema = _schema(command.result, "serialization")
        found |= {**schema.get("$defs", {}), command.result.__name__: schema}
    found |= _schema(results.SessionsChanged, "serialization")["$defs"]
    return found


def _shape(name: str, schema: Mapping[str, Any]) -> str:
    parts = [f"### {name}", schema.get("description", "")]
    if "enum" in schema:
        parts.append(" ".join(f"`{value}`" for value in schema["enum"]))
    else:
        parts.append(_fields(schema, answers=True))
    return "\n\n".join(parts)


def _fields(schema: Mapping[str, Any], *, answers: bool) -> str:
    required = schema.get("required", ())
    rows = []
    for name, field in schema.get("properties", {}).items():
        optional = "" if answers or name in required else "?"
        told = field.get("description", "")
        row = [f"`{name}{optional}`", _type(field, null=answers)]
        rows.append(row if answers else [*row, _default(field.get("default")), told])
    return _table(["field", "type"] if answers else ["param", "type", "default", ""], rows)


def _settings() -> str:
    rows = []
    for section, model in settings.section_models().items():
        schema = _schema(model, "validation")
        for field in model.model_fields.values():
            shown = schema["properties"][field.alias]
            variable = f"PARA_{section}_{_python_name(model, field.alias)}".upper()
            rows.append(
                [
                    f"`{section}.{field.alias}`",
                    _type(shown),
                    _default(field.get_default(call_default_factory=True), empty=True),
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
        _table(["key", "type", "default", "repo", "environment", ""], rows),
    ]
    return _page(parts)


def _errors() -> str:
    rows = [
        [f"`{slug}`", f"{code}: {_CODES[code]}", meaning]
        for slug, (code, meaning) in errors.SLUGS.items()
    ]
    exits = [["0", "done"], ["1", "it cannot be done"], ["2", "the caller is wrong"]]
    exits += [["70", "a bug"], ["130", "cancelled"]]
    parts = [
        _NOTE,
        "# Errors",
        _ON_ERRORS,
        _table(["slug", "code", "meaning"], rows),
        "## Codes",
        _table(["code", "meaning"], [[str(code), text] for code, text in _CODES.items()]),
        "## Exit codes of `para`",
        _table(["code", "meaning"], exits),
        "## Problem",
        _fields(_schema(errors.Problem, "serialization"), answers=True),
        "### Remedy",
        _fields(_schema(errors.Remedy, "serialization"), answers=True),
        "### Issue",
        _fields(_schema(errors.Issue, "serialization"), answers=True),
    ]
    return _page(parts)


def _schema(model: type[BaseModel], mode: Any) -> dict[str, Any]:
    return model.model_json_schema(mode=mode)


def _type(schema: Mapping[str, Any], *, null: bool = True) -> str:
    """Write a JSON schema as a type in the manner of TypeScript."""
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return f"[`{name}`](#{name.lower()})"
    if "anyOf" in schema:
        parts = [_type(part) for part in schema["anyOf"] if null or part.get("type") != "null"]
        return " or ".join(parts)
    if "enum" in schema:
        return " ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    limits = [f"{sign} {schema[key]}" for key, sign in _LIMITS.items() if key in schema]
    if schema.get("format") == "date-time":
        return "time"
    return " ".join([str(kind), *limits])


def _default(value: object, *, empty: bool = False) -> str:
    if value is None or (value is False and not empty):
        return ""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _python_name(model: type[BaseModel], alias: str | None) -> str:
    return next(name for name, field in model.model_fields.items() if field.alias == alias)


def _anchor(name: str) -> str:
    return name.replace(".", "").lower()


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _page(parts: Sequence[str]) -> str:
    return "\n\n".join(part.strip() for part in parts if part) + "\n"
