"""The only place that says how often a session may call a person. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from para_server.core.model import Model
from para_server.core.results import Attention

_AT_ONCE: Final = 3.0  # calls of a session that are passed on as they come
_REGAINED: Final = 60.0  # seconds of quiet after which one more is
_FIRST: Final = 10.0  # seconds until those that were held back are summed up; then twice as many
_LONGEST: Final = 600.0


class _Line(Model):
    """One session: how many calls are left, as of `at`, and what is held back until `due`."""

    left: float = _AT_ONCE
    at: float = 0.0
    pause: float = _FIRST
    held: Attention | None = None
    count: int = 0
    due: float = 0.0


class Calls(Model):
    """What the sessions have called for lately, by their ids."""

    lines: Mapping[str, _Line] = {}


def admit(
    calls: Calls, events: Sequence[Attention], sessions: Collection[str], now: float
) -> tuple[Calls, tuple[Attention, ...]]:
    """Return the calls to pass on now; the latest of those held back stands for all of them."""
    lines = {key: line for key, line in calls.lines.items() if key in sessions}
    passed: list[Attention] = []
    for event in events:
        line = _rested(lines.get(event.id, _Line(at=now)), now)
        if line.held is None and line.left >= 1:
            passed.append(event)
            lines[event.id] = line.model_copy(update={"left": line.left - 1})
        else:
            # only quiet regains calls, not the time in which some are held back
            since = {} if line.held is None else {"left": 0.0, "due": line.due}
            held = {"held": event, "count": line.count + 1, "due": now + line.pause, **since}
            lines[event.id] = line.model_copy(update=held)
    for key, line in lines.items():
        if line.held is not None and line.due <= now:
            passed.append(_summed(line.held, line.count - 1))
            pause = min(2 * line.pause, _LONGEST) if line.count > 1 else line.pause
            over = {"held": None, "count": 0, "pause": pause, "left": 0.0, "at": now}
            lines[key] = line.model_copy(update=over)
    return Calls(lines=lines), tuple(passed)


def due(calls: Calls) -> float | None:
    """Return when the next summary is due; None where nothing is held back."""
    return min((line.due for line in calls.lines.values() if line.held is not None), default=None)


def _rested(line: _Line, now: float) -> _Line:
    left = min(_AT_ONCE, line.left + max(0.0, now - line.at) / _REGAINED)
    pause = _FIRST if left >= _AT_ONCE else line.pause
    return line.model_copy(update={"left": left, "at": now, "pause": pause})


def _summed(event: Attention, more: int) -> Attention:
    if more < 1:
        return event
    return event.model_copy(update={"message": f"{event.message} … and {more} more"})
