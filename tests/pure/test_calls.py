"""How often a session may call a person."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from para_server.core import call_limits
from para_server.core.call_limits import CallHistory
from para_server.core.results import Attention


def event(number: int, name: str = "fix") -> Attention:
    return Attention(
        id=name, name=name, repo="/repo", reason="waiting", message=f"call {number}", remedies=()
    )


def admitted(known: CallHistory, *events: Attention, at: float) -> tuple[CallHistory, list[str]]:
    known, passed = call_limits.admit(known, events, {"fix", "other"}, at)
    return known, [one.message for one in passed]


def test_a_few_calls_are_passed_on_as_they_come() -> None:
    known, heard = CallHistory(), []
    for number in range(3):
        known, passed = admitted(known, event(number), at=number)
        heard += passed
    assert heard == ["call 0", "call 1", "call 2"]
    assert call_limits.next_due(known) is None


def test_a_flood_becomes_a_summary_and_leaves_others_alone() -> None:
    known, heard = CallHistory(), []
    for number in range(1000):
        known, passed = admitted(known, event(number), at=number / 1000)
        heard += passed
    assert heard == ["call 0", "call 1", "call 2"]
    known, passed = admitted(known, event(1, "other"), at=1)
    assert passed == ["call 1"]
    end = call_limits.next_due(known)
    assert end is not None
    known, passed = admitted(known, at=end)
    assert passed == ["call 999 … and 996 more"]
    assert call_limits.next_due(known) is None


def test_one_call_that_was_held_back_is_passed_on_as_it_is() -> None:
    known = CallHistory()
    for number in range(4):
        known, _ = admitted(known, event(number), at=0)
    end = call_limits.next_due(known)
    assert end is not None
    assert admitted(known, at=end)[1] == ["call 3"]


def test_what_goes_on_is_summed_up_more_and_more_seldom_and_quiet_forgives() -> None:
    known, heard = CallHistory(), 0
    for second in range(3600):
        known, passed = admitted(known, event(second), at=second)
        heard += len(passed)
    assert heard < 15
    known, passed = admitted(known, at=10_000)
    known, passed = admitted(known, event(1), at=11_000)
    assert passed == ["call 1"]


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["fix", "other"])), max_size=80))
def test_no_call_is_lost(gaps: list[tuple[float, str]]) -> None:
    known, now, counted = CallHistory(), 0.0, 0
    for gap, name in gaps:
        now += gap
        known, passed = call_limits.admit(known, [event(1, name)], {"fix", "other"}, now)
        counted += sum(map(stands_for, passed))
    while (end := call_limits.next_due(known)) is not None:
        known, passed = call_limits.admit(known, (), {"fix", "other"}, end)
        counted += sum(map(stands_for, passed))
    assert counted == len(gaps)


def test_a_session_that_is_gone_calls_no_more() -> None:
    known = CallHistory()
    for number in range(5):
        known, _ = admitted(known, event(number), at=0)
    known, passed = call_limits.admit(known, (), set(), 1000)
    assert (passed, call_limits.next_due(known)) == ((), None)


def stands_for(passed: Attention) -> int:
    _, _, more = passed.message.partition(" … and ")
    return 1 + int(more.removesuffix(" more") or 0)
