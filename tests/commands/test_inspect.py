"""Inspecting sessions: `para.list`, `show`, `open`, `diff` and `logs`."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from para_server.core.settings import EngineSettings
from para_server.engine.endpoint import find_address, locate_engine
from tests import engine, scratch
from tests.client import Para
from tests.scratch import Repository

Servers = Callable[..., Awaitable[Para]]


async def test_list_shows_active_sessions_of_one_or_all_repositories(
    para: Para, repo: Repository, tmp_path: Path
) -> None:
    other = scratch.make(tmp_path / "other")
    await para.call("para.start", name="one", type="worktree")
    await para.call("para.start", name="two", type="worktree", repo=str(other.path))
    await para.call("para.start", name="three")
    await para.call("para.cancel", name="one")

    async def names(**params: object) -> list[str]:
        return [one["name"] for one in (await para.call("para.list", **params))["sessions"]]

    assert await names() == ["two", "three"]
    assert await names(repo=str(repo.path)) == ["three"]
    assert await names(repo=other.path.as_uri()) == ["two"]
    assert await names(repo=str(other.path / "src")) == ["two"]
    assert await names(all=True) == ["one", "two", "three"]
    listed = await para.call("para.list")
    assert listed["limit"] == 50
    assert listed["running"] >= 1


async def test_list_counts_containers_of_other_users(
    para: Para, servers: Servers, api: Any, tmp_path: Path
) -> None:
    elsewhere = await servers(extra={"PARA_HOME": str(tmp_path / "elsewhere")})
    try:
        await elsewhere.call("para.start", name="theirs")
        listed = await para.call("para.list")
        assert listed["sessions"] == []
        assert listed["running"] >= 1
    finally:
        engine.clear(api, tmp_path / "elsewhere")


async def test_show_needs_no_name_for_the_only_active_session(servers: Servers) -> None:
    para = await servers(watching=False)
    await para.fails("session.not-found", "para.show")
    only = await para.call("para.start", name="only", type="worktree")
    assert (await para.call("para.show"))["id"] == only["id"]
    await para.call("para.start", name="second", type="worktree")
    refused = await para.fails("session.ambiguous", "para.show")
    assert "only" in refused.message
    assert "second" in refused.message


async def test_open_returns_a_uri_and_a_terminal_command(para: Para) -> None:
    session = await para.call("para.start", name="fix")
    opened = await para.call("para.open", name="fix")
    uri = urlparse(opened["uri"])
    assert (uri.scheme, uri.path, opened["folder"]) == (
        "vscode-remote",
        "/para-session",
        "/para-session",
    )
    attached = json.loads(bytes.fromhex(uri.netloc.removeprefix("attached-container+")))
    # an editor finds a socket of this machine by itself
    address = find_address(EngineSettings(), os.environ)
    named = {} if address.startswith("unix://") else {"settings": {"host": address}}
    assert attached == {"containerName": f"/{session['container']['name']}"} | named
    assert in_terminal(opened["terminal"], "pwd; exit\n").count("/para-session")


async def test_branches_are_listed_latest_first(
    para: Para, repo: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await para.call("para.branches") == {"branches": ["main"]}
    tree = repo.git("rev-parse", "HEAD^{tree}")
    for second, name in enumerate(("old/er", "new")):
        monkeypatch.setenv("GIT_COMMITTER_DATE", f"2030-01-01T00:00:0{second}Z")
        repo.git("branch", name, repo.git("commit-tree", "-m", "x", tree))
    asked = {"repo": str(repo.path / "src")}
    assert await para.call("para.branches", **asked) == {"branches": ["new", "old/er", "main"]}
    await para.fails("workspace.not-a-repository", "para.branches", repo=str(repo.path.parent))


async def test_open_names_an_engine_that_is_not_the_default(
    servers: Servers, api: Any, tmp_path: Path
) -> None:
    assert api.ping()
    found = locate_engine(EngineSettings(), os.environ)
    certificates = found.tls.ca.parent if found.tls and found.tls.ca else None
    engine.make_context(tmp_path / "docker", "build", found.address, certificates)
    environ = {"DOCKER_CONFIG": str(tmp_path / "docker"), "PARA_ENGINE_CONTEXT": "build"}
    para = await servers(extra=environ)
    session = await para.call("para.start", name="fix")
    opened = await para.call("para.open", name="fix")
    authority = urlparse(opened["uri"]).netloc
    assert json.loads(bytes.fromhex(authority.removeprefix("attached-container+"))) == {
        "containerName": f"/{session['container']['name']}",
        "settings": {"context": "build"},
    }


async def test_open_names_an_ssh_engine(
    servers: Servers, para: Para, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await para.call("para.start", name="fix")
    ssh = engine.far_away(tmp_path, find_address(EngineSettings(), os.environ))
    monkeypatch.setenv("PATH", f"{ssh}:{os.environ['PATH']}")
    far = {"PARA_ENGINE_HOST": "ssh://ada@far", "PATH": os.environ["PATH"]}
    elsewhere = await servers(extra=far)
    assert (await elsewhere.call("para.list"))["sessions"] == [session]
    opened = await elsewhere.call("para.open", name="fix")
    authority = urlparse(opened["uri"]).netloc
    assert json.loads(bytes.fromhex(authority.removeprefix("attached-container+"))) == {
        "containerName": f"/{session['container']['name']}",
        "settings": {"host": "ssh://ada@far"},
    }
    assert "-l ada -- far docker system dial-stdio" in (ssh / "ssh.log").read_text()
    assert in_terminal(opened["terminal"], "pwd; exit\n").count("/para-session")
    (ssh / "ssh").write_text("#!/bin/sh\nexit 255\n")
    await elsewhere.fails("engine.unreachable", "para.open", name="fix")


async def test_open_attaches_to_the_agent(para: Para) -> None:
    await para.call(
        "para.dispatch", prompt="echo nearly; read answer; echo got:$answer", name="fix"
    )
    await para.agent("fix", "working")
    opened = await para.call("para.open", name="fix")
    in_terminal(opened["terminal"], "forty-two\nexit\n")
    session = await para.agent("fix", "done")
    assert session["agent"]["state"] == "done"
    assert "got:forty-two" in (await para.call("para.logs", name="fix"))["text"]


def in_terminal(terminal: dict[str, Any], typed: str) -> str:
    """Run a command in a new terminal, type into it and return its output."""
    command = shlex.join([terminal["command"], *terminal["args"]])
    done = subprocess.run(
        ["script", "-qec", command, "/dev/null"],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout


async def test_paused_session_is_opened_after_resume(para: Para) -> None:
    await para.call("para.start", name="fix")
    await para.call("para.pause", name="fix", mode="freeze")
    refused = await para.fails("session.illegal-transition", "para.open", name="fix")
    remedy = refused.remedies[0]
    await para.call(remedy["command"], **remedy["params"])
    assert (await para.call("para.open", name="fix"))["session"]["state"] == "running"


CHANGES = (
    "echo c >committed; git add -A; git commit -qm c; echo 2 >src/app.py; rm README.md;"
    "printf 'a\\0b' >'bi nä.ry'"
)
CHANGED = {
    "committed": ("A", 1, 0),
    "src/app.py": ("M", 1, 1),
    "README.md": ("D", 0, 1),
    "bi nä.ry": ("A", 0, 0),
}


async def test_diff_shows_all_changes_since_the_base_each_time(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await para.call("para.start", name="fix")
    engine.run(api, session["container"]["name"], CHANGES)
    before = repo.refs()
    review = f"refs/para/review/{session['id']}"

    async def changed() -> dict[str, tuple[str, int, int]]:
        shown = await para.call("para.diff", name="fix")
        assert "+2\n" in shown["patch"]
        return {f["path"]: (f["status"], f["insertions"], f["deletions"]) for f in shown["files"]}

    assert await changed() == CHANGED
    assert (await para.call("para.show", name="fix"))["state"] == "running"
    assert repo.refs() == before | {review: repo.refs()[review]}
    await para.call("para.pause", name="fix")
    assert await changed() == CHANGED
    await para.call("para.finish", message="x", name="fix")
    assert await changed() == CHANGED
    assert review not in repo.refs()


async def test_file_shows_both_sides_of_the_last_diff(
    para: Para, repo: Repository, api: Any
) -> None:
    session = await para.call("para.start", name="fix")

    async def text(path: str, side: str = "session") -> str | None:
        shown = await para.call("para.file", name="fix", path=path, side=side)
        return shown["text"] if shown["exists"] else None

    await para.fails("workspace.unknown-base", "para.file", name="fix", path="src/app.py")
    script = f"{CHANGES}; ln -s /etc/passwd link; seq 1000000 >long"
    engine.run(api, session["container"]["name"], script)
    await para.call("para.diff", name="fix")
    engine.run(api, session["container"]["name"], "echo 3 >src/app.py")
    sides = [await text("src/app.py", "base"), await text("src/app.py")]
    assert sides == ["print(1)\n", "2\n"]
    assert [await text("README.md", "base"), await text("README.md")] == ["# A repository\n", None]
    assert await text("link") == "/etc/passwd"
    for nothing in ("src", "nothing", "../shop", "./src/app.py", ":(glob)**", "src/app.py\0"):
        assert await text(nothing) is None
    binary = await para.call("para.file", name="fix", path="bi nä.ry")
    assert (binary["binary"], binary["text"]) == (True, "")
    long = await para.call("para.file", name="fix", path="long")
    assert (long["cut"], len(long["text"])) == (True, 4 << 20)
    await para.call("para.finish", message="x", name="fix")
    assert await text("src/app.py") == "3\n"
    assert f"refs/para/review/{session['id']}" not in repo.refs()


async def test_diff_without_changes_is_empty(para: Para) -> None:
    await para.call("para.start", name="fix")
    assert await para.call("para.diff", name="fix") == {"files": [], "patch": "", "omitted": []}


async def test_logs_keep_the_agent_output_until_cancel(
    para: Para,
) -> None:
    prompt = "seq 5; echo oops >&2; printf '\\033[31mred\\033[0m\\n'; echo x >x"
    await para.call("para.dispatch", prompt=prompt, name="fix")
    await para.agent("fix", "done")

    async def text(**params: object) -> str:
        return str((await para.call("para.logs", name="fix", **params))["text"])

    assert await text() == "1\n2\n3\n4\n5\noops\n\\x1b[31mred\\x1b[0m\n"
    assert await text(tail=2) == "oops\n\\x1b[31mred\\x1b[0m\n"
    assert await text(tail=100_000) == await text()
    await para.fails("command.invalid-params", "para.logs", name="fix", tail=0)
    await para.call("para.finish", message="x", name="fix")
    assert (await text()).startswith("1\n2\n")


async def test_diff_works_while_files_change(para: Para, api: Any) -> None:
    session = await para.call("para.start", name="fix")
    container = session["container"]["name"]
    engine.run(api, container, "echo more >> README.md; mkdir still; echo new > still/new.txt")
    churn = "while :; do mkdir -p d$0 && touch d$0/{1..500} && rm -rf d$0; done"
    for number in ("1", "2"):
        made = api.exec_create(
            container, ["bash", "-c", churn, number], user="para", workdir="/para-session"
        )
        api.exec_start(made["Id"], detach=True)
    for _ in range(4):
        shown = await para.call("para.diff", name="fix")
        changed = {file["path"] for file in shown["files"]}
        assert {"README.md", "still/new.txt"} <= changed
        assert "+more" in shown["patch"]
