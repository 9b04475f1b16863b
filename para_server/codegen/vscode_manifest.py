"""The only place that writes into editor/package.json what the tables know: titles, settings."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from para_server import __version__
from para_server.core import lifecycle, settings
from para_server.core.models import AgentState, State
from para_server.registry import COMMANDS

CATEGORY: Final = "Para"
# what people call by name; for what is left out, an editor has other ways
_FOR_PEOPLE: Final = (
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
# of a session, by its state or by its agent's while it runs
_LOOKS: Final[dict[State | AgentState, tuple[str, ...]]] = {
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
# what the indicator offers beside the sessions
_ENTRIES: Final = "dispatch start doctor".split()
# beside a session in the view, in this order, and in its menu
_INLINE: Final = "diff open resume pause finish recover".split()
_MENU: Final = "open attach diff logs send pause resume finish cancel recover".split()
_ANY_STATE: Final = {"diff", "logs"}
_OF_OPEN: Final = {"attach"}  # applies where para.open does
_VIEW: Final = "view == para.sessions"


def package(text: str) -> str:
    """Give the file with the parts that are generated as they should be."""
    read: dict[str, Any] = json.loads(text)
    contributes = read["contributes"]
    made = [_command(verb) for verb in _FOR_PEOPLE if f"para.{verb}" in COMMANDS]
    own = [one for one in contributes["commands"] if _is_own(one["command"])]
    contributes["commands"] = [*made, *own]
    known = {one["command"] for one in contributes["commands"]}
    contributes["menus"]["commandPalette"] = [
        {"command": _ui(verb), "when": f"!para.connected || para.can.{_needs(verb)}"}
        for verb in [*lifecycle.VERBS, *sorted(_OF_OPEN)]
        if _ui(verb) in known
    ] + [one for one in contributes["menus"]["commandPalette"] if one.get("when") == "false"]
    contributes["menus"]["view/item/context"] = _of_sessions(known)
    contributes["configuration"] = [_section(name) for name in settings.section_models()] + [
        one for one in contributes["configuration"] if one["title"] == "Editor"
    ]
    # what a folder's own settings say counts where it is trusted: each would lie over the user's
    restricted = [f"para.{key}" for key, _ in settings.setting_keys().items()]
    read["capabilities"]["untrustedWorkspaces"]["restrictedConfigurations"] = restricted
    return json.dumps({**read, "version": __version__}, indent=2, ensure_ascii=False) + "\n"


def actions() -> list[tuple[str, str, str]]:
    """Give what can be done with a session: command, title with icon, and the verb it needs."""
    known = [verb for verb in _MENU if f"para.{verb}" in COMMANDS]
    titled = {verb: COMMANDS[f"para.{verb}"].title for verb in known} | {
        "attach": "Attach Terminal"
    }
    return [
        (_ui(verb), f"$({_ICONS[verb]}) {titled[verb]}", "" if verb in _ANY_STATE else _needs(verb))
        for verb in _MENU
        if verb in titled
    ]


def entries() -> list[tuple[str, str]]:
    """Give what can be done without a session: command, and title with icon."""
    made = [(_ui(v), f"$({_ICONS[v]}) {COMMANDS[f'para.{v}'].title}") for v in _ENTRIES]
    return [*made, ("para.sessions.focus", "$(list-tree) Show the View")]


def looks() -> dict[str, tuple[str, ...]]:
    """Give icon and colour of every state."""
    return {state: _LOOKS[state] for state in (*State, *AgentState)}


def _ui(verb: str) -> str:
    # vscode-languageclient registers the server's own names by itself
    return f"para.ui.{verb}"


def _is_own(command: str) -> bool:
    """Tell whether a command is the extension's own and has no row in the registry."""
    return command.removeprefix("para.ui.") not in _FOR_PEOPLE


def _needs(verb: str) -> str:
    return "open" if verb in _OF_OPEN else verb


def _command(verb: str) -> dict[str, str]:
    icon = {"icon": f"$({_ICONS[verb]})"} if verb in _ICONS else {}
    title = COMMANDS[f"para.{verb}"].title
    return {"command": _ui(verb), "title": title, "category": CATEGORY, **icon}


def _of_sessions(known: set[str]) -> list[dict[str, str]]:
    """Place the commands beside the sessions they apply to; the view names these by state."""
    places = [(f"inline@{place}", verb) for place, verb in enumerate(_INLINE)]
    places += [(f"session@{place:02}", verb) for place, verb in enumerate(_MENU)]
    return [
        {"command": _ui(verb), "when": f"{_VIEW} && viewItem =~ {_applies(verb)}", "group": group}
        for group, verb in places
        if _ui(verb) in known
    ]


def _applies(verb: str) -> str:
    return "/^session/" if verb in _ANY_STATE else f"/\\b{_needs(verb)}\\b/"


def _section(name: str) -> dict[str, Any]:
    model = settings.section_models()[name]
    schema = model.model_json_schema(mode="validation")
    properties = {
        f"para.{name}.{key}": _setting(described) for key, described in schema["properties"].items()
    }
    return {"title": name.capitalize(), "properties": properties}


def _setting(described: Mapping[str, Any]) -> dict[str, Any]:
    """Give a setting as VS Code has it; one that may reach beyond a container is not a folder's."""
    kept = {key: value for key, value in described.items() if key not in {"title", "repo"}}
    told = kept.pop("description", "")
    kept.setdefault("default", {} if kept.get("type") == "object" else None)
    return {"scope": "resource", **kept, "markdownDescription": told}
