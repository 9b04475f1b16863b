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

    permitted: float = _MAX_BURST
    at: float = 0.0
    pause: float = _FIRST_DELAY
    delayed: Attention | None = None
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
    admitted: list[Attention] = []
    for event in events:
        line = _refilled(lines.get(event.id, _SessionCalls(at=now)), now)
        if line.delayed is None and line.permitted >= 1:
            admitted.append(event)
            lines[event.id] = line.model_copy(update={"permitted": line.permitted - 1})
        else:
            # time with a delayed event does not count as quiet
            since = {} if line.delayed is None else {"permitted": 0.0, "due": line.due}
            delayed = {"delayed": event, "count": line.count + 1, "due": now + line.pause, **since}
            lines[event.id] = line.model_copy(update=delayed)
    for key, line in lines.items():
        if line.delayed is not None and line.due <= now:
            admitted.append(_summary(line.delayed, line.count - 1))
            pause = min(2 * line.pause, _MAX_DELAY) if line.count > 1 else line.pause
            sent = {"delayed": None, "count": 0, "pause": pause, "permitted": 0.0, "at": now}
            lines[key] = line.model_copy(update=sent)
    return CallHistory(lines=lines), tuple(admitted)


def next_due(calls: CallHistory) -> float | None:
    """Return when the next summary is due; None if no event is delayed."""
    due = (line.due for line in calls.lines.values() if line.delayed is not None)
    return min(due, default=None)


def _refilled(line: _SessionCalls, now: float) -> _SessionCalls:
    permitted = min(_MAX_BURST, line.permitted + max(0.0, now - line.at) / _REFILL_SECONDS)
    pause = _FIRST_DELAY if permitted >= _MAX_BURST else line.pause
    return line.model_copy(update={"permitted": permitted, "at": now, "pause": pause})


def _summary(event: Attention, more: int) -> Attention:
    if more < 1:
        return event
    return event.model_copy(update={"message": f"{event.message} … and {more} more"})
