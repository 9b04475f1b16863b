"""Define which command applies in which state of a session. Pure."""

from __future__ import annotations

from typing import Final

from para_server.core.errors import SHOW_SESSIONS, ParaError, Problem, Remedy
from para_server.core.models import SessionType, State

_ALLOWED_STATES: Final[dict[str, frozenset[State]]] = {
    "pause": frozenset({State.RUNNING}),
    "resume": frozenset({State.PAUSED, State.FAILED, State.FINISHED}),
    "finish": frozenset({State.RUNNING, State.PAUSED, State.FAILED}),
    "cancel": frozenset({State.RUNNING, State.PAUSED, State.FAILED}),
    "recover": frozenset({State.CANCELLED}),
    "open": frozenset({State.RUNNING}),
    "send": frozenset({State.RUNNING}),
}
VERBS: Final = tuple(_ALLOWED_STATES)
_CONTAINER_ONLY: Final = frozenset({"pause", "send"})  # a worktree session has no agent process
_ALTERNATIVES: Final[dict[State, tuple[str, str]]] = {
    State.PAUSED: ("Resume it", "para.resume"),
    State.FINISHED: ("Resume it", "para.resume"),
    State.FAILED: ("Resume it", "para.resume"),
    State.CANCELLED: ("Recover it", "para.recover"),
}
ENDED_STATES: Final = frozenset({State.FINISHED, State.CANCELLED})


def is_allowed(verb: str, state: State) -> bool:
    """Return whether a command applies in a state."""
    return state in _ALLOWED_STATES[verb]


def applies_to(verb: str, kind: SessionType) -> bool:
    """Return whether a command applies to a type of session."""
    return kind == "container" or verb not in _CONTAINER_ONLY


def require_allowed(
    verb: str,
    name: str,
    repo: str,
    state: State,
    *,
    problem: Problem | None = None,
    instead: Remedy | None = None,
) -> None:
    """Raise session.illegal-transition unless the command applies.

    `problem` is why the session failed: its remedies replace the usual ones. `instead` is the
    remedy for a running session.
    """
    if is_allowed(verb, state):
        return
    remedies = [SHOW_SESSIONS]
    message = f"Cannot {verb} session {name}: it is {state}"
    if problem is not None:
        message = f"{message}: {problem.message}"
        remedies = [r for r in problem.remedies if r.command != f"para.{verb}"] + remedies
    elif state in _ALTERNATIVES:
        title, command = _ALTERNATIVES[state]
        if command != f"para.{verb}":
            params = {"name": name, "repo": repo}
            remedies.insert(0, Remedy(title=title, command=command, params=params))
    elif instead is not None and state is State.RUNNING:
        remedies.insert(0, instead)
    raise ParaError("session.illegal-transition", message, *remedies)
