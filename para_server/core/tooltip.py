"""Format the tooltip of a session in an editor. Pure."""

from __future__ import annotations

from typing import Final

from para_server.core.models import Session
from para_server.core.results import StatsResult
from para_server.core.untrusted import one_line

_MAX_LINE: Final = 500  # characters of a line


def session_tooltip(session: Session, figures: StatsResult) -> str:
    """Return the tooltip: one line for each known value, the state first."""
    values = {
        "State": _format_state(session),
        "Problem": session.problem.message if session.problem else "",
        "Prompt": session.prompt,
        "Repository": session.repo,
        "Image": session.container.image if session.container else "",
        "CPU": "" if figures.cpu is None else f"{figures.cpu:g} %",
        "Memory": _format_memory(figures),
        "Changed": _changed_files(figures),
    }
    lines = {title: one_line(text, _MAX_LINE) for title, text in values.items()}
    return "\n".join(f"{title}: {text}" for title, text in lines.items() if text)


def _format_state(session: Session) -> str:
    agent = session.agent
    activity = f"; {agent.name} is {agent.state} {agent.detail}" if agent else ""
    return f"{session.state}{activity}"


def _format_memory(figures: StatsResult) -> str:
    if figures.memory is None:
        return ""
    limit = f" of {figures.memory_limit >> 20} MiB" if figures.memory_limit else ""
    return f"{figures.memory >> 20} MiB{limit}"


def _changed_files(figures: StatsResult) -> str:
    changes = figures.changes
    if changes is None:
        return ""
    files = f"{changes.files} file{'' if changes.files == 1 else 's'}"
    return f"{files}, +{changes.insertions} \N{MINUS SIGN}{changes.deletions}"
