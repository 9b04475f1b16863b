"""Parse what a client sends about itself: folders, settings, capabilities. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

MsgId = int | str


@dataclass(frozen=True)
class Client:
    """A client's folders, settings and capabilities; invalid values count as missing."""

    folders: tuple[str, ...] = ()  # paths and file:// URIs
    editor: Mapping[str, Any] = field(default_factory=dict)
    scoped: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by folder, if several
    trusted: tuple[str, ...] | None = ()  # None: all open folders
    wants_changes: bool = False  # para/sessionsChanged
    call_once: bool = False  # of several clients with this flag, one gets the notifications
    answers_configuration: bool = False  # workspace/configuration
    process_id: int | None = None  # the server stops when this process ends
    dynamic_registration: bool = False  # sends changed settings only after registration

    def with_settings(self, settings: object) -> Client:
        """Return the client with the settings that it sent; ignore anything but an object."""
        if not isinstance(settings, dict):
            return self
        return replace(self, editor=_nest_sections(settings))

    def with_scoped(self, folders: Sequence[str], answers: Sequence[object]) -> Client:
        """Return the client with the settings of each of its folders."""
        pairs = zip(folders, answers, strict=False)
        return replace(
            self,
            scoped={
                f: _nest_sections(settings) for f, settings in pairs if isinstance(settings, dict)
            },
        )

    def with_folders(self, params: object) -> Client:
        """Return the client after workspace/didChangeWorkspaceFolders."""
        closed = _parse_folders(get_nested(params, "event", "removed"))
        kept = [folder for folder in self.folders if folder not in closed]
        opened = [f for f in _parse_folders(get_nested(params, "event", "added")) if f not in kept]
        return replace(self, folders=(*kept, *opened))


def parse_initialize(params: object) -> Client:
    """Parse the params of `initialize`."""
    options = get_nested(params, "initializationOptions")
    capabilities = get_nested(params, "capabilities")
    root = get_nested(params, "rootUri") or get_nested(params, "rootPath")
    process_id = get_nested(params, "processId")
    return Client(
        process_id=process_id
        if is_id(process_id) and isinstance(process_id, int) and process_id > 0
        else None,
        folders=_parse_folders(get_nested(params, "workspaceFolders"))
        or _parse_folders([{"uri": root}]),
        trusted=_parse_trusted(get_nested(options, "trusted")),
        wants_changes=get_nested(capabilities, "experimental", "para") is True
        or get_nested(options, "notifications") is True,
        call_once=get_nested(options, "callOnce") is True,
        answers_configuration=get_nested(capabilities, "workspace", "configuration") is True,
        dynamic_registration=get_nested(
            capabilities, "workspace", "didChangeConfiguration", "dynamicRegistration"
        )
        is True,
    ).with_settings(get_nested(options, "settings"))


def get_nested(value: object, *keys: str) -> object:
    """Return the value at a path of keys in any JSON value; None if there is none."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def is_id(value: object) -> TypeGuard[MsgId]:
    """Return whether a value is a valid request id or progress token."""
    return isinstance(value, int | str) and not isinstance(value, bool)


def _nest_sections(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Move keys of the form `section.key`, which settings files may have, into their section."""
    nested = {key: value for key, value in settings.items() if "." not in key}
    for path, value in settings.items():
        section, dot, key = path.partition(".")
        table = nested.get(section) or {}
        if dot and isinstance(table, Mapping):
            nested[section] = {**table, key: value}
    return nested


def _parse_trusted(value: object) -> tuple[str, ...] | None:
    """Parse `trusted`: true for all open folders, or a list of paths and URIs."""
    if value is True:
        return None
    return _parse_folders([{"uri": uri} for uri in value]) if isinstance(value, list) else ()


def _parse_folders(listed: object) -> tuple[str, ...]:
    uris = [get_nested(entry, "uri") for entry in listed] if isinstance(listed, list) else []
    return tuple(
        uri
        for uri in uris
        if isinstance(uri, str) and uri.startswith(("file://", "/")) and "%00" not in uri
    )
