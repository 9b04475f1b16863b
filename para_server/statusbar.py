"""The only place that puts all sessions into one line. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from para_server.models import AgentState, Session, State
from para_server.results import StatusBar
from para_server.untrusted import one_line

_CALLS = (AgentState.WAITING, AgentState.FAILED)


def status_bar(sessions: Sequence[Session], running: int, limit: int) -> StatusBar:
    """Say how many containers run, and whether one needs a person."""
    calling = [s for s in sessions if needs_a_person(s)]
    text = f"Para {running}/{limit}" + (f" · {len(calling)} need you" if calling else "")
    lines = [_line(session) for session in sessions] or ["No sessions"]
    return StatusBar(text=text, tooltip="\n".join(lines), severity="attention" if calling else "ok")


def unreachable(message: str) -> StatusBar:
    """Say that the engine does not answer."""
    return StatusBar(text="Para: no engine", tooltip=message, severity="error")


def needs_a_person(session: Session) -> bool:
    """Tell whether a session stands still until somebody looks at it."""
    if session.state is State.FAILED:
        return True
    agent = session.agent
    return session.state is State.RUNNING and agent is not None and agent.state in _CALLS


def _line(session: Session) -> str:
    agent = session.agent
    doing = f", {agent.state} {one_line(agent.detail, 60)}".rstrip() if agent else ""
    return f"{session.name}: {session.state}{doing}"
