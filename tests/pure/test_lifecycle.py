"""The commands that apply in each state."""

from __future__ import annotations

import pytest

from para_server.core import lifecycle
from para_server.core.errors import ParaError
from para_server.core.models import State

# the states in which each command applies
APPLIES = {
    "pause": "running",
    "resume": "paused failed finished",
    "finish": "running paused failed",
    "cancel": "running paused failed",
    "recover": "cancelled",
    "open": "running",
    "send": "running",
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("verb", APPLIES)
def test_a_command_applies_in_its_states_only(verb: str, state: State) -> None:
    fits = state in APPLIES[verb].split()
    assert lifecycle.is_allowed(verb, state) is fits
    if fits:
        lifecycle.require_allowed(verb, "fix", "/repo", state)
        return
    with pytest.raises(ParaError) as caught:
        lifecycle.require_allowed(verb, "fix", "/repo", state)
    problem = caught.value.problem
    assert problem.slug == "session.illegal-transition"
    assert problem.message == f"Cannot {verb} session fix: it is {state.value}"
    assert problem.remedies[-1].command == "para.list"


@pytest.mark.parametrize(
    ("verb", "state", "instead"),
    [
        ("pause", State.PAUSED, "para.resume"),
        ("finish", State.FINISHED, "para.resume"),
        ("cancel", State.CANCELLED, "para.recover"),
        ("resume", State.CANCELLED, "para.recover"),
        ("recover", State.FINISHED, "para.resume"),
        ("resume", State.RUNNING, None),
        ("recover", State.PREPARING, None),
    ],
)
def test_a_refusal_offers_the_command_that_applies(
    verb: str, state: State, instead: str | None
) -> None:
    with pytest.raises(ParaError) as caught:
        lifecycle.require_allowed(verb, "fix", "/repo", state)
    offered = [r for r in caught.value.problem.remedies if r.command != "para.list"]
    assert [r.command for r in offered] == ([instead] if instead else [])
    assert all(r.params == {"name": "fix", "repo": "/repo"} for r in offered)


def test_finished_and_cancelled_sessions_have_ended() -> None:
    assert {State.FINISHED, State.CANCELLED} == lifecycle.ENDED_STATES
