"""The only place that knows which command applies in which state of a session. Pure."""

from __future__ import annotations

from typing import Final

from para_server.errors import SHOW_SESSIONS, ParaError, Remedy
from para_server.models import SessionType, State

_FROM: Final[dict[str, frozenset[State]]] = {
    "pause": frozenset({State.RUNNING}),
    "resume": frozenset({State.PAUSED, State.FAILED, State.FINISHED}),
    "finish": frozenset({State.RUNNING, State.PAUSED, State.FAILED}),
    "cancel": frozenset({State.RUNNING, State.PAUSED, State.FAILED}),
    "recover": frozenset({State.CANCELLED}),
    "open": frozenset({State.RUNNING}),
    "send": frozenset({State.RUNNING}),
}
VERBS: Final = tuple(_FROM)
_OF_CONTAINERS: Final = frozenset({"pause", "send"})  # nothing runs unattended in a worktree
_INSTEAD: Final[dict[State, tuple[str, str]]] = {
    State.PAUSED: ("Resume it", "para.resume"),
    State.FINISHED: ("Resume it", "para.resume"),
    State.FAILED: ("Resume it", "para.resume"),
    State.CANCELLED: ("Recover it", "para.recover"),
}
OVER: Final = frozenset({State.FINISHED, State.CANCELLED})


def allowed(verb: str, state: State) -> bool:
    """Tell whether a command applies in a state."""
    return state in _FROM[verb]


def applies_to(verb: str, kind: SessionType) -> bool:
    """Tell whether a command applies to a type of session."""
    return kind == "container" or verb not in _OF_CONTAINERS


def demand(verb: str, name: str, repo: str, state: State) -> None:
    """Raise session.illegal-transition unless the command applies."""
    if allowed(verb, state):
        return
    remedies = [SHOW_SESSIONS]
    if state in _INSTEAD:
        title, command = _INSTEAD[state]
        if command != f"para.{verb}":
            params = {"name": name, "repo": repo}
            remedies.insert(0, Remedy(title=title, command=command, params=params))
    raise ParaError(
        "session.illegal-transition", f"Cannot {verb} session {name}: it is {state}", *remedies
    )
