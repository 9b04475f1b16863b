"""Many processes use the same sessions: consistent state, exact limit, no lost work."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from para_server.core.names import LABEL_HOME
from tests import scratch
from tests.client import Failed, Para
from tests.scratch import Repository

LIMIT = 3
NAMES = ("ant", "bee", "cat")
# what may be answered to a command that came at the wrong time; all else is a defect
FIT = {
    "session.not-found",
    "session.name-taken",
    "session.limit-reached",
    "session.illegal-transition",
    "session.busy",
    "workspace.branch-exists",
    "workspace.nothing-to-finish",
}
STATES = {"preparing", "running", "paused", "finished", "cancelled", "failed"}
WEIGHTS = {
    "para.dispatch": 8,
    "para.pause": 3,
    "para.resume": 4,
    "para.finish": 2,
    "para.cancel": 2,
    "para.recover": 2,
    "para.show": 1,
    "para.list": 1,
}


@dataclass
class Tally:
    """Results of all processes."""

    outcomes: Counter[str] = field(default_factory=Counter)
    most: int = 0
    markers: dict[str, tuple[Repository, str]] = field(default_factory=dict)


async def test_three_processes_agree(
    servers: Callable[..., Awaitable[Para]],
    api: Any,
    tmp_path: Path,
    home: Path,
    request: pytest.FixtureRequest,
    figures: Callable[[str], None],
) -> None:
    await swarm(servers, api, tmp_path, home, figures, 3, 12, request.config.getoption("--seed"))


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_eight_processes_of_200_commands_agree(
    servers: Callable[..., Awaitable[Para]],
    api: Any,
    tmp_path: Path,
    home: Path,
    request: pytest.FixtureRequest,
    figures: Callable[[str], None],
) -> None:
    await swarm(servers, api, tmp_path, home, figures, 8, 200, request.config.getoption("--seed"))


async def swarm(
    servers: Callable[..., Awaitable[Para]],
    api: Any,
    tmp_path: Path,
    home: Path,
    figures: Callable[[str], None],
    processes: int,
    commands: int,
    seed: int,
) -> None:
    repos = [scratch.make(tmp_path / f"repo{n}") for n in range(3)]
    others = count(api)  # somebody else may be at work on this engine
    extra = {"PARA_CONTAINER_MAX_RUNNING": str(LIMIT + others)}
    tally = Tally()
    clients = [await servers(folders=[], extra=extra) for _ in range(processes)]
    watching = asyncio.create_task(watch_limit(api, home, tally))
    try:
        await asyncio.gather(
            *(
                drive(para, repos, commands, random.Random(seed * 1000 + n), tally)  # noqa: S311 # seeded on purpose
                for n, para in enumerate(clients)
            )
        )
    finally:
        watching.cancel()
    assert tally.most <= LIMIT + others
    missing = await lost(clients[0], repos, tally)
    figures(
        f"swarm: {processes} processes, {commands} commands each: {dict(tally.outcomes)}; "
        f"at most {tally.most} containers at once, {len(tally.markers)} sessions with work, "
        f"{len(missing)} lost"
    )
    assert missing == []


async def drive(
    para: Para, repos: list[Repository], commands: int, chance: random.Random, tally: Tally
) -> None:
    for turn in range(commands):
        repo = chance.choice(repos)
        command = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        params = params_of(command, repo, chance)
        try:
            answer = await para.call(command, **params)
        except Failed as failed:
            if failed.slug not in FIT:
                raise
            tally.outcomes[failed.slug] += 1
            continue
        tally.outcomes[command] += 1
        for session in answer.get("sessions", [answer.get("session", answer)]):
            assert session["state"] in STATES
        if command == "para.dispatch":
            marker = f"{answer['id']} {turn}"
            if await work_is_in(para, answer, marker):
                tally.markers[answer["id"]] = (repo, marker)


def params_of(command: str, repo: Repository, chance: random.Random) -> dict[str, object]:
    params: dict[str, object] = {"repo": str(repo.path)}
    if command == "para.list":
        return params
    params["name"] = chance.choice(NAMES)
    if command == "para.dispatch":
        number = chance.randrange(10**9)
        # a branch of its own, so that a name can be used again after its session has finished
        params |= {"prompt": "true", "branch": f"work/{number}"}
    if command == "para.finish":
        params["message"] = "from the swarm"
    if command == "para.pause":
        params["mode"] = chance.choice(["save", "freeze"])
    return params


async def work_is_in(para: Para, session: dict[str, Any], marker: str) -> bool:
    """Do some work; return whether it was done before the session ended."""
    try:
        (Path(session["workspace"]) / "marker.txt").write_text(marker)
        seen = await para.call("para.diff", name=session["name"], repo=session["repo"])
    except (FileNotFoundError, Failed):
        return False
    return marker in seen["patch"]


async def lost(para: Para, repos: list[Repository], tally: Tally) -> list[object]:
    """Return sessions whose work is on no branch, in no archive and in no workspace."""
    sessions: list[dict[str, Any]] = []
    for repo in repos:
        listed = await para.call("para.list", repo=str(repo.path), all=True)
        sessions += listed["sessions"]
    by_id = {session["id"]: session for session in sessions}
    missing: list[object] = []
    for session_id, (repo, marker) in tally.markers.items():
        session = by_id[session_id]
        if not holds(session, repo, marker):
            missing.append((session, marker))
    return missing


def holds(session: dict[str, Any], repo: Repository, marker: str) -> bool:
    if session["workspace"] is not None:
        file = Path(session["workspace"]) / "marker.txt"
        return file.is_file() and file.read_text() == marker
    finished = session["state"] == "finished"
    ref = session["branch"] if finished else f"refs/para/archive/{session['id']}"
    return repo.git("show", f"{ref}:marker.txt", check=False) == marker


def count(api: Any, home: Path | None = None) -> int:
    """Count the session containers on the engine, or those of one installation."""
    wanted = {"name": ["para-session-"]} | ({"label": [f"{LABEL_HOME}={home}"]} if home else {})
    return len(api.containers(all=True, filters=wanted))


async def watch_limit(api: Any, home: Path, tally: Tally) -> None:
    while True:
        tally.most = max(tally.most, await asyncio.to_thread(count, api, home))
        await asyncio.sleep(0.02)
