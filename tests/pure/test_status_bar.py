"""The status bar and the notifications of sessions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from para_server.core import status_bar
from para_server.core.models import Agent, AgentState, Session, State

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def session(state: State, agent: AgentState | None, detail: str = "", name: str = "fix") -> Session:
    return Session(
        id=f"{name}-3f9a1c",
        name=name,
        type="container",
        state=state,
        repo="/repo",
        base="0" * 40,
        branch=f"para/{name}",
        workspace=None,
        container=None,
        engine=None,
        agent=Agent(name="command", state=agent, detail=detail) if agent else None,
        title=name,
        prompt="",
        created_at=NOW,
        updated_at=NOW,
        problem=None,
    )


@pytest.mark.parametrize(
    ("state", "agent", "calls"),
    [
        (State.RUNNING, None, False),
        (State.RUNNING, AgentState.WORKING, False),
        (State.RUNNING, AgentState.DONE, False),
        (State.RUNNING, AgentState.WAITING, True),
        (State.RUNNING, AgentState.FAILED, True),
        (State.PAUSED, AgentState.FAILED, False),
        (State.PAUSED, AgentState.WAITING, False),
        (State.PREPARING, AgentState.STARTING, False),
        (State.FAILED, None, True),
        (State.FAILED, AgentState.EXITED, True),
    ],
)
def test_a_blocked_session_needs_a_person(
    state: State, agent: AgentState | None, calls: bool
) -> None:
    bar = status_bar.create_status_bar([session(state, agent)], 1, 5)
    assert bar.severity == ("attention" if calls else "ok")
    assert bar.text == ("Para 1/5 · 1 needs you" if calls else "Para 1/5")


def test_the_tooltip_has_a_line_for_each_session() -> None:
    two = [
        session(State.RUNNING, AgentState.WORKING, "reading"),
        session(State.PAUSED, None, name="next"),
    ]
    assert (
        status_bar.create_status_bar(two, 1, 5).tooltip
        == "fix: running, working reading\nnext: paused"
    )
    assert status_bar.create_status_bar([], 0, 5).tooltip == "No sessions"


def test_an_unreachable_engine_is_an_error() -> None:
    bar = status_bar.engine_unreachable("No container engine answers")
    assert (bar.severity, bar.tooltip) == ("error", "No container engine answers")


@given(
    st.lists(
        st.builds(
            session,
            st.sampled_from(State),
            st.one_of(st.none(), st.sampled_from(AgentState)),
            st.text(max_size=300),
        ),
        max_size=6,
    )
)
def test_a_report_of_an_agent_adds_no_line(sessions: list[Session]) -> None:
    bar = status_bar.create_status_bar(sessions, len(sessions), 5)
    assert len(bar.tooltip.split("\n")) == max(1, len(sessions))
    assert "\x1b" not in bar.tooltip + bar.text
    assert bar.severity in {"ok", "attention"}


WAITING, DONE, WORKING = (
    session(State.RUNNING, state)
    for state in (AgentState.WAITING, AgentState.DONE, AgentState.WORKING)
)
BROKEN = session(State.FAILED, None)


@pytest.mark.parametrize(
    ("before", "now", "reasons"),
    [
        ([], [], []),
        ([WORKING], [WAITING], ["waiting"]),
        ([WAITING], [WAITING], []),
        ([WAITING], [WORKING], []),
        ([WAITING], [DONE], ["done"]),
        ([], [DONE], ["done"]),
        ([WORKING], [BROKEN], ["failed"]),
        ([WORKING], [], []),
        ([WORKING], [session(State.PAUSED, AgentState.DONE)], []),
    ],
)
def test_an_event_notifies_once(
    before: list[Session], now: list[Session], reasons: list[str]
) -> None:
    assert [event.reason for event in status_bar.new_attention(before, now)] == reasons


def test_a_notification_has_the_report_and_remedies() -> None:
    asks = session(State.RUNNING, AgentState.WAITING, "May I?\n\x1b[2Jgo")
    (event,) = status_bar.new_attention([WORKING], [asks])
    assert event.message == "fix waits for you: May I? \\x1b[2Jgo"
    assert [remedy.command for remedy in event.remedies] == ["para.open"]
    (event,) = status_bar.new_attention([WORKING], [DONE])
    assert [remedy.command for remedy in event.remedies] == ["para.diff", "para.finish"]
    named = {"name": "fix", "repo": "/repo"}
    assert event.remedies[1].params == named | {"message": "Work of fix"}
