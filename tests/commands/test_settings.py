"""Precedence of settings, and limits for repositories."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from para_server.core.settings import section_models
from tests import scratch
from tests.client import Para
from tests.scratch import Repository

WITHOUT_ENGINE = {"PARA_CONTAINER_ENABLED": "false", "DOCKER_HOST": "unix:///nowhere/docker.sock"}
Servers = Callable[..., Awaitable[Para]]

OF_REPO = {
    "container.image",
    "container.setupScript",
    "container.env",
    "agent.name",
}
BEYOND = sorted(
    f"{section}.{field.alias}"
    for section, model in section_models().items()
    for field in model.model_fields.values()
    if f"{section}.{field.alias}" not in OF_REPO
)


def config(environ: dict[str, str], text: str) -> None:
    """Write the user's own settings."""
    folder = Path(environ["PARA_CONFIG_HOME"])
    folder.mkdir(exist_ok=True)
    (folder / "config.toml").write_text(text)


async def prefix_of(para: Para, name: str, **params: object) -> str:
    """Return the branch prefix in effect."""
    session = await para.call("para.start", name=name, **params)
    return str(session["branch"]).removesuffix(name)


async def test_later_settings_layers_override_earlier_ones(
    servers: Servers, environ: dict[str, str]
) -> None:
    para = await servers(extra=WITHOUT_ENGINE)
    assert await prefix_of(para, "one") == "para/"
    config(environ, 'git.branchPrefix = "user/"')
    assert await prefix_of(para, "two") == "user/"
    env = {**WITHOUT_ENGINE, "PARA_GIT_BRANCH_PREFIX": "env/"}
    para = await servers(extra=env)
    assert await prefix_of(para, "three") == "env/"
    para = await servers(extra=env, settings={"git": {"branchPrefix": "editor/"}})
    assert await prefix_of(para, "four") == "editor/"
    para = await servers(
        extra=env, settings={"git.branchPrefix": "flat/", "git": {"objects": "own"}}
    )
    assert await prefix_of(para, "flat") == "flat/"
    assert await prefix_of(para, "five", branch="own/five") == "own/"


async def test_user_allows_agents_for_repositories(
    servers: Servers, repo: Repository, environ: dict[str, str]
) -> None:
    del environ["PARA_AGENT_NAME"]
    ask = {"prompt": "true", "type": "worktree"}
    para = await servers(extra=WITHOUT_ENGINE)
    config(environ, 'agent.profiles.mine.start = ["mine", "{prompt}"]')
    for name in ("command", "codex", "mine"):
        repo.write(".para.toml", f'agent.name = "{name}"')
        refused = await para.fails("settings.invalid", "para.dispatch", **ask)
        assert "agent.name" in refused.message
        assert refused.data["issues"][0]["path"] == "agent.name"
        session = await para.call("para.dispatch", **ask, name=f"own-{name}", agent=name)
        assert session["branch"] == f"para/own-{name}"
    config(environ, 'agent.allowed = ["codex"]')
    repo.write(".para.toml", 'agent.name = "codex"')
    await para.fails("engine.unreachable", "para.dispatch", prompt="true", type="container")
    await para.call("para.dispatch", **ask, name="tree")  # in which a person's own agent runs
    assert (await para.call("para.open", name="tree"))["terminal"]["command"] == "claude"


async def test_settings_outside_the_repository_decide_the_agent(
    servers: Servers, repo: Repository, environ: dict[str, str]
) -> None:
    del environ["PARA_AGENT_NAME"]
    config(environ, 'agent.name = "of-the-user"')
    repo.write(".para.toml", 'agent.name = "of-the-repo"')
    ask = {"prompt": "true", "type": "container"}
    para = await servers(extra=WITHOUT_ENGINE)
    assert "of-the-repo" in (await para.fails("agent.unknown", "para.dispatch", **ask)).message
    para = await servers(extra={**WITHOUT_ENGINE, "PARA_AGENT_NAME": "of-the-environment"})
    refused = await para.fails("agent.unknown", "para.dispatch", **ask)
    assert "of-the-environment" in refused.message
    refused = await para.fails("agent.unknown", "para.dispatch", **ask, agent="of-the-command")
    assert "of-the-command" in refused.message
    await para.fails("engine.unreachable", "para.dispatch", **ask, agent="command")


async def test_repository_settings_that_reach_the_host_are_refused(
    servers: Servers, repo: Repository
) -> None:
    para = await servers(extra=WITHOUT_ENGINE)
    for key in BEYOND:
        repo.write(".para.toml", f"{key} = 1\n")
        refused = await para.fails("settings.invalid", "para.start")
        assert key in refused.message
        assert refused.data["issues"][0]["path"] == key
    assert BEYOND


async def test_trusted_repository_sets_everything(servers: Servers, repo: Repository) -> None:
    repo.write(".para.toml", 'git.branchPrefix = "theirs/"')
    trusting = await servers(extra=WITHOUT_ENGINE, trusted=True)
    assert await prefix_of(trusting, "one") == "theirs/"
    within = await servers(extra=WITHOUT_ENGINE, folders=[repo.path / "src"], trusted=True)
    assert await prefix_of(within, "two") == "theirs/"
    for said in (repo.path.as_uri(), str(repo.path)):
        named = await servers(extra=WITHOUT_ENGINE, trusted=[said])
        assert await prefix_of(named, f"named-{len(said)}") == "theirs/"
    for wrong in ("yes", None, [], [7, "src"]):
        wary = await servers(extra=WITHOUT_ENGINE, trusted=wrong)
        await wary.fails("settings.invalid", "para.start")


async def test_trust_applies_to_one_repository(
    servers: Servers, repo: Repository, tmp_path: Path
) -> None:
    nested = scratch.make(repo.path / "vendor/nested")
    others = [scratch.make(tmp_path / "other"), scratch.make(tmp_path / "repo2"), nested]
    for other in others:
        other.write(".para.toml", 'git.branchPrefix = "theirs/"')
    for said in (True, [str(repo.path)]):
        para = await servers(extra=WITHOUT_ENGINE, trusted=said)
        for other in others:
            refused = await para.fails("settings.invalid", "para.start", repo=str(other.path))
            assert "git.branchPrefix" in refused.message
    repo.write(".para.toml", 'git.branchPrefix = "theirs/"')
    for folder in (nested.path, tmp_path):
        inside = await servers(extra=WITHOUT_ENGINE, folders=[folder], trusted=True)
        await inside.fails("settings.invalid", "para.start", repo=str(repo.path))
    parted = await servers(extra=WITHOUT_ENGINE, folders=[repo.path, nested.path], trusted=[])
    await parted.fails("settings.invalid", "para.start", repo=str(nested.path))


async def test_repository_variables_reach_its_container(para: Para, repo: Repository) -> None:
    repo.write(".para.toml", '[container.env]\nGREETING = "hello there"\n')
    await para.call("para.dispatch", prompt='echo "<$GREETING>"', name="fix")
    await para.agent("fix", "done")
    assert "<hello there>" in (await para.call("para.logs", name="fix"))["text"]


WRONG = [
    ("container = 1", "container"),
    ("container.cpus = 'many'", "container.cpus"),
    ("git.objects = 'stolen'", "git.objects"),
    ("[container", "config.toml"),
    ("container.cpus = 1\ncontainer.cpus = 2", "config.toml"),
]


async def test_invalid_user_settings_are_named(servers: Servers, environ: dict[str, str]) -> None:
    para = await servers(extra=WITHOUT_ENGINE)
    for text, says in WRONG:
        config(environ, text)
        refused = (await para.fails("settings.invalid", "para.start")).message
        assert says in refused
        assert "config.toml" in refused
        checks = (await para.call("para.doctor"))["checks"]
        (found,) = [check for check in checks if check["name"] == "settings"]
        assert (found["ok"], found["problem"]["slug"]) == (False, "settings.invalid")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"container": {"cpus": "many"}}, "container.cpus"),
        ({"container": {"colour": 1}}, "container.colour"),
        ({"git": {"objects": None, "branchPrefix": 7}}, "git.branchPrefix"),
    ],
)
async def test_invalid_editor_settings_are_named(
    servers: Servers, settings: dict[str, Any], key: str
) -> None:
    para = await servers(extra=WITHOUT_ENGINE, settings=settings)
    assert key in (await para.fails("settings.invalid", "para.start")).message


@pytest.mark.parametrize("where", ["file", "environment", "repository"])
async def test_remedy_of_an_invalid_setting_names_its_source(
    servers: Servers, environ: dict[str, str], repo: Repository, where: str
) -> None:
    extra = dict(WITHOUT_ENGINE)
    if where == "file":
        config(environ, "container.pids = 'many'")
    elif where == "environment":
        extra["PARA_CONTAINER_MAX_RUNNING"] = "many"
    else:
        repo.write(".para.toml", "container.setupScript = 7\n")
    para = await servers(extra=extra)
    (remedy,) = (await para.fails("settings.invalid", "para.start")).remedies
    if where == "file":
        assert remedy["setting"] == "container.pids"
    elif where == "environment":
        assert "unset PARA_CONTAINER_MAX_RUNNING" in remedy["title"]
    else:
        assert remedy["title"] == "Correct it in .para.toml"


async def test_unset_and_foreign_editor_settings_are_ignored(servers: Servers) -> None:
    settings = {"git": {"branchPrefix": None}, "trace": {"server": "off"}, "container": None}
    para = await servers(extra=WITHOUT_ENGINE, settings=settings)
    assert await prefix_of(para, "one") == "para/"


async def test_settings_link_out_of_the_repository_is_not_read(
    servers: Servers, repo: Repository, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("token = 'abc123'")
    (repo.path / ".para.toml").symlink_to(secret)
    para = await servers(extra=WITHOUT_ENGINE)
    refused = await para.fails("settings.invalid", "para.start")
    assert "abc123" not in str(refused)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("agent = 'command'", "agent is a section: write its settings below a line [agent]"),
        ("[container", "is not a valid TOML file: Expected ']'"),
    ],
)
async def test_settings_errors_are_readable(
    servers: Servers, environ: dict[str, str], text: str, told: str
) -> None:
    config(environ, text)
    para = await servers(extra=WITHOUT_ENGINE)
    refused = await para.fails("settings.invalid", "para.start")
    file = str(Path(environ["PARA_CONFIG_HOME"]) / "config.toml")
    assert refused.message.startswith(file)
    assert told in refused.message
    assert [remedy.get("setting") for remedy in refused.remedies if remedy.get("setting")] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[container]\nmaxRuning = 3",
            "unknown setting container.maxRuning; did you mean container.maxRunning",
        ),
        (
            "[Container]\nmemory = '1g'",
            "unknown setting Container.memory; did you mean container.memory",
        ),
        ("[agent]\nmemory = '1g'", "unknown setting agent.memory; did you mean container.memory"),
        ("[container]\nzzzzzz = 1", "unknown setting container.zzzzzz"),
        ("[zzzzzz]\nnumber = 1", "unknown setting zzzzzz.number"),
    ],
)
async def test_unknown_user_setting_is_ignored_with_a_warning(
    servers: Servers, environ: dict[str, str], text: str, message: str
) -> None:
    config(environ, f"git.branchPrefix = 'mine/'\n{text}")  # as a newer para may have written it
    para = await servers(extra=WITHOUT_ENGINE)
    assert await prefix_of(para, "one") == "mine/"
    file = str(Path(environ["PARA_CONFIG_HOME"]) / "config.toml")
    logged = [one.message for one in para.lsp.log_messages if message in one.message]
    assert logged == [f"ignored: {file}: {message}"]
    checks = {check["name"]: check for check in (await para.call("para.doctor"))["checks"]}
    assert (checks["settings"]["ok"], checks["settings"]["level"]) == (False, "warning")
    assert checks["settings"]["detail"] == f"{file}: {message}"
    assert [remedy["title"] for remedy in checks["settings"]["problem"]["remedies"]] == [
        f"Remove or correct it in {file}"
    ]


async def test_invalid_param_has_no_settings_remedy(servers: Servers) -> None:
    para = await servers(extra=WITHOUT_ENGINE)
    refused = await para.fails("settings.invalid", "para.start", network="brigde")
    assert [remedy["title"] for remedy in refused.remedies] == ["Correct it in the command"]
