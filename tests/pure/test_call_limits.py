"""Limits of notifications for each session."""

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
    known, now_sent = call_limits.admit(known, events, {"fix", "other"}, at)
    return known, [one.message for one in now_sent]


def test_a_few_events_are_sent_at_once() -> None:
    known, sent = CallHistory(), []
    for number in range(3):
        known, now_sent = admitted(known, event(number), at=number)
        sent += now_sent
    assert sent == ["call 0", "call 1", "call 2"]
    assert call_limits.next_due(known) is None


def test_many_events_become_a_summary_and_do_not_delay_other_sessions() -> None:
    known, sent = CallHistory(), []
    for number in range(1000):
        known, now_sent = admitted(known, event(number), at=number / 1000)
        sent += now_sent
    assert sent == ["call 0", "call 1", "call 2"]
    known, now_sent = admitted(known, event(1, "other"), at=1)
    assert now_sent == ["call 1"]
    end = call_limits.next_due(known)
    assert end is not None
    known, now_sent = admitted(known, at=end)
    assert now_sent == ["call 999 … and 996 more"]
    assert call_limits.next_due(known) is None


def test_a_single_delayed_event_is_sent_unchanged() -> None:
    known = CallHistory()
    for number in range(4):
        known, _ = admitted(known, event(number), at=0)
    end = call_limits.next_due(known)
    assert end is not None
    assert admitted(known, at=end)[1] == ["call 3"]


def test_summaries_become_rarer_until_a_quiet_time() -> None:
    known, sent = CallHistory(), 0
    for second in range(3600):
        known, now_sent = admitted(known, event(second), at=second)
        sent += len(now_sent)
    assert sent < 15
    known, now_sent = admitted(known, at=10_000)
    known, now_sent = admitted(known, event(1), at=11_000)
    assert now_sent == ["call 1"]


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["fix", "other"])), max_size=80))
def test_no_event_is_lost(gaps: list[tuple[float, str]]) -> None:
    known, now, counted = CallHistory(), 0.0, 0
    for gap, name in gaps:
        now += gap
        known, now_sent = call_limits.admit(known, [event(1, name)], {"fix", "other"}, now)
        counted += sum(map(count_events, now_sent))
    while (end := call_limits.next_due(known)) is not None:
        known, now_sent = call_limits.admit(known, (), {"fix", "other"}, end)
        counted += sum(map(count_events, now_sent))
    assert counted == len(gaps)


def test_a_removed_session_sends_no_events() -> None:
    known = CallHistory()
    for number in range(5):
        known, _ = admitted(known, event(number), at=0)
    known, now_sent = call_limits.admit(known, (), set(), 1000)
    assert (now_sent, call_limits.next_due(known)) == ((), None)


def count_events(event: Attention) -> int:
    _, _, more = event.message.partition(" … and ")
    return 1 + int(more.removesuffix(" more") or 0)
