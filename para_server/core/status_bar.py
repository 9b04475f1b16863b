"""The only place that decides what people are told of all sessions, unasked. Pure."""

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


def status_bar(sessions: Sequence[Session], running: int, limit: int) -> StatusBar:
    """Say how many containers run, and whether one needs a person."""
    calling = [s for s in sessions if needs_person(s)]
    text = f"Para {running}/{limit}"
    if calling:
        text += f" · {len(calling)} need{'s' if len(calling) == 1 else ''} you"
    lines = [_tooltip_line(session) for session in sessions] or ["No sessions"]
    return StatusBar(text=text, tooltip="\n".join(lines), severity="attention" if calling else "ok")


def engine_unreachable(message: str) -> StatusBar:
    """Say that the engine does not answer."""
    return StatusBar(text="Para: no engine", tooltip=message, severity="error")


def needs_person(session: Session) -> bool:
    """Tell whether a session stands still until somebody looks at it."""
    if session.state is State.FAILED:
        return True
    agent = session.agent
    return session.state is State.RUNNING and agent is not None and agent.state in _NEEDING_PERSON


def new_attention(before: Sequence[Session], now: Sequence[Session]) -> tuple[Attention, ...]:
    """Tell what has happened that a person may want to hear of: each event once."""
    known = {session.id: _reason(session) for session in before}
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
        if (reason := _reason(session)) is not None and known.get(session.id) != reason
    )


def _reason(session: Session) -> Reason | None:
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
    summary = one_line(session.prompt.partition("\n")[0], 72) or f"Work of {session.name}"
    review = Remedy(title="Review changes", command="para.diff", params=named)
    finish = Remedy(title="Finish it", command="para.finish", params=named | {"message": summary})
    logs = Remedy(title="Show logs", command="para.logs", params=named)
    if session.state is State.FAILED:
        return session.problem.remedies if session.problem else ()
    if reason == "waiting":
        return (Remedy(title="Open its terminal", command="para.open", params=named),)
    return (review, finish) if reason == "done" else (logs, review)


def _tooltip_line(session: Session) -> str:
    agent = session.agent
    doing = f", {agent.state} {one_line(agent.detail, 60)}".rstrip() if agent else ""
    return f"{session.name}: {session.state}{doing}"
