"""Limit how often a session notifies a person. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from para_server.core.model import Model
from para_server.core.results import Attention

_MAX_BURST: Final = 3.0  # notifications of a session that are sent at once
_REFILL_SECONDS: Final = 60.0  # seconds without events after which one more is permitted
_FIRST_DELAY: Final = 10.0  # seconds until the first summary of delayed events; then doubled
_MAX_DELAY: Final = 600.0  # seconds


class _SessionCalls(Model):
    """One session: the permitted notifications as of `at`, and the event delayed until `due`."""

    left: float = _MAX_BURST
    at: float = 0.0
    pause: float = _FIRST_DELAY
    held: Attention | None = None
    count: int = 0
    due: float = 0.0


class CallHistory(Model):
    """The latest notifications of sessions, by session id."""

    lines: Mapping[str, _SessionCalls] = {}


def admit(
    calls: CallHistory, events: Sequence[Attention], sessions: Collection[str], now: float
) -> tuple[CallHistory, tuple[Attention, ...]]:
    """Return the new history and the events to send now; the latest delayed one summarizes all."""
    lines = {key: line for key, line in calls.lines.items() if key in sessions}
    passed: list[Attention] = []
    for event in events:
        line = _refilled(lines.get(event.id, _SessionCalls(at=now)), now)
        if line.held is None and line.left >= 1:
            passed.append(event)
            lines[event.id] = line.model_copy(update={"left": line.left - 1})
        else:
            # time with a delayed event does not count as quiet
            since = {} if line.held is None else {"left": 0.0, "due": line.due}
            held = {"held": event, "count": line.count + 1, "due": now + line.pause, **since}
            lines[event.id] = line.model_copy(update=held)
    for key, line in lines.items():
        if line.held is not None and line.due <= now:
            passed.append(_summary(line.held, line.count - 1))
            pause = min(2 * line.pause, _MAX_DELAY) if line.count > 1 else line.pause
            over = {"held": None, "count": 0, "pause": pause, "left": 0.0, "at": now}
            lines[key] = line.model_copy(update=over)
    return CallHistory(lines=lines), tuple(passed)


def next_due(calls: CallHistory) -> float | None:
    """Return when the next summary is due; None if no event is delayed."""
    return min((line.due for line in calls.lines.values() if line.held is not None), default=None)


def _refilled(line: _SessionCalls, now: float) -> _SessionCalls:
    left = min(_MAX_BURST, line.left + max(0.0, now - line.at) / _REFILL_SECONDS)
    pause = _FIRST_DELAY if left >= _MAX_BURST else line.pause
    return line.model_copy(update={"left": left, "at": now, "pause": pause})


def _summary(event: Attention, more: int) -> Attention:
    if more < 1:
        return event
    return event.model_copy(update={"message": f"{event.message} … and {more} more"})
