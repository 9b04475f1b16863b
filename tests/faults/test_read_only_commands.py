"""A call to the engine fails in a command that reads, cleans or builds: no state changes."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from para_server.core.names import BASE_IMAGE, LABEL_HOME, LABEL_SESSION
from tests import engine
from tests.client import Failed, Para
from tests.faults.conftest import HASTY
from tests.faults.test_failed_calls import attempt
from tests.leftovers import at_work
from tests.proxy import WAYS, How, Proxy
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]
Draw = Callable[[str, int, int], Iterable[int]]


@dataclass(frozen=True)
class Look:
    """A read-only command; `calls` are those that it always makes."""

    command: str
    params: dict[str, object] = field(default_factory=dict)
    calls: int = 1
    leaves_helper: bool = False  # until the next clean, where the engine would not remove it


LOOKS = {
    "list": Look("para.list", {"all": True}),
    "show": Look("para.show", {"name": "busy"}),
    "show-saved": Look("para.show", {"name": "saved"}),
    "open": Look("para.open", {"name": "busy"}),
    "diff": Look("para.diff", {"name": "busy"}, calls=6, leaves_helper=True),
    "diff-saved": Look("para.diff", {"name": "saved"}, calls=6, leaves_helper=True),
    "doctor": Look("para.doctor", calls=3),
    "what-clean-would-do": Look("para.clean", {"dryRun": True}, calls=3),
}

SILENCED: dict[str, dict[str, object]] = {
    "para.list": {},
    "para.show": {"name": "busy"},
    "para.diff": {"name": "busy"},
    "para.doctor": {},
    "para.clean": {},
    "para.start": {"name": "other"},
    "para.pause": {"name": "busy"},
    "para.finish": {"name": "busy", "message": "x"},
    "para.cancel": {"name": "busy"},
}


@pytest.fixture
def environ(environ: dict[str, str], faults: Proxy) -> dict[str, str]:
    """Connect the servers through the proxy."""
    return environ | {"DOCKER_HOST": faults.address}


def all_there_is(api: Any, home: Path, repo: Repository) -> dict[str, object]:
    """Return a digest of all state that a command could change."""
    found: dict[str, object] = {**repo.refs(), **repo.fingerprint()}
    for ref in repo.refs("refs/para/review"):
        del found[ref]  # what a look has found, for whoever looks at it file by file
    for file in (home / "sessions").iterdir():
        found[file.name] = hashlib.sha256(file.read_bytes()).hexdigest()
    for part in ("work", "agents", "scratch"):
        found[part] = sorted(folder.name for folder in (home / part).iterdir())
    for one in engine.containers(api, home):
        found[one["Id"]] = (one["Names"], one["State"])
    for image in api.images(filters={"label": f"{LABEL_HOME}={home}"}):
        found[image["Id"]] = image["RepoTags"]
    return found


@pytest.mark.slice(2)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", WAYS)
async def test_read_only_commands_change_nothing_if_a_call_fails(
    servers: Servers,
    repo: Repository,
    api: Any,
    home: Path,
    faults: Proxy,
    draw: Draw,
    tally: Counter[str],
    how: How,
) -> None:
    para = await servers(watching=False)
    hasty = await servers(watching=False, extra=HASTY)
    await at_work(para, api, "busy")
    await at_work(para, api, "saved")
    await para.call("para.pause", name="saved")
    before = all_there_is(api, home, repo)
    for label, look in LOOKS.items():
        for k in draw(f"{label} {how}", 1, look.calls):
            with faults.failing(k, how):
                outcome = await attempt(hasty, faults, look.command, **look.params)
            tally[how] += faults.hit is not None
            if look.leaves_helper:
                await para.call("para.clean")
            case = f"{label}, call {k} ({faults.hit}) failed {how}: {outcome}"
            assert all_there_is(api, home, repo) == before, case
            if faults.hit is None:
                break
    for name in ("busy", "saved"):
        await para.call("para.cancel", name=name)


@pytest.mark.timeout(600)
async def test_every_command_reports_an_unresponsive_engine(
    servers: Servers,
    repo: Repository,
    api: Any,
    home: Path,
    faults: Proxy,
    whole: Callable[..., None],
) -> None:
    para = await servers(watching=False)
    hasty = await servers(watching=False, extra=HASTY)
    session = await at_work(para, api, "busy")
    before = all_there_is(api, home, repo)
    for command, params in SILENCED.items():
        with faults.failing(0, "deaf"):
            outcome = await attempt(hasty, faults, command, **params)
        case = f"{command}: {outcome}"
        if command == "para.doctor":
            assert isinstance(outcome, dict)
            checks = {check["name"]: check for check in outcome["checks"]}
            assert checks["engine"]["problem"]["slug"] == "engine.timeout", case
        elif isinstance(outcome, Failed):
            assert outcome.slug == "engine.timeout", case
        else:  # a list of what was last heard needs no answer
            assert command in {"para.list", "para.show"}, case
        await para.call("para.clean")
        whole(case, session)
        assert without_times(all_there_is(api, home, repo)) == without_times(before), case
    await para.call("para.finish", name="busy", message="all of it")


def without_times(found: dict[str, object]) -> dict[str, object]:
    """Return the state without records, which contain the time of their last write."""
    return {name: value for name, value in found.items() if not name.endswith(".json")}


@pytest.mark.slice(1)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", WAYS)
async def test_clean_removes_only_leftovers_if_a_call_fails(
    servers: Servers,
    repo: Repository,
    api: Any,
    home: Path,
    faults: Proxy,
    draw: Draw,
    whole: Callable[..., None],
    tally: Counter[str],
    how: How,
) -> None:
    para = await servers(watching=False)
    hasty = await servers(watching=False, extra=HASTY)
    session = await at_work(para, api, "busy")
    before = all_there_is(api, home, repo)
    for k in draw(f"clean {how}", 2, 5):
        leave_behind(api, home)
        with faults.failing(k, how):
            outcome = await attempt(hasty, faults, "para.clean")
        tally[how] += faults.hit is not None
        await para.call("para.clean")
        case = f"call {k} ({faults.hit}) failed {how}: {outcome}"
        whole(case, session)
        assert all_there_is(api, home, repo) == before, case
        if faults.hit is None:
            break
    await para.call("para.cancel", name="busy")


def leave_behind(api: Any, home: Path) -> None:
    """Create leftovers of an old session: a container, its image, folders."""
    labels = {LABEL_HOME: str(home), LABEL_SESSION: "old-000000"}
    made = api.create_container(BASE_IMAGE, ["true"], name="para-session-old-000000", labels=labels)
    api.commit(made["Id"], "para-saved", "old-000000", conf={"Labels": labels})
    for part in ("agents", "scratch"):  # where there is a workspace, it may have something to lose
        (home / part / "old-000000").mkdir()


@pytest.mark.slice(1)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", WAYS)
async def test_image_stays_complete_if_a_call_of_its_build_fails(
    servers: Servers,
    api: Any,
    home: Path,
    faults: Proxy,
    draw: Draw,
    tally: Counter[str],
    how: How,
) -> None:
    hasty = await servers(watching=False, extra=HASTY)
    before = api.inspect_image(BASE_IMAGE)["Id"]
    for k in draw(f"build {how}", 1, 3):
        with faults.failing(k, how):
            outcome = await attempt(hasty, faults, "para.image.build")
        tally[how] += faults.hit is not None
        case = f"call {k} ({faults.hit}) failed {how}: {outcome}"
        # a server asks for more than the command does: what it was that failed is not told
        assert isinstance(outcome, Failed) <= (faults.hit is not None), case
        assert api.inspect_image(BASE_IMAGE)["Id"] == before, case  # every layer was there
        assert not engine.containers(api, home)
        if faults.hit is None:
            break


async def test_silent_build_is_reported_as_a_timeout(
    servers: Servers, api: Any, faults: Proxy
) -> None:
    hasty = await servers(watching=False, extra=HASTY)
    before = api.inspect_image(BASE_IMAGE)["Id"]
    with faults.failing("/build?", "halts"):
        outcome = await attempt(hasty, faults, "para.image.build")
    assert isinstance(outcome, Failed), outcome
    assert outcome.slug == "engine.timeout"
    assert api.inspect_image(BASE_IMAGE)["Id"] == before
