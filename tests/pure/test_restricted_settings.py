"""Settings of an untrusted repository."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from para_server.agents.profiles import PROFILES
from para_server.core.container_variables import refusal_reason
from para_server.core.errors import ParaError
from para_server.core.repository_settings import normalize_image
from para_server.core.settings import AGENTS, Settings
from para_server.settings_sources import merge_layers, read_layers


def merge(
    tmp_path: Path, of_repo: str, of_user: str = "", environ: dict[str, str] | None = None
) -> Settings:
    """Return the settings with those of an untrusted repository."""
    (tmp_path / ".para.toml").write_text(of_repo)
    config = tmp_path / "config"
    config.mkdir(exist_ok=True)
    (config / "config.toml").write_text(of_user)
    return merge_layers(read_layers(config, tmp_path, environ or {}, {}, trusted=False))


def refused_key(tmp_path: Path, of_repo: str, of_user: str = "") -> str:
    """Return the refused key of a repository's settings."""
    with pytest.raises(ParaError) as caught:
        merge(tmp_path, of_repo, of_user)
    problem = caught.value.problem
    assert (problem.slug, bool(problem.issues)) == ("settings.invalid", True)
    assert problem.issues is not None
    path = problem.issues[0].path
    assert f".para.toml may not set {path}" in problem.message
    return path


@pytest.mark.parametrize(
    "name",
    """
    LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT ld_preload GLIBC_TUNABLES GCONV_PATH LOCPATH HOSTALIASES
    PATH HOME SHELL ENV BASH_ENV BASH_FUNC_git%% BASHOPTS SHELLOPTS IFS PS4 PROMPT_COMMAND ZDOTDIR
    TMPDIR EDITOR VISUAL PAGER GIT_PAGER GIT_EDITOR BROWSER SSH_AUTH_SOCK SSH_ASKPASS
    LANG LC_ALL TERM TERMINFO TMUX TMUX_TMPDIR XDG_CONFIG_HOME
    PYTHONPATH PYTHONSTARTUP PYTHONHOME PYTHONBREAKPOINT PIP_INDEX_URL UV_INDEX_URL
    NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS NODE_TLS_REJECT_UNAUTHORIZED NPM_CONFIG_REGISTRY
    npm_config_script_shell YARN_RC_FILENAME PERL5LIB PERL5OPT RUBYOPT RUBYLIB GEM_HOME
    BUNDLE_GEMFILE PHPRC LUA_PATH JAVA_TOOL_OPTIONS _JAVA_OPTIONS JDK_JAVA_OPTIONS CLASSPATH
    MAVEN_OPTS GRADLE_OPTS CARGO_HOME RUSTC_WRAPPER GOFLAGS GOPROXY DOTNET_STARTUP_HOOKS MAKEFLAGS
    GIT_SSH_COMMAND GIT_CONFIG_COUNT GIT_DIR GH_TOKEN DOCKER_HOST KUBECONFIG
    http_proxy HTTPS_PROXY All_Proxy no_proxy SSL_CERT_FILE SSL_CERT_DIR REQUESTS_CA_BUNDLE
    CURL_CA_BUNDLE AWS_CA_BUNDLE PARA_HOME
    ANTHROPIC_BASE_URL ANTHROPIC_API_KEY CLAUDE_CONFIG_DIR CLAUDE_CODE_OAUTH_TOKEN CLAUDECODE
    OPENAI_API_KEY OPENAI_BASE_URL CODEX_HOME GEMINI_API_KEY GEMINI_CLI_HOME GOOGLE_API_KEY
    GOOGLE_APPLICATION_CREDENTIALS OPENCODE_CONFIG OPENCODE_PERMISSION OPENROUTER_API_KEY
    OTEL_EXPORTER_OTLP_ENDPOINT
    """.split(),
)
def test_variables_that_change_programs_are_refused(tmp_path: Path, name: str) -> None:
    found = refused_key(tmp_path, f'[container.env]\n"{name}" = "x"\n')
    assert found == f"container.env.{name}"
    mine = merge(tmp_path, "", f'[container.env]\n"{name}" = "x"\n')
    assert mine.container.env == {name: "x"}


@pytest.mark.parametrize(
    "name",
    """
    GREETING DATABASE_URL DEBUG CI PORT TZ NODE_ENV RAILS_ENV DJANGO_SETTINGS_MODULE APP_BASE_URL
    FEATURE_FLAG A my_variable PGHOST REDIS_URL LOG_LEVEL STRIPE_API_KEY MYSQL_USER
    """.split(),
)
def test_variables_of_a_project_are_permitted(tmp_path: Path, name: str) -> None:
    assert merge(tmp_path, f'container.env.{name} = "x"').container.env == {name: "x"}
    assert refusal_reason(name) is None


@pytest.mark.parametrize(
    "given", ['"" = "x"', '"A=B" = "x"', '"A\\nB" = "x"', '"A\\u0000" = "x"', 'A = "x\\u0000y"']
)
def test_an_invalid_variable_is_refused(tmp_path: Path, given: str) -> None:
    for of_repo, of_user in ((f"[container.env]\n{given}", ""), ("", f"[container.env]\n{given}")):
        with pytest.raises(ParaError) as caught:
            merge(tmp_path, of_repo, of_user)
        assert caught.value.slug == "settings.invalid"
        assert "container.env" in caught.value.problem.message


def test_a_value_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(ParaError) as caught:
        merge_layers([("the editor", {"container": {"env": {"A": "\ud800"}}})])
    assert "container.env" in caught.value.problem.message


def test_variables_of_the_user_override_those_of_a_repository(tmp_path: Path) -> None:
    mine = 'container.env = { A = "mine", HTTPS_PROXY = "http://mine" }'
    found = merge(tmp_path, 'container.env = { A = "theirs", B = "theirs" }', mine)
    assert found.container.env == {"A": "mine", "B": "theirs", "HTTPS_PROXY": "http://mine"}


@pytest.mark.parametrize(
    "image",
    """
    para-authenticated:latest para-authenticated para-authenticated:codex para-saved:fix-3f9a1c
    docker.io/library/para-authenticated:latest para-base:other para-base@sha256:00 evil/para-base
    sha256:0123456789abcdef 0123456789ab debian:bookworm registry.example/para-agent-x:latest
    """.split(),
)
def test_an_image_that_is_not_allowed_is_refused(tmp_path: Path, image: str) -> None:
    assert refused_key(tmp_path, f'container.image = "{image}"') == "container.image"


@pytest.mark.parametrize(
    ("image", "allowed"),
    [
        ("para-base", None),
        ("para-base:latest", None),
        ("docker.io/library/para-base:latest", None),
        ("para-agent-codex:latest", None),
        ("team/web:3", ["team/*"]),
        ("team/web", ["team/web"]),
        ("anything@sha256:00", ["*"]),
    ],
)
def test_a_repository_can_choose_an_allowed_image(
    tmp_path: Path, image: str, allowed: list[str] | None
) -> None:
    user = "" if allowed is None else f"container.allowedImages = {allowed}"
    assert merge(tmp_path, f'container.image = "{image}"', user).container.image == image


def test_the_image_of_the_user_overrides_that_of_a_repository(tmp_path: Path) -> None:
    for user, environ in (
        ('container.image = "mine:1"', {}),
        ("", {"PARA_CONTAINER_IMAGE": "mine:1"}),
    ):
        for theirs in ("para-base:latest", "para-authenticated:codex"):
            found = merge(tmp_path, f'container.image = "{theirs}"', user, environ)
            assert found.container.image == "mine:1"


@pytest.mark.parametrize(
    "line",
    [
        'agent.args = ["--permission-mode", "bypassPermissions"]',
        'agent.permissions = "skip"',
        'agent.credentials = "env"',
        'agent.env = ["AWS_SECRET_ACCESS_KEY"]',
        'agent.profiles.x.start = ["sh", "-c", "{prompt}"]',
        'agent.allowed = ["command"]',
        'container.allowedImages = ["*"]',
    ],
)
def test_a_repository_cannot_set_how_agents_run(tmp_path: Path, line: str) -> None:
    assert refused_key(tmp_path, line) == line.partition(" =")[0].removesuffix(".x.start")


def test_an_agent_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    for name in AGENTS:
        theirs = f'agent.name = "{name}"'
        if name != "claude":  # the default is the user's own
            assert refused_key(tmp_path, theirs) == "agent.name"
        for user in (f'agent.allowed = ["{name}"]', f'agent.name = "{name}"'):
            assert merge(tmp_path, theirs, user).agent.name == name
        over = merge(tmp_path, theirs, "", {"PARA_AGENT_NAME": "gemini"})
        assert over.agent.name == "gemini"


@pytest.mark.parametrize("value", ["1", "[]", "{}", "true", "[[1]]", "{ A = 1 }", "1979-05-27"])
@pytest.mark.parametrize(
    "key", ["container.image", "container.env", "agent.name", "container", "x"]
)
def test_a_value_of_another_type_is_refused(tmp_path: Path, key: str, value: str) -> None:
    slug: Any = None
    try:
        merge(tmp_path, f"{key} = {value}")
    except ParaError as error:
        slug = error.slug
    assert slug in {None, "settings.invalid"}


def test_the_list_of_agents_is_complete() -> None:
    assert set(AGENTS) == set(PROFILES)


def test_image_names_are_normalized_as_the_engine_does() -> None:
    assert (
        normalize_image("docker.io/library/para-base")
        == normalize_image("para-base:latest")
        == "para-base:latest"
    )
    assert normalize_image("registry:5000/x") == "registry:5000/x:latest"
