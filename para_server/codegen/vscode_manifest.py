"""Generate the commands, menus and settings in editor/package.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from para_server import __version__
from para_server.core import lifecycle, settings
from para_server.core.models import AgentState, State
from para_server.registry import COMMANDS

CATEGORY: Final = "Para"
# commands of the palette; for the others an editor has views
_PALETTE_VERBS: Final = (
    "dispatch start pause resume finish cancel recover open diff logs send "
    "image.build auth.setup doctor"
).split()
_ICONS: Final = {
    "dispatch": "add",
    "start": "account",
    "doctor": "checklist",
    "pause": "debug-pause",
    "resume": "debug-continue",
    "finish": "check",
    "cancel": "trash",
    "recover": "history",
    "open": "window",
    "attach": "terminal",
    "diff": "diff-multiple",
    "logs": "output",
    "send": "comment",
}
# icon and color by the state of a session, or of its agent while it runs
_STATE_ICONS: Final[dict[State | AgentState, tuple[str, ...]]] = {
    State.PREPARING: ("loading~spin",),
    State.RUNNING: ("account",),
    State.PAUSED: ("debug-pause", "disabledForeground"),
    State.FINISHED: ("git-branch", "charts.green"),
    State.CANCELLED: ("archive", "disabledForeground"),
    State.FAILED: ("error", "charts.red"),
    AgentState.STARTING: ("loading~spin",),
    AgentState.WORKING: ("sync~spin", "charts.blue"),
    AgentState.WAITING: ("bell-dot", "charts.yellow"),
    AgentState.DONE: ("pass", "charts.green"),
    AgentState.FAILED: ("error", "charts.red"),
    AgentState.EXITED: ("circle-slash", "disabledForeground"),
    AgentState.UNKNOWN: ("question",),
}
# commands in the menu of the status bar item, after the sessions
_GENERAL_VERBS: Final = "dispatch start doctor".split()
# buttons of a session in the view, in this order, and its context menu
_INLINE: Final = "diff open resume pause finish recover".split()
_MENU: Final = "open attach diff logs send pause resume finish cancel recover".split()
_VERBS_OF_ANY_STATE: Final = {"diff", "logs"}
_VERBS_LIKE_OPEN: Final = {"attach"}  # apply if para.open does
_VIEW: Final = "view == para.sessions"


def render_manifest(text: str) -> str:
    """Return the text of package.json with its generated parts updated."""
    manifest: dict[str, Any] = json.loads(text)
    contributes = manifest["contributes"]
    generated = [_create_command(verb) for verb in _PALETTE_VERBS if f"para.{verb}" in COMMANDS]
    manual = [entry for entry in contributes["commands"] if _is_extension_command(entry["command"])]
    contributes["commands"] = [*generated, *manual]
    known = {entry["command"] for entry in contributes["commands"]}
    contributes["menus"]["commandPalette"] = [
        {
            "command": _get_ui_name(verb),
            "when": f"!para.connected || para.can.{_get_required_verb(verb)}",
        }
        for verb in [*lifecycle.VERBS, *sorted(_VERBS_LIKE_OPEN)]
        if _get_ui_name(verb) in known
    ] + [entry for entry in contributes["menus"]["commandPalette"] if entry.get("when") == "false"]
    contributes["menus"]["view/item/context"] = _create_session_menus(known)
    contributes["configuration"] = [_create_section(name) for name in settings.section_models()] + [
        entry for entry in contributes["configuration"] if entry["title"] == "Editor"
    ]
    # settings of an untrusted folder must not override the user's
    restricted = [f"para.{key}" for key, _ in settings.setting_keys().items()]
    manifest["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"] = restricted
    return json.dumps({**manifest, "version": __version__}, indent=2, ensure_ascii=False) + "\n"


def list_session_actions() -> list[tuple[str, str, str]]:
    """Return the commands for a session: command, title with icon, and the verb that must apply."""
    known = [verb for verb in _MENU if f"para.{verb}" in COMMANDS]
    titled = {verb: COMMANDS[f"para.{verb}"].title for verb in known} | {
        "attach": "Attach Terminal"
    }
    return [
        (
            _get_ui_name(verb),
            f"$({_ICONS[verb]}) {titled[verb]}",
            "" if verb in _VERBS_OF_ANY_STATE else _get_required_verb(verb),
        )
        for verb in _MENU
        if verb in titled
    ]


def list_general_actions() -> list[tuple[str, str]]:
    """Return the commands without a session: command, and title with icon."""
    generated = [
        (_get_ui_name(v), f"$({_ICONS[v]}) {COMMANDS[f'para.{v}'].title}") for v in _GENERAL_VERBS
    ]
    return [*generated, ("para.sessions.focus", "$(list-tree) Show the View")]


def list_state_icons() -> dict[str, tuple[str, ...]]:
    """Return the icon, and the color if any, of every state."""
    return {state: _STATE_ICONS[state] for state in (*State, *AgentState)}


def _get_ui_name(verb: str) -> str:
    # vscode-languageclient registers the server's command names itself
    return f"para.ui.{verb}"


def _is_extension_command(command: str) -> bool:
    """Return whether a command is written by hand, not generated from the registry."""
    return command.removeprefix("para.ui.") not in _PALETTE_VERBS


def _get_required_verb(verb: str) -> str:
    return "open" if verb in _VERBS_LIKE_OPEN else verb


def _create_command(verb: str) -> dict[str, str]:
    icon = {"icon": f"$({_ICONS[verb]})"} if verb in _ICONS else {}
    title = COMMANDS[f"para.{verb}"].title
    return {"command": _get_ui_name(verb), "title": title, "category": CATEGORY, **icon}


def _create_session_menus(known: set[str]) -> list[dict[str, str]]:
    """Return the buttons and menu entries of a session, with the condition of each."""
    places = [(f"inline@{place}", verb) for place, verb in enumerate(_INLINE)]
    places += [(f"session@{place:02}", verb) for place, verb in enumerate(_MENU)]
    return [
        {
            "command": _get_ui_name(verb),
            "when": f"{_VIEW} && viewItem =~ {_get_view_pattern(verb)}",
            "group": group,
        }
        for group, verb in places
        if _get_ui_name(verb) in known
    ]


def _get_view_pattern(verb: str) -> str:
    return "/^session/" if verb in _VERBS_OF_ANY_STATE else f"/\\b{_get_required_verb(verb)}\\b/"


def _create_section(name: str) -> dict[str, Any]:
    model = settings.section_models()[name]
    schema = model.model_json_schema(mode="validation")
    properties = {
        f"para.{name}.{key}": _create_setting(described)
        for key, described in schema["properties"].items()
    }
    return {"title": name.capitalize(), "properties": properties}


def _create_setting(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting in VS Code's schema."""
    setting = {key: value for key, value in described.items() if key not in {"title", "repo"}}
    description = setting.pop("description", "")
    setting.setdefault("default", {} if setting.get("type") == "object" else None)
    return {"scope": "resource", **setting, "markdownDescription": description}
