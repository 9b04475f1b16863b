"""Create the status bar text, and the notifications for events that need a person. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from para_server.core.errors import Remedy
from para_server.core.models import AgentState, Session, State
from para_server.core.results import Attention, StatusBar
from para_server.core.untrusted import one_line

Reason = Literal["waiting", "done", "failed"]
_REASONS: Final[dict[AgentState, Reason]] = {
    AgentState.WAITING: "waiting",
    AgentState.DONE: "done",
    AgentState.FAILED: "failed",
}
_PHRASES: Final[dict[Reason, str]] = {
    "waiting": "waits for you",
    "done": "is done",
    "failed": "has failed",
}
_NEEDING_PERSON = (AgentState.WAITING, AgentState.FAILED)


def create_status_bar(sessions: Sequence[Session], running: int, limit: int) -> StatusBar:
    """Return the status bar: running containers, their limit, and sessions that need a person."""
    count = sum(map(needs_person, sessions))
    text = f"Para {running}/{limit}"
    if count:
        text += f" · {count} need{'s' if count == 1 else ''} you"
    lines = [_tooltip_line(session) for session in sessions] or ["No sessions"]
    return StatusBar(text=text, tooltip="\n".join(lines), severity="attention" if count else "ok")


def engine_unreachable(message: str) -> StatusBar:
    """Return the status bar for an engine that cannot be reached."""
    return StatusBar(text="Para: no engine", tooltip=message, severity="error")


def needs_person(session: Session) -> bool:
    """Return whether a session is blocked until a person acts."""
    if session.state is State.FAILED:
        return True
    agent = session.agent
    return session.state is State.RUNNING and agent is not None and agent.state in _NEEDING_PERSON


def new_attention(before: Sequence[Session], now: Sequence[Session]) -> tuple[Attention, ...]:
    """Return the notifications for what changed between two lists; each event is reported once."""
    known = {session.id: _get_reason(session) for session in before}
    return tuple(
        Attention(
            id=session.id,
            name=session.name,
            repo=session.repo,
            reason=reason,
            message=_message(session, reason),
            remedies=_remedies(session, reason),
        )
        for session in now
        if (reason := _get_reason(session)) is not None and known.get(session.id) != reason
    )


def _get_reason(session: Session) -> Reason | None:
    if session.state is State.FAILED:
        return "failed"
    agent = session.agent
    if session.state is not State.RUNNING or agent is None:
        return None
    return _REASONS.get(agent.state)


def _message(session: Session, reason: Reason) -> str:
    if session.problem is not None:
        return session.problem.message
    detail = one_line(session.agent.detail, 100) if session.agent else ""
    return f"{session.name} {_PHRASES[reason]}" + (f": {detail}" if detail else "")


def _remedies(session: Session, reason: Reason) -> tuple[Remedy, ...]:
    named = {"name": session.name, "repo": session.repo}
    summary = one_line(session.title, 72) if session.prompt else f"Work of {session.name}"
    review = Remedy(title="Review changes", command="para.diff", params=named)
    finish = Remedy(
        title="Finish session", command="para.finish", params=named | {"message": summary}
    )
    logs = Remedy(title="Show logs", command="para.logs", params=named)
    if session.state is State.FAILED:
        return session.problem.remedies if session.problem else ()
    if reason == "waiting":
        return (Remedy(title="Open terminal", command="para.open", params=named),)
    return (review, finish) if reason == "done" else (logs, review)


def _tooltip_line(session: Session) -> str:
    agent = session.agent
    activity = f", {agent.state} {one_line(agent.detail, 60)}".rstrip() if agent else ""
    return f"{session.name}: {session.state}{activity}"
