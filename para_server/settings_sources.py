"""Read the sources of settings and merge them by precedence."""

from __future__ import annotations

import difflib
import errno
import json
import logging
import os
import stat
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from pydantic import ValidationError

from para_server.core.errors import Issue, ParaError, Remedy
from para_server.core.repository_settings import REPO_FILE, restrict_repository_settings
from para_server.core.settings import Settings, section_models, setting_keys
from para_server.core.toml_depth import require_shallow
from para_server.core.untrusted import one_line

_log = logging.getLogger(__name__)
_logged: Final[set[str]] = set()  # messages about unknown settings, each of which is logged once
MAX_USER_FILE: Final = 1 << 20  # bytes of the user's settings file
MAX_REPO_FILE: Final = 64 << 10  # bytes of a repository's, which is read for each command
ENVIRONMENT: Final = "the environment"
EDITOR: Final = "the editor"
COMMAND: Final = "the command"
_MAX_UNKNOWN: Final = 20  # settings of the user's file that are reported
_MAX_KEY: Final = 100  # characters of an unknown name that are compared with known ones
Layer = tuple[str, Mapping[str, Any]]  # its origin, and section -> key -> value


def merge_layers(layers: list[Layer]) -> Settings:
    """Return the settings of some layers, of which later ones win; raises settings.invalid."""
    merged: dict[str, dict[str, Any]] = {}
    for origin, layer in layers:
        _require_known_keys(origin, layer)
        for section, values in layer.items():
            merged.setdefault(section, {}).update(
                {key: value for key, value in values.items() if value is not None}
            )
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        issues = [
            Issue(
                path=".".join(str(part) for part in e["loc"]),
                message=e["msg"].removeprefix("Value error, "),
            )
            for e in error.errors()
        ]
        origin = _find_origin(layers, issues[0].path)
        where = f" in {origin}" if origin else ""
        message = f"Invalid setting {issues[0].path}{where}: {issues[0].message}"
        raise _invalid(message, issues, origin) from None


def _find_origin(layers: list[Layer], path: str) -> str:
    """Return the origin of the layer that sets a key last; empty if none does."""
    section, _, rest = path.partition(".")
    key = rest.partition(".")[0]
    origins = [origin for origin, layer in layers if layer.get(section, {}).get(key) is not None]
    return origins[-1] if origins else ""


def read_layers(
    config_home: Path,
    repo: Path | None,
    environ: Mapping[str, str],
    editor: Mapping[str, Any],
    *,
    trusted: bool,
    command: Mapping[str, Any] | None = None,
) -> list[Layer]:
    """Return all layers, lowest precedence first; raises settings.invalid."""
    file, settings, unknown = _read_user_layer(config_home)
    for message in unknown:
        _log_once(message)
    beneath: Layer = (str(file), settings)
    above: list[Layer] = [
        (ENVIRONMENT, _read_environment(environ)),
        (EDITOR, _without_unset(editor)),
        (COMMAND, command or {}),
    ]
    of_repo = _read_repository_file(repo / REPO_FILE) if repo is not None else {}
    if of_repo and not trusted:
        own = merge_layers([beneath, *above])
        of_repo = restrict_repository_settings(
            of_repo, beneath[1], own, [values for _, values in above]
        )
    return [beneath, (REPO_FILE, of_repo), *above]


def find_unknown_settings(config_home: Path) -> list[str]:
    """Return a message for each setting of the user's file that this version does not know.

    A newer para may have written them, so they are ignored.
    """
    return _read_user_layer(config_home)[2]


def _read_user_layer(config_home: Path) -> tuple[Path, dict[str, Any], list[str]]:
    """Return the user's settings file, its known settings, and a message for each unknown one."""
    file = config_home / "config.toml"
    known: dict[str, Any] = {}
    unknown: list[str] = []
    for section, values in _read_toml(file, MAX_USER_FILE, os.O_RDONLY).items():
        if section in section_models() and not isinstance(values, Mapping):
            known[section] = values  # refused when the layers are merged
            continue
        keys = values if isinstance(values, Mapping) else {"": values}
        for key, value in keys.items():
            path = f"{section}.{key}".rstrip(".")
            if path in setting_keys():
                known.setdefault(section, {})[key] = value
            else:
                unknown.append(path)
    return file, known, [_unknown_message(str(file), path) for path in unknown[:_MAX_UNKNOWN]]


def _log_once(message: str) -> None:
    if message not in _logged:
        _logged.add(message)
        _log.warning("ignored: %s", message)


def _require_known_keys(origin: str, layer: Mapping[str, Any]) -> None:
    for section, values in layer.items():
        if not isinstance(values, Mapping):
            raise _invalid(f"{origin}: {_section_message(section)}", [])
        for key in values:
            path = f"{section}.{key}"
            if path not in setting_keys():
                raise _unknown_setting(origin, path)


def _section_message(name: str) -> str:
    shown = one_line(name)
    if name in section_models():
        return f"{shown} is a section: write its settings below a line [{shown}]"
    return f"unknown section {shown} (known: {', '.join(sorted(section_models()))})"


def _unknown_setting(origin: str, path: str) -> ParaError:
    issue = Issue(path=one_line(path), message="unknown setting")
    message = _unknown_message(origin, path)
    remedy = _correction_remedy(one_line(path), origin)
    return ParaError("settings.invalid", message, remedy, issues=[issue])


@lru_cache(maxsize=_MAX_UNKNOWN)  # settings are read several times per command
def _unknown_message(origin: str, path: str) -> str:
    shown = one_line(path)
    near = _closest_setting(shown[:_MAX_KEY].lower())
    return f"{origin}: unknown setting {shown}" + (f"; did you mean {near}" if near else "")


def _closest_setting(path: str) -> str:
    """Return the most similar setting, preferably of the same section; empty if there is none."""
    section, _, key = path.partition(".")
    everywhere = {one.partition(".")[2].lower(): one for one in setting_keys()}
    here = {
        one.partition(".")[2].lower(): one
        for one in setting_keys()
        if one.startswith(f"{section}.")
    }
    for known in (here, everywhere):
        for name in difflib.get_close_matches(key, known, n=1, cutoff=0.7):
            return known[name]
    return ""


def _read_repository_file(file: Path) -> Mapping[str, Any]:
    # a repository can have anything in its place: a link to another file, an endless pipe
    return _read_toml(file, MAX_REPO_FILE, os.O_RDONLY | os.O_NOFOLLOW)


def _read_toml(file: Path, limit: int, flags: int) -> dict[str, Any]:
    try:
        descriptor = os.open(file, flags | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:
        linked = error.errno == errno.ELOOP
        why = "it is a link" if linked else os.strerror(error.errno or 0)
        raise _invalid(f"{file} cannot be read: {why}", []) from None
    try:
        with os.fdopen(descriptor, "rb") as stream:
            text = _read_limited(stream, limit).decode("utf-8-sig")
            require_shallow(text)
            return tomllib.loads(text)
    except UnicodeDecodeError:
        raise _invalid(f"{file} is not a settings file: it is not UTF-8", []) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(f"{file} is not a valid TOML file: {error}", []) from None


def _read_limited(stream: BinaryIO, limit: int) -> bytes:
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        raise ValueError("it is not a regular file")
    text = stream.read(limit + 1)
    if len(text) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    return text


def _read_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return the settings of PARA_SECTION_KEY: strings, JSON, or strings separated by commas."""
    layer: dict[str, dict[str, Any]] = {}
    for section, model in section_models().items():
        for name, field in model.model_fields.items():
            raw = environ.get(_variable_name(section, name))
            if raw is None:
                continue
            value: Any = raw
            if field.annotation is not str and raw[:1] in "[{":
                try:
                    value = json.loads(raw)
                except ValueError:
                    value = raw
            elif field.annotation == tuple[str, ...]:
                value = [part.strip() for part in raw.split(",") if part.strip()]
            layer.setdefault(section, {})[str(field.alias)] = value
    return layer


def _without_unset(editor: Mapping[str, Any]) -> dict[str, Any]:
    """Return an editor's settings without unset sections and those of the editor itself."""
    known = set(section_models())
    return {
        section: values
        for section, values in editor.items()
        if section in known and values is not None
    }


def _variable_name(section: str, name: str) -> str:
    """Return the environment variable of a setting; `name` is the model's field name."""
    return f"PARA_{section}_{name}".upper()


def _invalid(message: str, issues: list[Issue], origin: str = "") -> ParaError:
    remedies = [_correction_remedy(i.path, origin) for i in issues[:1]]
    return ParaError("settings.invalid", message, *remedies, issues=issues)


def _correction_remedy(path: str, origin: str) -> Remedy:
    """Return the remedy for a setting; an editor can only open the user's own settings."""
    if origin == REPO_FILE:
        return Remedy(title=f"Correct it in {REPO_FILE}")
    if origin == COMMAND:
        return Remedy(title="Correct it in the command")
    if origin == ENVIRONMENT:
        section, _, key = path.partition(".")
        alias = key.partition(".")[0]
        name = next(
            n for n, f in section_models()[section].model_fields.items() if f.alias == alias
        )
        return Remedy(
            title=f"Correct it in the environment, or unset {_variable_name(section, name)}"
        )
    return Remedy(title="Open the setting", setting=path)
