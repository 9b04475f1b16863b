"""What para may leave nowhere, and what it may never lose."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import engine
from tests.client import Para, eventually
from tests.scratch import Repository

OVER = {"finished", "cancelled"}
COMMITTED, LOOSE = "committed.txt", "loose.txt"  # what a session that is at work has
NOTE = "/home/para/note"  # in the container alone, as an agent's conversation is


def records(home: Path) -> dict[str, dict[str, Any]]:
    """Read the records as they are on the disk; one that goes meanwhile was not there."""
    found: dict[str, dict[str, Any]] = {}
    for file in (home / "sessions").glob("*.json"):
        with suppress(FileNotFoundError):
            found[file.stem] = json.loads(file.read_text())
    return found


def live(home: Path) -> list[str]:
    return [key for key, one in records(home).items() if one["state"] not in OVER]


async def settled(home: Path) -> None:
    """Wait until no command is under way, nor left in its midst, nor cleared up after."""

    async def busy() -> list[str]:
        doing = [key for key, one in records(home).items() if one["doing"] is not None]
        return doing + [folder.name for folder in (home / "scratch").glob("*")]

    await eventually(busy, lambda found: found == [])


def leftovers(api: Any, home: Path, repo: Repository) -> list[str]:
    """List all that no session needs: containers, images, folders, refs, branches, records."""
    known = records(home)
    needed = set(live(home))
    found = [f"record {key}" for key, one in known.items() if one["state"] == "preparing"]
    found += [f"record {key} is in {one['doing']}" for key, one in known.items() if one["doing"]]
    made = engine.containers(api, home)
    for one in made:
        if one["Labels"].get("dev.para.session") not in needed:
            found.append(f"container {one['Names']} {one['Status']}")
    in_use = {one["ImageID"] for one in made}
    saved = {f"para-saved:{key}" for key in needed if known[key]["state"] == "paused"}
    for image in engine.saved_images(api, home):
        if image["Id"] not in in_use and not saved & set(image["RepoTags"] or ()):
            found.append(f"image {image['RepoTags']} {image['Id']}")
    found += [
        f"volume {one}"
        for one in engine.volumes(api, home)
        if one.removeprefix("para-work-").partition(".")[0] not in needed
    ]
    found += [
        f"network {name}"
        for session, name in engine.networks(api, home).items()
        if session not in needed
    ]
    for part, keep in (("work", needed), ("agents", set(known)), ("scratch", set())):
        folder = home / part
        found += [str(f) for f in folder.glob("*") if f.name not in keep]
    found += [str(file) for file in (home / "sessions").glob("*.tmp")]
    found += [str(f) for f in (home / "copies").glob("*") if f.stem not in known]
    found += [str(f) for f in (home / "bases").glob("*/") if not (f / "base.json").exists()]
    return found + _refs(repo, known, needed)


def _refs(repo: Repository, known: dict[str, dict[str, Any]], needed: set[str]) -> list[str]:
    may = {"refs/heads/main"} | {f"refs/para/base/{key}" for key in needed}
    may |= {f"refs/para/review/{key}" for key in needed}
    for key, one in known.items():
        if one["finished"]:
            may.add(f"refs/heads/{one['branch']}")
        if one["archive"]:
            may.add(f"refs/para/archive/{key}")
        if one["type"] == "worktree" and key in needed:
            may.add(f"refs/heads/{one['branch']}")
    found = [ref for ref in repo.refs() if ref not in may]
    worktrees = repo.path / ".git" / "worktrees"
    return found + [str(one) for one in worktrees.glob("*") if one.name not in needed]


def lost(home: Path, repo: Repository, session: dict[str, Any]) -> list[str]:
    """List what of a session's work is neither in the repository nor in a live workspace."""
    workspace = home / "work" / str(session["id"])
    if session["id"] not in live(home):
        workspace = home / "nowhere"
    return [
        name
        for name in (COMMITTED, LOOSE)
        if not repo.holds(name, _text(session["name"], name))
        and not _has(workspace / name, _text(session["name"], name))
        and not _has(workspace / "upper" / name, _text(session["name"], name))
    ]


def _text(session: str, name: str) -> str:
    return f"{name} of {session}\n"


def _has(file: Path, text: str) -> bool:
    return file.is_file() and file.read_text() == text


async def at_work(para: Para, api: Any, name: str, **params: object) -> dict[str, Any]:
    """Start a session that has something to lose, in its workspace and in its container."""
    session: dict[str, Any] = await para.call("para.start", name=name, **params)
    script = [
        f"printf '{_text(name, COMMITTED)}' >{COMMITTED}",
        "git add -A",
        "git commit -qm work",
        f"printf '{_text(name, LOOSE)}' >{LOOSE}",
        f"echo {name} >{NOTE}",
    ]
    engine.run(api, session["container"]["name"], " && ".join(script))
    return session


async def ended(para: Para, session: dict[str, Any]) -> None:
    """Cancel a session that is not over."""
    if (await para.call("para.show", name=session["name"]))["state"] not in OVER:
        await para.call("para.cancel", name=session["name"])


@dataclass(frozen=True)
class Case:
    """A command on a session that is at work: what is done first, and what it may lead to."""

    command: str
    first: tuple[tuple[str, dict[str, object]], ...] = ()
    params: dict[str, object] = field(default_factory=dict)
    keeps_container: bool = False

    @property
    def leads_to(self) -> str:
        """Name the state that the command leads to."""
        return _LEADS_TO[self.command]

    async def prepare(self, para: Para, api: Any, name: str) -> dict[str, Any]:
        """Bring a session to where the command applies."""
        session = await at_work(para, api, name)
        for command, params in self.first:
            shown = await para.call(command, name=name, **params)
            if command == "para.resume":  # what the last save does not have
                engine.run(api, shown["container"]["name"], f"echo {name} >>{NOTE}")
        return session

    def serves_again(self, before: str, after: str) -> bool:
        """Tell whether a session is as it was prepared, since the command was undone."""
        return after == before and (before != "paused" or not self.keeps_container)

    async def note_kept(self, para: Para, api: Any, name: str) -> bool:
        """Tell whether the container still is what it had become; resumes it for that."""
        session = await para.call("para.show", name=name)
        if session["state"] != "running":
            session = await para.call("para.resume", name=name)
        noted = engine.run(api, session["container"]["name"], f"cat {NOTE}").split()
        return len(noted) == 1 + [command for command, _ in self.first].count("para.resume")


_LEADS_TO = {
    "para.finish": "finished",
    "para.cancel": "cancelled",
    "para.pause": "paused",
    "para.resume": "running",
    "para.recover": "running",
}
MESSAGE: dict[str, object] = {"message": "all of it"}
FREEZE: dict[str, object] = {"mode": "freeze"}
SAVED: tuple[str, dict[str, object]] = ("para.pause", {})
CASES = {
    "finish": Case("para.finish", params=MESSAGE),
    "finish-saved": Case("para.finish", (SAVED,), MESSAGE),
    "cancel": Case("para.cancel"),
    "pause": Case("para.pause", keeps_container=True),
    "pause-again": Case("para.pause", (SAVED, ("para.resume", {})), keeps_container=True),
    "freeze": Case("para.pause", params=FREEZE, keeps_container=True),
    "resume-saved": Case("para.resume", (SAVED,), keeps_container=True),
    "resume-frozen": Case("para.resume", (("para.pause", FREEZE),), keeps_container=True),
    "resume-frozen-once-saved": Case(
        "para.resume", (SAVED, ("para.resume", {}), ("para.pause", FREEZE)), keeps_container=True
    ),
    "resume-finished": Case("para.resume", (("para.finish", MESSAGE),)),
    "recover": Case("para.recover", (("para.cancel", {}),)),
}
