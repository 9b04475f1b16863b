"""Starting sessions: `para.dispatch` and `para.start`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from para_server.core.names import SESSION_NETWORK
from tests import engine
from tests.client import Failed, Para, eventually
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]


async def test_dispatch_returns_the_current_session(para: Para, repo: Repository) -> None:
    session = await para.call("para.dispatch", prompt="sleep 600", name="Fix_Login-2")
    assert re.fullmatch(r"fix-login-2-[0-9a-f]{6}", session["id"])
    assert session["container"] == {
        "id": session["container"]["id"],
        "name": f"para-session-{session['id']}",
        "image": "para-base:latest",
    }
    expected = {
        "name": "Fix_Login-2",
        "type": "container",
        "state": "running",
        "repo": str(repo.path),
        "base": repo.git("rev-parse", "HEAD"),
        "branch": "para/Fix_Login-2",
        "prompt": "sleep 600",
        "problem": None,
    }
    assert {key: session[key] for key in expected} == expected
    assert (Path(session["workspace"]) / "README.md").is_file()
    assert session["agent"]["name"] == "command"
    assert session["agent"]["state"] in {"starting", "working"}
    assert datetime.fromisoformat(session["createdAt"]).tzinfo
    assert datetime.fromisoformat(session["updatedAt"]).tzinfo


async def test_container_has_limits_labels_and_no_host_privileges(
    para: Para, repo: Repository, api: Any, home: Path
) -> None:
    session = await para.call("para.start", name="fix")
    inspected = api.inspect_container(session["container"]["id"])
    host, config = inspected["HostConfig"], inspected["Config"]
    labels = {key: value for key, value in config["Labels"].items() if key in LABELS}
    assert labels == {
        "dev.para.session": session["id"],
        "dev.para.name": "fix",
        "dev.para.repo": str(repo.path),
        "dev.para.home": str(home),
    }
    # a ceiling: what the engine has is the limit where it has less
    cpus = min(2, api.info()["NCPU"])
    assert (host["NanoCpus"], host["Memory"], host["PidsLimit"]) == (cpus * 10**9, 4 << 30, 1024)
    assert (host["Privileged"], host["Init"]) == (False, True)
    # where one network cannot keep its containers apart, as with Podman, each session has its own
    network = engine.networks(api, home).get(session["id"], SESSION_NETWORK)
    assert list(inspected["NetworkSettings"]["Networks"]) == [network]
    assert (config["User"], config["WorkingDir"]) == ("para", "/para-session")
    assert not any("docker.sock" in mount["Source"] for mount in inspected["Mounts"])
    output = engine.run(api, session["container"]["id"], "id -un; pwd; git status -sb; sudo id -u")
    assert output.split() == ["para", "/para-session", "##", "para/fix", "0"]


LABELS = {"dev.para.session", "dev.para.name", "dev.para.repo", "dev.para.home"}


async def test_started_session_has_no_agent(para: Para) -> None:
    session = await para.call("para.start")
    assert (session["agent"], session["prompt"], session["state"]) == (None, "", "running")
    assert re.fullmatch(r"[a-z]+-[a-z]+", session["name"])
    assert session["branch"] == f"para/{session['name']}"


async def test_agent_end_is_reported_with_its_exit_code(para: Para) -> None:
    await para.call("para.dispatch", prompt="true", name="well")
    await para.call("para.dispatch", prompt="exit 7", name="badly")
    well, badly = await para.agent("well", "done"), await para.agent("badly", "failed")
    assert (well["agent"]["detail"], badly["agent"]["detail"]) == ("exit code 0", "exit code 7")
    assert badly["agent"]["since"] is not None
    assert (well["state"], badly["state"]) == ("running", "running")


async def test_restarted_container_starts_no_agent(para: Para, api: Any) -> None:
    session = await para.call("para.dispatch", prompt="echo once >>told", name="once")
    await para.agent("once", "done")
    container = session["container"]["id"]
    api.restart(container, timeout=3)
    # what the container runs then is at its end: there is nothing left that could start one
    await eventually(
        lambda: asyncio.to_thread(lambda: str(api.top(container)["Processes"])),
        lambda processes: "sleep infinity'" in processes,  # Podman 4 gives a row as one text
    )
    assert engine.run(api, container, "cat told; tmux ls 2>&1 || true").startswith("once\nno ")


async def test_agent_that_cannot_start_fails_the_session(para: Para, api: Any, home: Path) -> None:
    bare = api.create_container("para-base:latest", ["rm", "/usr/bin/tmux"], user="root")
    api.start(bare)
    api.wait(bare)
    image = api.commit(bare, changes="USER para")["Id"]
    api.remove_container(bare)
    try:
        failed = await para.call("para.dispatch", prompt="true", image=image)
        assert (failed["state"], failed["problem"]["slug"]) == ("failed", "agent.not-started")
        assert "needs bash and tmux" in failed["problem"]["message"]
        assert "tmux: " in failed["problem"]["message"]  # the shell's own words
        shown = await para.call("para.show")
        assert (shown["state"], shown["problem"]) == ("failed", failed["problem"])
        (end,) = (one for one in failed["problem"]["remedies"] if one["command"] == "para.cancel")
        await para.call(end["command"], **end["params"])
        assert engine.containers(api, home) == []
        assert (await para.call("para.list"))["sessions"] == []
    finally:
        engine.drop(api, image)


async def test_missing_agent_fails_the_session(
    servers: Callable[..., Awaitable[Para]], api: Any, environ: dict[str, str]
) -> None:
    config = Path(environ["PARA_CONFIG_HOME"], "config.toml")
    config.parent.mkdir(exist_ok=True)
    config.write_text('[agent.profiles.own]\nstart = ["no-such-agent"]\n')
    para = await servers()
    failed = await para.call("para.dispatch", prompt="touch done", name="fix", agent="own")
    assert failed["state"] == "failed"
    assert "no-such-agent is not installed" in failed["problem"]["message"]
    engine.run(api, failed["container"]["name"], "sudo ln -s /bin/true /bin/no-such-agent")
    back = await para.call("para.resume", name="fix")
    assert (back["state"], back["problem"]) == ("running", None)
    assert (await para.agent("fix", "done"))["agent"]["state"] == "done"


async def test_prompt_is_read_from_a_file(para: Para, repo: Repository) -> None:
    script = "echo 'quotes\"' \"$((1 + 1))\" ünï\n# a line of its own\necho '%s' \\\\\n"
    repo.write("task.txt", script)
    session = await para.call("para.dispatch", promptFile="task.txt", name="fix")
    assert session["prompt"] == script
    await para.agent("fix", "done")
    assert 'quotes" 2 ünï\n' in (await para.call("para.logs", name="fix"))["text"]


MISFITS: list[tuple[dict[str, Any], str]] = [
    ({}, "either prompt or promptFile"),
    ({"prompt": "x", "promptFile": "y"}, "either prompt or promptFile"),
    ({"prompt": " \n"}, "empty"),
    ({"prompt": "a\0b"}, "text"),
    ({"promptFile": "missing.txt"}, "missing.txt"),
    ({"promptFile": "src"}, "src"),
    ({"prompt": "x", "colour": "red"}, "colour"),
    ({"prompt": "x", "branch": "a..b"}, "a..b"),
    ({"prompt": "x", "type": "submarine"}, "type"),
    ({"prompt": 7}, "prompt"),
    ({"prompt": ""}, "prompt: must not be empty"),
]


async def test_invalid_dispatch_is_refused_without_leftovers(
    servers: Servers, home: Path, repo: Repository
) -> None:
    para = await servers(watching=False)
    for params, says in MISFITS:
        refused = await para.fails("command.invalid-params", "para.dispatch", **params)
        assert says in refused.message
    assert not list((home / "sessions").glob("*"))
    assert set(repo.refs()) == {"refs/heads/main"}


async def test_base_is_any_revision_also_with_a_detached_head(para: Para, repo: Repository) -> None:
    repo.git("tag", "-a", "-m", "v1", "v1")
    second = repo.commit(second="2\n")
    tagged = await para.call("para.start", type="worktree", base="v1", branch="from/v1")
    assert (tagged["base"], tagged["branch"]) == (repo.git("rev-parse", "v1^{}"), "from/v1")
    assert not (Path(tagged["workspace"]) / "second").exists()
    repo.git("switch", "-q", "--detach", "HEAD")
    detached = await para.call("para.start", name="detached")
    assert detached["base"] == second
    assert (Path(detached["workspace"]) / "second").exists()


async def test_active_sessions_reserve_names_and_all_sessions_reserve_branches(
    servers: Servers, repo: Repository
) -> None:
    para = await servers(watching=False)
    await para.call("para.start", name="fix", type="worktree")
    taken = await para.fails("session.name-taken", "para.start", name="fix", type="worktree")
    shown = await para.call(taken.remedies[0]["command"], **taken.remedies[0]["params"])
    assert shown["name"] == "fix"
    refused = await para.fails(
        "workspace.branch-exists", "para.start", name="x", branch="para/fix", type="worktree"
    )
    assert "para/fix" in refused.message
    await para.call("para.cancel", name="fix")
    again = await para.call("para.start", name="fix", type="worktree")
    assert again["id"] != shown["id"]
    assert repo.refs("refs/heads").keys() == {"refs/heads/main", "refs/heads/para/fix"}


@pytest.mark.parametrize("there", ["para/fix", "para"])
async def test_existing_or_conflicting_branch_is_refused_before_creation(
    para: Para, repo: Repository, home: Path, there: str
) -> None:
    repo.git("branch", there)
    for kind in ("container", "worktree"):
        refused = await para.fails("workspace.branch-exists", "para.start", name="fix", type=kind)
        assert refused.message == f"The branch {there} already exists"
    assert (await para.call("para.list", all=True))["sessions"] == []
    assert list((home / "work").iterdir()) == []
    assert repo.refs().keys() == {"refs/heads/main", f"refs/heads/{there}"}


async def test_dispatch_accepts_an_image_and_a_network(para: Para, api: Any) -> None:
    session = await para.call("para.start", image="para-base", network="none")
    assert session["container"]["image"] == "para-base"
    inspected = api.inspect_container(session["container"]["id"])
    assert inspected["HostConfig"]["NetworkMode"] == "none"


async def test_concurrent_dispatches_of_one_name_create_one_session(
    para: Para, api: Any, home: Path
) -> None:
    both = [para.call("para.dispatch", prompt="true", name="fix") for _ in range(2)]
    answers = await asyncio.gather(*both, return_exceptions=True)
    (failed,) = [answer for answer in answers if isinstance(answer, Failed)]
    assert failed.slug == "session.name-taken"
    assert len(engine.containers(api, home)) == 1


async def test_container_limit_is_enforced_and_its_remedy_frees_a_slot(
    servers: Servers, api: Any, home: Path
) -> None:
    roomy = await servers()
    first = await roomy.call("para.start", name="first")
    tight = await servers(extra={"PARA_CONTAINER_MAX_RUNNING": "1"})
    refused = await tight.fails("session.limit-reached", "para.dispatch", prompt="true")
    assert refused.message == (
        "Maximum 1 containers reached. Use 'para pause' or 'para cancel' to free resources"
    )
    pause, show = refused.remedies
    assert (pause["command"], pause["params"]["name"]) == ("para.pause", "first")
    assert show["command"] == "para.list"
    assert [one["Id"] for one in engine.containers(api, home)] == [first["container"]["id"]]
    assert [one["name"] for one in (await tight.call("para.list"))["sessions"]] == ["first"]
    paused = await tight.call(pause["command"], **pause["params"])
    assert paused["state"] == "paused"
    assert engine.containers(api, home) == []


async def test_longest_idle_session_is_the_one_whose_agent_is_idle(
    servers: Servers, api: Any
) -> None:
    assert api.ping()
    roomy = await servers()
    await roomy.call("para.dispatch", prompt="sleep infinity", name="working")
    for name in ("done", "later"):
        await roomy.call("para.dispatch", prompt="true", name=name)
        await roomy.agent(name, "done")
    await roomy.call("para.start", name="person")
    tight = await servers(extra={"PARA_CONTAINER_MAX_RUNNING": "4"})
    refused = await tight.fails("session.limit-reached", "para.start", name="more")
    assert refused.remedies[0]["title"] == "Pause done, the longest idle session"
    for name in ("done", "later", "person"):
        await roomy.call("para.cancel", name=name)
    tight = await servers(extra={"PARA_CONTAINER_MAX_RUNNING": "1"})
    refused = await tight.fails("session.limit-reached", "para.start", name="more")
    assert refused.remedies[0]["title"] == "Pause working, the least recently changed session"


async def test_progress_starts_reports_and_ends(para: Para) -> None:
    progress = "a-progress"
    para.lsp.progress_reports[progress] = []
    await para.answer(para.send("para.start", [{"name": "fix"}], token=progress))
    begin, *reports, end = para.lsp.progress_reports[progress]
    assert (begin.kind, begin.title, begin.cancellable) == ("begin", "Start Session", True)
    assert "Preparing fix" in [report.message for report in reports]
    shares = [report.percentage for report in reports if report.percentage is not None]
    assert shares == sorted(shares)
    assert end.kind == "end"


async def test_empty_submodules_cause_a_warning(
    servers: Servers, repo: Repository, api: Any
) -> None:
    assert api.ping()
    para = await servers(watching=False)
    plain = await para.call("para.start", type="worktree", name="before")
    repo.write(".gitmodules", '[submodule "lib"]\n\tpath = lib\n\turl = ../lib\n')
    uncommitted = await para.call("para.start", type="worktree", name="uncommitted")
    repo.commit("a submodule", **{".gitmodules": '[submodule "lib"]\n\tpath = lib\n'})
    for kind in ("worktree", "container"):
        with_one = await para.call("para.start", type=kind, name=kind)
        assert ["Submodules are empty" in one for one in with_one["warnings"]] == [True]
    assert plain["warnings"] == uncommitted["warnings"] == []


async def test_what_an_agent_printed_is_whole_once_it_is_done(para: Para) -> None:
    # what records it stands still for a while, as on a busy machine
    later = "(sleep 4; pkill -CONT -f record[.]sh) >/dev/null 2>&1 &"
    prompt = f"pkill -STOP -f record[.]sh; echo last; {later}"
    await para.call("para.dispatch", prompt=prompt, name="fix")
    await para.agent("fix", "done")
    assert (await para.call("para.logs", name="fix"))["text"] == "last\n"


async def test_an_agent_is_done_that_left_a_process_behind(para: Para) -> None:
    prompt = "sleep infinity & echo last"  # which may yet print something
    await para.call("para.dispatch", prompt=prompt, name="fix")
    await para.agent("fix", "done")
    assert (await para.call("para.logs", name="fix"))["text"] == "last\n"
