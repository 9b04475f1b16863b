"""Convert between command lines and the params of commands."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel

from para_server.core.model import Model
from para_server.core.params import StartParams
from para_server.registry import Command

_TYPES: Final[dict[str, type]] = {"integer": int, "number": float}


class Argument(Model):
    """One parameter: `field` is its name on the wire, `flag` is empty for a positional."""

    field: str
    flag: str
    label: str
    kind: str
    required: bool
    choices: tuple[str, ...]
    help: str


def command_words(command: str) -> list[str]:
    """Return the words of a command: para.image.build is `para image build`."""
    return command.split(".")


def list_arguments(model: type[BaseModel]) -> list[Argument]:
    """Return the arguments of a params model, positionals first.

    Positional are the required ones, then the prompt of a new session or the name of an old one.
    """
    fields = model.model_fields
    first = [name for name, field in fields.items() if field.is_required()]
    usual = "prompt" if issubclass(model, StartParams) else "name"
    first += [usual] if usual in fields and usual not in first else []
    rest = [name for name in fields if name not in first]
    schema = model.model_json_schema()
    return [
        _make_argument(model, schema, name, positional=name in first) for name in [*first, *rest]
    ]


def usage_line(command: Command) -> str:
    """Return the usage of a command as one line."""
    parts = []
    for argument in list_arguments(command.params):
        form = f"{argument.flag} {_format_label(argument)}".strip()
        parts.append(form if argument.required else f"[{form}]")
    return " ".join([*command_words(command.name), *parts, "[--json]"])


def parse_arguments(command: Command, argv: Sequence[str]) -> tuple[dict[str, Any], bool]:
    """Return the params of a command and whether --json is set; raises SystemExit.

    Positionals and options may be mixed; everything after `--` is positional.
    """
    words = list(argv)
    cut = words.index("--") if "--" in words else len(words)
    options, full = _make_parsers(command)
    known, loose = options.parse_known_args(words[:cut])
    values = vars(known)
    if values.pop("help", False):
        full.print_help()
        raise SystemExit(0)
    as_json = bool(values.pop("json", False))
    unknown = [text for text in loose if text.startswith("-") and text != "-" and " " not in text]
    if unknown:
        full.error(f"unknown option: {' '.join(unknown)}; put a text that starts with - after --")
    positionals = [a for a in list_arguments(command.params) if not a.flag]
    texts = [*loose, *words[cut + 1 :]]
    if len(texts) > len(positionals):
        extra = " ".join(texts[len(positionals) :])
        full.error(f"too many arguments: {extra}; put a text of several words in quotes")
    missing = [a.label for a in positionals[len(texts) :] if a.required]
    if missing:
        full.error(f"missing: {' '.join(missing)}")
    return {**values, **dict(zip((a.field for a in positionals), texts, strict=False))}, as_json


def format_command_line(command: Command, params: Mapping[str, Any]) -> str:
    """Return the command line for some params, quoted for a shell."""
    options: list[str] = []
    texts: list[str] = []
    for argument in list_arguments(command.params):
        value = params.get(argument.field)
        if value is None or value is False:
            continue
        if not argument.flag:
            texts.append(str(value))
        elif value is True:
            options.append(argument.flag)
        else:
            options.append(f"{argument.flag}={value}")
    dashes = ["--"] if any(text.startswith("-") for text in texts) else []
    return shlex.join([*command_words(command.name), *options, *dashes, *texts])


def _make_argument(
    model: type[BaseModel], schema: Mapping[str, Any], name: str, *, positional: bool
) -> Argument:
    field = model.model_fields[name]
    alias = field.alias or name
    described = schema["properties"][alias]
    # an optional field is `anyOf` its type and null
    plain = next((s for s in described.get("anyOf", ()) if s.get("type") != "null"), described)
    return Argument(
        field=alias,
        flag="" if positional else f"--{name.replace('_', '-')}",
        label=name.upper(),
        kind=plain.get("type", "string"),
        required=field.is_required(),
        choices=tuple(plain.get("enum", ())),
        help=field.description or "",
    )


def _format_label(argument: Argument) -> str:
    if argument.kind == "boolean":
        return ""
    return "{" + ",".join(argument.choices) + "}" if argument.choices else argument.label


def _make_parsers(command: Command) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """Return a parser of the options, and one with positionals that prints help and errors.

    argparse loses a positional that follows an option, so it only parses the options.
    """
    prog = " ".join(command_words(command.name))
    form = usage_line(command).replace("%", "%%")
    options = argparse.ArgumentParser(prog, usage=form, add_help=False, allow_abbrev=False)
    full = argparse.ArgumentParser(
        prog,
        usage=form,
        description=command.description,
        add_help=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for argument in list_arguments(command.params):
        for parser in (options, full) if argument.flag else (full,):
            _add_argument(parser, argument)
    for parser in (options, full):
        parser.add_argument("--json", action="store_true", help="print the result as JSON")
        parser.add_argument("-h", "--help", action="store_true", help="show this help")
    return options, full


def _add_argument(parser: argparse.ArgumentParser, argument: Argument) -> None:
    keywords: dict[str, Any] = {
        "help": argument.help.replace("%", "%%"),
        "default": argparse.SUPPRESS,
    }
    if not argument.flag:
        parser.add_argument(argument.field, metavar=argument.label, **keywords)
    elif argument.kind == "boolean":
        parser.add_argument(argument.flag, dest=argument.field, action="store_true", **keywords)
    else:
        keywords |= (
            {"choices": argument.choices} if argument.choices else {"metavar": argument.label}
        )
        keywords["type"] = _TYPES.get(argument.kind, str)
        parser.add_argument(argument.flag, dest=argument.field, **keywords)
