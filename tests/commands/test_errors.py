"""Every error slug has a message and remedies that a person can act on."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

import para_server.commands.all
from para_server.core.errors import INVALID_PARAMS, SLUGS
from para_server.core.settings import EngineSettings, section_models
from para_server.engine.endpoint import find_address
from para_server.registry import COMMANDS
from tests import engine, installed, scratch
from tests.client import Failed, Para, eventually
from tests.front import Front
from tests.scratch import Repository

assert para_server.commands.all.__all__  # the registry is filled

SETTINGS: Final = {
    f"{section}.{field.alias}"
    for section, model in section_models().items()
    for field in model.model_fields.values()
}
SANDBOX: Final = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


@dataclass(frozen=True)
class World:
    """Fixtures of a case."""

    servers: Callable[..., Awaitable[Para]]
    repo: Repository
    home: Path
    folder: Path
    socket: str
    front: Front
    api: Any
    stack: contextlib.ExitStack

    async def para(self, *prefix: str, **extra: str) -> Para:
        return await self.servers(extra=extra, watching=False, prefix=prefix)

    async def worktree(self, name: str = "fix", **params: object) -> Para:
        """Start a server and a session that needs no engine."""
        para = await self.para()
        await para.call("para.start", name=name, type="worktree", **params)
        return para


Case = Callable[[World], Awaitable[tuple[Para, str, dict[str, object]]]]
CASES: dict[str, Case] = {}


def case(slug: str) -> Callable[[Case], Case]:
    def enter(made: Case) -> Case:
        CASES[slug] = made
        return made

    return enter


@case("command.unknown")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.para(), "para.fly", {}


@case("command.invalid-params")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.para(), "para.list", {"colour": "red"}


@case("settings.invalid")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    world.repo.write(".para.toml", "container.cpus = 64\n")
    return await world.para(), "para.start", {}


@case("engine.unreachable")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.para(DOCKER_HOST="unix:///nowhere/docker.sock"), "para.start", {}


@case("engine.permission-denied")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    Path(world.socket).chmod(0)
    prefix = SANDBOX if os.geteuid() == 0 else ()  # root needs no permission, unless it is told to
    return await world.para(*prefix, DOCKER_HOST=f"unix://{world.socket}"), "para.start", {}


@case("engine.timeout")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    silent = {"DOCKER_HOST": f"unix://{world.socket}", "PARA_ENGINE_TIMEOUT": "1"}
    return await world.para(**silent), "para.start", {}


@case("engine.image-missing")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.para(), "para.start", {"image": "para-there-is-none:latest"}


@case("engine.build-failed")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    recipe = "FROM para-base:latest\nRUN false\n"
    broken = installed.with_recipe(world.folder / "broken", recipe, anew=True)
    return await world.para(**broken), "para.image.build", {}


@case("engine.refused")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    mounts = f"{world.folder}/missing:/mnt/missing"
    return await world.para(PARA_CONTAINER_MOUNTS=mounts), "para.start", {}


@case("engine.disk-full")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    words = json.dumps({"message": "write /var/lib/docker/x: no space left on device"})
    world.front.answers = {"POST .*/containers/create.*": (500, words)}
    address = world.front.on_socket(Path(world.socket).with_name("front"))
    return await world.para(DOCKER_HOST=address), "para.start", {}


@case("workspace.too-large")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    para = await world.para(PARA_GIT_MAX_BUNDLE="1m")
    session = await para.call("para.start", name="fix")
    engine.run(world.api, session["container"]["name"], "head -c 4M /dev/urandom >heavy")
    return para, "para.finish", {"message": "x"}


@case("workspace.timeout")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    para = await world.para(PARA_GIT_MAX_SECONDS="2")
    session = await para.call("para.start", name="fix")
    engine.run(world.api, session["container"]["name"], "truncate -s 900G endless")
    return para, "para.finish", {"message": "x"}


@case("workspace.not-a-repository")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.para(), "para.start", {"repo": str(world.folder)}


@case("workspace.no-commits")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    world.repo.git("init", "-q", str(world.folder / "empty"))
    return await world.para(), "para.start", {"repo": str(world.folder / "empty")}


@case("workspace.unknown-base")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.para(), "para.start", {"base": "v99"}


@case("workspace.branch-exists")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.para(), "para.start", {"branch": "main"}


@case("workspace.nothing-to-finish")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.worktree(), "para.finish", {"message": "x"}


@case("workspace.ambiguous")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    other = scratch.make(world.folder / "other")
    para = await world.servers(folders=[world.repo.path, other.path], watching=False)
    return para, "para.start", {}


@case("workspace.git-failed")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    world.repo.git("config", "uploadpack.allowFilter", "true")
    partial = world.folder / "partial"
    world.repo.git(
        "clone", "-q", "--filter=blob:none", "--no-checkout", world.repo.path.as_uri(), str(partial)
    )
    return await world.para(), "para.start", {"repo": str(partial)}


@case("session.not-found")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.para(), "para.show", {"name": "nobody"}


@case("session.ambiguous")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    para = await world.worktree()
    await para.call("para.start", name="other", type="worktree")
    return para, "para.show", {}


@case("session.name-taken")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.worktree(), "para.start", {"name": "fix"}


@case("session.limit-reached")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    await (await world.para()).call("para.start", name="first")
    return await world.para(PARA_CONTAINER_MAX_RUNNING="1"), "para.start", {}


@case("session.wrong-type")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.worktree(), "para.pause", {}


@case("session.illegal-transition")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.worktree(), "para.resume", {}


@case("session.busy")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    para = await world.para()
    await para.call("para.list")
    lock = world.stack.enter_context((world.home / "locks" / "sweep.lock").open("a"))
    fcntl.flock(lock, fcntl.LOCK_EX)  # as another process that removes leftovers
    return para, "para.clean", {}


@case("agent.unknown")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.para(), "para.dispatch", {"prompt": "x", "agent": "nobody"}


@case("auth.missing")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    no_login = {"PARA_AGENT_CREDENTIALS": "env", "PARA_AGENT_ENV": "PARA_NO_SUCH_TOKEN"}
    return await world.para(**no_login), "para.dispatch", {"prompt": "x", "agent": "claude"}


@case("auth.incomplete")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    return await world.para(), "para.auth.complete", {"agent": "claude"}


@case("store.unreadable")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    para = await world.worktree()
    (record,) = (world.home / "sessions").glob("*.json")
    record.write_text(record.read_text()[:100])
    return para, "para.show", {"name": "fix"}


@case("store.too-new")
async def _(world: World) -> tuple[Para, str, dict[str, object]]:
    para = await world.worktree()
    (record,) = (world.home / "sessions").glob("*.json")
    record.write_text(record.read_text().replace('"version":1', '"version":99'))
    return para, "para.show", {"name": "fix"}


@pytest.fixture
def silent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Listen on a socket and never respond."""
    path = tmp_path_factory.mktemp("s") / "s"  # a socket's path has little room
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(64)
        yield str(path)


@pytest.mark.parametrize("slug", CASES)
async def test_errors_have_a_reason_and_a_remedy(
    servers: Callable[..., Awaitable[Para]],
    repo: Repository,
    api: Any,
    home: Path,
    tmp_path: Path,
    silent: str,
    slug: str,
) -> None:
    assert api.ping()
    front = Front(find_address(EngineSettings(), os.environ))
    with contextlib.ExitStack() as stack:
        world = World(servers, repo, home, tmp_path, silent, front, api, stack)
        para, command, params = await CASES[slug](world)
        records = sorted((home / "sessions").glob("*"))
        refused = await para.fails(slug, command, **params)
    assert refused.code == SLUGS[slug][0]
    assert_readable(refused)
    for remedy in refused.remedies:
        assert_can_be_carried_out(remedy)
    assert sorted((home / "sessions").glob("*")) == records, "it left something behind"


def assert_problem_readable(problem: dict[str, Any]) -> None:
    assert problem["message"]
    assert problem["remedies"]
    for remedy in problem["remedies"]:
        assert_can_be_carried_out(remedy)


async def test_failed_setup_script_is_the_problem_of_its_session(
    servers: Callable[..., Awaitable[Para]], repo: Repository, api: Any
) -> None:
    assert api.ping()
    repo.commit(**{".para/setup.sh": "exit 3\n"})
    failed = await (await servers()).call("para.start", name="fix")
    assert (failed["state"], failed["problem"]["slug"]) == ("failed", "session.setup-failed")
    assert_problem_readable(failed["problem"])


async def test_stopped_container_is_the_problem_of_its_session(para: Para, api: Any) -> None:
    session = await para.call("para.start", name="fix")
    api.stop(session["container"]["id"], timeout=0)
    failed = await eventually(
        lambda: para.call("para.show", name="fix"), lambda shown: shown["state"] == "failed"
    )
    assert (failed["state"], failed["problem"]["slug"]) == ("failed", "session.stopped")
    assert_problem_readable(failed["problem"])


def assert_readable(refused: Failed) -> None:
    assert refused.message
    assert not refused.message.endswith((".", "\n"))
    assert "Traceback" not in refused.message
    assert refused.code == INVALID_PARAMS or refused.remedies, "there is always something to do"
    assert refused.data.keys() == {"slug", "message", "remedies", "issues"}


def assert_can_be_carried_out(remedy: dict[str, Any]) -> None:
    assert remedy["title"]
    assert sum(remedy[kind] is not None for kind in ("command", "setting", "url")) <= 1
    if remedy["command"] is not None:
        COMMANDS[remedy["command"]].params.model_validate(remedy["params"], by_name=False)
    if remedy["setting"] is not None:
        assert remedy["setting"] in SETTINGS
    if remedy["url"] is not None:
        assert remedy["url"].startswith("https://")


def test_every_slug_is_raised_or_shown() -> None:
    # the problems of sessions: two above, and of an agent in tests/commands/test_dispatch.py
    shown = {"session.setup-failed", "session.stopped", "agent.not-started"}
    assert CASES.keys() | shown == SLUGS.keys()
