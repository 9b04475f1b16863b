"""The only place that knows what a client says of itself and of its settings. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

MsgId = int | str


@dataclass(frozen=True)
class Client:
    """What is known of the client; what it said wrongly counts as not said."""

    folders: tuple[str, ...] = ()  # paths and file:// URIs
    editor: Mapping[str, Any] = field(default_factory=dict)
    scoped: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by folder, of several
    trusted: tuple[str, ...] | None = ()  # None: the folders that are open, whichever they are
    notifications: bool = False  # wants para/sessionsChanged
    once: bool = False  # is not to be called where another client is that says so
    configuration: bool = False  # answers workspace/configuration
    process: int | None = None  # with which this server ends
    registration: bool = False  # tells of changed settings only when it is asked to

    def with_settings(self, settings: object) -> Client:
        """Take the settings that the client sent; what is no object changes nothing."""
        return replace(self, editor=_nested(settings)) if isinstance(settings, dict) else self

    def with_scoped(self, folders: Sequence[str], answers: Sequence[object]) -> Client:
        """Take the settings of each of several folders."""
        told = zip(folders, answers, strict=False)
        return replace(
            self,
            scoped={f: _nested(settings) for f, settings in told if isinstance(settings, dict)},
        )

    def with_folders(self, params: object) -> Client:
        """Take the folders that were opened and closed."""
        closed = _folders(inside(params, "event", "removed"))
        kept = [folder for folder in self.folders if folder not in closed]
        opened = [f for f in _folders(inside(params, "event", "added")) if f not in kept]
        return replace(self, folders=(*kept, *opened))


def introduced(params: object) -> Client:
    """Read the params of `initialize`."""
    options = inside(params, "initializationOptions")
    capabilities = inside(params, "capabilities")
    root = inside(params, "rootUri") or inside(params, "rootPath")
    process = inside(params, "processId")
    return Client(
        process=process if is_id(process) and isinstance(process, int) and process > 0 else None,
        folders=_folders(inside(params, "workspaceFolders")) or _folders([{"uri": root}]),
        trusted=_trusted(inside(options, "trusted")),
        notifications=inside(capabilities, "experimental", "para") is True
        or inside(options, "notifications") is True,
        once=inside(options, "callOnce") is True,
        configuration=inside(capabilities, "workspace", "configuration") is True,
        registration=inside(
            capabilities, "workspace", "didChangeConfiguration", "dynamicRegistration"
        )
        is True,
    ).with_settings(inside(options, "settings"))


def inside(value: object, *keys: str) -> object:
    """Look into JSON of any shape; None where there is nothing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def is_id(value: object) -> TypeGuard[MsgId]:
    """Tell whether a value may name a request or a progress."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Put `section.key`, as an editor's file of settings may have it, into the section's table."""
    found = {key: value for key, value in settings.items() if "." not in key}
    for path, value in settings.items():
        section, dot, key = path.partition(".")
        table = found.get(section) or {}
        if dot and isinstance(table, Mapping):
            found[section] = {**table, key: value}
    return found


def _trusted(said: object) -> tuple[str, ...] | None:
    """Read `trusted`: true for the folders that are open, or a list of paths and URIs."""
    if said is True:
        return None
    return _folders([{"uri": uri} for uri in said]) if isinstance(said, list) else ()


def _folders(listed: object) -> tuple[str, ...]:
    named = [inside(entry, "uri") for entry in listed] if isinstance(listed, list) else []
    return tuple(
        uri
        for uri in named
        if isinstance(uri, str) and uri.startswith(("file://", "/")) and "%00" not in uri
    )
