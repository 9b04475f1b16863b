"""Whatever a session, a repository or a spoilt PARA_HOME holds: one answer each, in bounds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from tests import engine, scratch
from tests.hostile import fuzzed_containers, mutations
from tests.hostile.fuzzed_world import World
from tests.scratch import Repository
from tests.wire import Process

Figures = Callable[[str], None]
SOAK_SECONDS = 1800
SHORT = 60  # rounds of a short run
MEMORY_MB = 300
STATES = b"working\n1700000000.5\n", b'waiting\n1700000000\n{"message": "May I?"}'
EVENT = (
    b'\x1e{"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "x"}}\n'
)
SETTINGS = (
    b'[container]\nimage = "x"\nenv = { A = "b" }\n[agent]\nname = "command"\nargs = ["-x"]\n'
)
ATTRIBUTES = b"* text=auto\n*.x filter=lfs diff=own -text\n[attr]own binary\n"
MODULES = b'[submodule "lib"]\n\tpath = lib\n\turl = ../lib\n\tignore = all\n'


@pytest.fixture
def spoiling_helpers(api: Any, home: Path) -> Iterator[None]:
    """Let helper containers spoil what they hand over, where a workspace asks for it."""
    with fuzzed_containers.spoiling(api):
        yield
        engine.clear(api, home)  # what is made from that image keeps it


@pytest.fixture
def world(
    spoiling_helpers: None,  # noqa: ARG001 # first, since sessions are made from the base image
    environ: dict[str, str],
    repo: Repository,
    home: Path,
    api: Any,
    tmp_path: Path,
) -> Iterator[World]:
    """Start a server with a session of each kind."""
    repo.commit("more", **{"src/a.py": "x\n" * 50, "b.md": "b\n"})
    process = Process(environ | {"PARA_GIT_MAX_SECONDS": "20"}, tmp_path / "stderr")
    wire = process.stdio()
    wire.initialize(workspaceFolders=[{"uri": repo.path.as_uri(), "name": "repo"}])
    canary = tmp_path / "canary"
    canary.write_text("alive\n")
    made = World(wire, process.popen.pid, home, repo, api, canary)
    for name, kind in (("tree", "worktree"), ("over", "worktree"), ("box", "container")):
        made.ids[name] = made.ask("start", name=name, type=kind)["result"]["id"]
    made.ids["busy"] = made.ask("dispatch", name="busy", prompt="sleep 36000")["result"]["id"]
    (home / "work" / made.ids["over"] / "b.md").write_text("more\n")
    assert "result" in made.ask("finish", name="over", message="x")
    box = f"para-session-{made.ids['box']}"
    engine.run(
        api, box, "echo 1 >> b.md; git commit -qam one; echo 2 >> b.md; cp -a .git /tmp/good"
    )
    fuzzed_containers.put_git(made)
    yield made
    process.popen.kill()
    process.popen.wait()


def claims(world: World, chance: Random) -> None:
    """What an agent says of itself, and what it printed."""
    out = world.home / "agents" / world.ids["busy"] / "out"
    for name, good in (
        ("state", chance.choice(STATES)),
        ("output", EVENT * chance.choice((1, 50)) + b"text\r\n"),
        ("begun", b"0\nwell\n"),
        ("resting", b""),
    ):
        if chance.random() < 0.5:
            mutations.put(chance, out / name, good, chance.choice((200_000, 9 << 20)))
    for command in ("list", "show", "logs", "stats", "open"):
        world.ask(command, **({} if command == "list" else {"name": "busy"}))
    for name in ("state", "output", "begun", "resting"):
        mutations.remove(out / name)


# what a record may say that fits its shape: it is believed, and the world is another
SHAPED: dict[str, tuple[Any, ...]] = {
    "type": ("container", "worktree"),
    "state": ("preparing", "running", "paused", "finished", "cancelled", "failed"),
    "doing": ("start", "pause", "resume", "finish", "cancel", "recover", None),
    "agent": ("claude", "codex", "gemini", "opencode", "command", "none", "../x", "a\nb", None),
    "repo": ("/", "/nowhere", "", "x", "/dev/null", "/proc/self", "a\0b"),
    "common": ("/", "/nowhere", "", "/proc/self/fd", "a\0b"),
    "base": ("0" * 40, "HEAD", "-x", "main", "", "a\0b", "f" * 64, "x" * 9000),
    "branch": ("para/x", "-x", "", "a b", "x" * 9000, "../x", "a\nb", "a\0b"),
    "bases": ([], ["x"], ["../x"], ["/"], ["a\0b"], ["x"] * 500),
    "target": ("0" * 40, "HEAD", "-x", "", None),
    "target_branch": ("para/x", "-x", "", "x" * 9000, None),
    "finished": ("0" * 40, "HEAD", "-x", "", "a\0b", None),
    "archive": ("0" * 40, "HEAD", "-x", "", "a\0b", None),
    "archive_tip": ("0" * 40, "HEAD", "-x", "", None),
    "image": ("", "-x", "none:none", "x" * 9000, "a\0b", "../x"),
    "network": ("", "none", "host", "x"),
    "prompt": ("", "x" * 100_000, "\0", "\x1b[2J"),
    "conversation": ("", "../../x", "a\0b", "x" * 9000, None),
    "warnings": ([], ["\x1b[2J"] * 5000),
    "created_at": ("2026-01-01T00:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", 1e300),
    "started_at": ("2026-01-01T00:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", None),
    "problem": (None, {"slug": "x", "message": "m", "remedies": []}),
}


def records(world: World, chance: Random) -> None:
    """A record that somebody changed."""
    source = world.home / "sessions" / f"{world.ids[chance.choice(('tree', 'over'))]}.json"
    good = json.loads(source.read_text()) | {"id": "fuzzed-0a0a0a", "name": "fuzzed"}
    if chance.random() < 0.5:
        good |= {"type": "container", "state": chance.choice(("paused", "running", "cancelled"))}
    file = source.with_name("fuzzed-0a0a0a.json")
    if chance.random() < 0.7:
        keys = chance.sample(sorted(SHAPED), chance.choice((1, 2, 4)))
        good |= {key: chance.choice(SHAPED[key]) for key in keys}
    alias = {to_camel(key): value for key, value in good.items()}
    if chance.random() < 0.7:
        file.write_text(json.dumps(alias))
    elif chance.random() < 0.5:
        mutations.put(chance, file, json.dumps(good).encode())
    else:
        file.write_bytes(mutations.odd_json(chance, good))
    work = world.home / "work" / "fuzzed-0a0a0a"
    work.mkdir(exist_ok=True)
    asked = ("show", "diff", "logs", "file", "stats", "open", "resume", "finish", "cancel", "pause")
    world.ask("list", all=True)
    for command in chance.sample(asked, 4):
        more = {"file": {"path": "b.md"}, "finish": {"message": "x"}}.get(command, {})
        world.ask(command, name="fuzzed", repo=str(world.repo.path), **more)
    world.ask("doctor") if chance.random() < 0.1 else world.ask("clean", dryRun=True)
    mutations.remove(file)
    shutil.rmtree(work, ignore_errors=True)
    for left in source.parent.glob("fuzzed*"):
        mutations.remove(left)


def repositories(world: World, chance: Random) -> None:
    """A repository with settings, refs and attributes that were made to be stumbled over."""
    path = world.repo.path.parent / "hostile"
    made = scratch.make(path)
    git = path / ".git"
    made.git("pack-refs", "--all")
    head = made.git("rev-parse", "HEAD").encode()
    for file, good in (
        (path / ".para.toml", SETTINGS),
        (path / ".gitattributes", ATTRIBUTES),
        (path / ".gitmodules", MODULES),
        (git / "packed-refs", (git / "packed-refs").read_bytes()),
        (git / "HEAD", b"ref: refs/heads/main\n"),
        (git / "refs/heads/other", head + b"\n"),
        (git / "info/attributes", ATTRIBUTES),
        (git / "index", (git / "index").read_bytes()),
        (git / "config", (git / "config").read_bytes()),
    ):
        if chance.random() < 0.3:
            mutations.put(chance, file, good)
    for _ in range(3):
        (path / os.fsdecode(mutations.odd_name(chance))).write_bytes(chance.randbytes(100))
    if chance.random() < 0.5:
        # the user's own git may wait for a pipe for ever
        commit = "timeout -s KILL 3 git add -A && timeout -s KILL 3 git commit -qm odd"
        subprocess.run(["sh", "-c", commit], cwd=path, check=False, capture_output=True)
    world.ask("branches", repo=str(path))
    base = {"base": mutations.mutated(chance, b"HEAD~1", 300).decode(errors="ignore")}
    given = base if chance.random() < 0.3 else {}
    answer = world.ask("start", name="odd", repo=str(path), type="worktree", **given)
    if "result" in answer:
        world.ask("diff", name="odd", repo=str(path))
        world.ask("stats", name="odd", repo=str(path))
        world.ask("finish", name="odd", repo=str(path), message="x")
    world.ask("list")
    world.ask("cancel", name="odd", repo=str(path))
    for left in (world.home / "sessions").glob("odd-*.json"):
        left.unlink()
    for part in ("work", "agents"):
        for folder in (world.home / part).glob("odd-*"):
            shutil.rmtree(folder, ignore_errors=True)
    subprocess.run(["chmod", "-R", "u+rwX", path], check=True)
    shutil.rmtree(path)


def works(world: World, chance: Random) -> None:
    """Files that are odd in name and content, in a worktree."""
    folder = world.home / "work" / world.ids["tree"] / "odd"
    folder.mkdir()
    names = [os.fsdecode(mutations.odd_name(chance)) for _ in range(chance.choice((1, 5, 40)))]
    for name in names:
        mutations.put(chance, folder / name, chance.choice((ATTRIBUTES, MODULES, b"x\n" * 5000)))
    for sparse in folder.iterdir():  # which git would read for minutes, as its user wants it to
        if sparse.is_file() and not sparse.is_symlink() and sparse.stat().st_size > 16 << 20:
            sparse.unlink()
    answer = world.ask("diff", name="tree")
    for shown in (answer.get("result") or {"files": []})["files"][:3]:
        for side in ("base", "session"):
            world.ask("file", name="tree", path=shown["path"], side=side)
    world.ask(
        "file", name="tree", path=mutations.mutated(chance, b"odd/x").decode(errors="replace")
    )
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)
    shutil.rmtree(folder)


@pytest.mark.timeout(600)  # of a slow machine
def test_a_short_run_over_all_that_is_read_is_survived(
    world: World, figures: Figures, request: pytest.FixtureRequest
) -> None:
    seed = request.config.getoption("--seed")
    fuzzed(world, figures, lambda turn: turn < SHORT, seed)


@pytest.mark.soak
@pytest.mark.timeout(SOAK_SECONDS * 2)
def test_half_an_hour_over_all_that_is_read_is_survived(
    world: World, figures: Figures, request: pytest.FixtureRequest
) -> None:
    until = time.monotonic() + SOAK_SECONDS
    seed = request.config.getoption("--seed")
    fuzzed(world, figures, lambda _: time.monotonic() < until, seed)


def ended(pid: int) -> bool:
    """Tell whether the server is gone."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def tidy(world: World) -> None:
    """Remove what a round that was broken off has left."""
    left = [*world.home.glob("*/fuzzed*"), *world.home.glob("*/odd-*")]
    left += [world.home / "work" / world.ids["tree"] / "odd", world.repo.path.parent / "hostile"]
    subprocess.run(["chmod", "-R", "u+rwX", *left], check=False, capture_output=True)
    subprocess.run(["rm", "-rf", *left], check=True)


def told(world: World, rounds: Counter[str]) -> str:
    """Sum up a run so far."""
    took, command = world.slowest
    counts = f"{dict(rounds)}; answers {dict(world.tally)}"
    return f"{counts}; slowest {command} {took:.1f} s; {world.memory()} MB"


def fuzzed(world: World, figures: Figures, more: Callable[[int], bool], seed: int) -> None:
    """Go round after round, each of a kind and with a seed of its own."""
    rounds: Counter[str] = Counter()
    kinds = [*([claims, records, works] * 6), *([repositories] * 3), *fuzzed_containers.KINDS]
    turn = 0
    failures: list[str] = []
    while more(turn):
        chance = Random(f"{seed} {turn}")  # noqa: S311 # no secret
        kind = kinds[turn % len(kinds)] if turn < len(kinds) else chance.choice(kinds)
        try:
            kind(world, chance)
        except AssertionError as error:
            if ended(world.pid):
                raise
            failures.append(f"seed {seed}, turn {turn}, {kind.__name__}: {str(error)[-3000:]}")
            print(failures[-1], flush=True)
            tidy(world)
        rounds[kind.__name__] += 1
        turn += 1
        if turn % 100 == 0:
            print(f"after {turn} turns: {told(world, rounds)}", flush=True)
            assert world.memory() < MEMORY_MB
    figures(f"fuzzed sessions: {told(world, rounds)}")
    assert world.memory() < MEMORY_MB
    assert not failures, "\n\n".join(failures)
