"""Measure the resource use and the changes of a session: `para.stats`."""

from __future__ import annotations

import re
from typing import Final

from para_server.context import Context
from para_server.core import lifecycle
from para_server.core.models import State
from para_server.core.names import container_name
from para_server.core.params import StatsParams
from para_server.core.records import Record
from para_server.core.results import Changes, StatsResult
from para_server.core.tooltip import session_tooltip
from para_server.engine import container_stats
from para_server.git import commit_diff, discovery, repository
from para_server.registry import command
from para_server.sessions import lookup, present

_TIMEOUT: Final = 10.0  # seconds for the container to count its changes
_MAX_OUTPUT: Final = 1000  # bytes
# untracked files count too, so they are added to a temporary index
_COUNT_SCRIPT: Final = """\
index=$(mktemp) && cp .git/index "$index" && export GIT_INDEX_FILE="$index" LC_ALL=C
git add -N . && git -c core.bigFileThreshold=8m diff --shortstat --no-renames --no-ext-diff \
    --no-textconv --ignore-submodules=none "$1" && echo counted
rm -f "$index"
"""
_FIGURE: Final = re.compile(r"(\d{1,9}) (file|insertion|deletion)")


@command("para.stats", "Show Stats")
async def stats(context: Context, params: StatsParams) -> StatsResult:
    """Show a session's resource use and changes since its base."""
    record = await lookup.find_session(context, params.name, params.repo, active_only=False)
    session = await present.load_session(context, record)
    if record.state in lifecycle.ENDED_STATES:
        figures = StatsResult(changes=await _branch_changes(record))
    elif session.state is State.RUNNING and session.container is not None:
        figures = await _measure_container(context, record, measured=params.load)
    else:
        figures = StatsResult()
    return figures.model_copy(update={"tooltip": session_tooltip(session, figures)})


async def _measure_container(context: Context, record: Record, *, measured: bool) -> StatsResult:
    name = container_name(record.id)
    # timeout ends the command in the container too, so that commands do not pile up
    command = ("timeout", f"{_TIMEOUT:g}", "sh", "-c", _COUNT_SCRIPT, "sh", record.base)
    output = await container_stats.run_within_limits(
        context.engine, name, command, seconds=_TIMEOUT, max_bytes=_MAX_OUTPUT
    )
    changes = _parse_changes(output)
    if not measured:
        return StatsResult(changes=changes)
    used = await container_stats.measure_stats(context.engine, name)
    return StatsResult(
        cpu=used.cpu, memory=used.memory, memory_limit=used.memory_limit, changes=changes
    )


def _parse_changes(output: str) -> Changes | None:
    """Parse the output of git in the container; None if it is incomplete or malformed."""
    counted, whole, _ = output.partition("counted")
    figures = {word: int(number) for number, word in _FIGURE.findall(counted)}
    if not whole or (counted.strip() and "file" not in figures):
        return None  # incomplete or malformed
    return Changes(
        files=figures.get("file", 0),
        insertions=figures.get("insertion", 0),
        deletions=figures.get("deletion", 0),
    )


async def _branch_changes(record: Record) -> Changes | None:
    repo = await discovery.find_session_repository(record) if record.finished is not None else None
    if repo is None or record.finished is None:
        return None
    if await repository.resolve_ref(repo, f"{record.finished}^{{commit}}") is None:
        return None
    found = await commit_diff.compare_commits(repo, record.base, record.finished)
    return Changes(files=found.count, insertions=found.insertions, deletions=found.deletions)
