"""Describe how to log in to each agent, and read and verify its login."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from para_server.agents.profile import Argv
from para_server.core.errors import ParaError, Remedy
from para_server.core.model import Model
from para_server.core.results import LoginState
from para_server.core.untrusted import read_bounded

SHARED_FOLDER: Final = "/para-login"
_MAX_FILE: Final = 4 << 20  # bytes of a file with a login
_MAX_EXPIRY: Final = 4102444800  # 2100-01-01; a later expiry counts as none
# the histories of shells and tools, which could identify the user who logged in
_TRACES: Final = (".bash_history", ".zsh_history", ".node_repl_history", ".lesshst", ".npm")


@dataclass(frozen=True)
class Login:
    """An agent's login: its command and files; paths are below the home of `para`.

    `files` contain only the login, `parts` are JSON files that contain it under these keys. Each of
    `variables` can have a login instead. `shared` are variables that make the agent store its login
    in the shared folder, where it locks it; without them a login cannot be shared. `traces` are
    files that could identify the user or the container.
    """

    command: Argv
    files: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    shared: Mapping[str, str] = field(default_factory=dict)
    traces: tuple[str, ...] = ()


LOGINS: Final = {
    "claude": Login(
        command=("claude", "auth", "login"),
        files=(".claude/.credentials.json",),
        parts={".claude.json": ("oauthAccount", "primaryApiKey", "customApiKeyResponses")},
        variables=("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        shared={"CLAUDE_SECURESTORAGE_CONFIG_DIR": SHARED_FOLDER},
        traces=(".claude/backups", ".claude/telemetry", ".claude/history.jsonl", ".claude/debug"),
    ),
    "codex": Login(
        command=("codex", "login"),
        files=(".codex/auth.json",),
        variables=("CODEX_API_KEY", "OPENAI_API_KEY"),
        traces=(".codex/history.jsonl", ".codex/log", ".codex/tmp", ".codex/installation_id"),
    ),
    "gemini": Login(
        command=("gemini",),
        files=(".gemini/oauth_creds.json", ".gemini/google_accounts.json"),
        variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        traces=(".gemini/tmp", ".gemini/history", ".gemini/installation_id"),
    ),
    "opencode": Login(
        command=("opencode", "auth", "login"),
        files=(".local/share/opencode/auth.json",),
        variables=("ANTHROPIC_API_KEY", "OPENAI_API_KEY"),
        traces=(".local/share/opencode/log",),
    ),
}


class LoginReport(Model):
    """A container's report on its login, with the verdict of the agent's API."""

    present: bool
    verdict: Literal["accepted", "refused", "silent"]
    expires_at: float | None
    renews: bool

    @property
    def expiry(self) -> datetime | None:
        """Return when the login expires; None if unknown."""
        if self.expires_at is None or not 0 < self.expires_at < _MAX_EXPIRY:
            return None
        return datetime.fromtimestamp(int(self.expires_at), UTC)

    @property
    def state(self) -> LoginState:
        """Return the login's state, from the API's verdict and the expiry."""
        if not self.present:
            return "missing"
        if self.verdict == "accepted":
            return "valid"
        over = self.expiry is not None and self.expiry <= datetime.now(UTC)
        return "expired" if over or self.verdict == "refused" else "unknown"


def report_command(agent: str) -> Argv:
    """Return the command that reports on a login in its container."""
    return ("node", "-e", _script(), "report", agent)


def remove_traces_command(agent: str) -> Argv:
    """Return the command that removes files and ids that identify the user or the container."""
    return ("node", "-e", _script(), "removeTraces", agent, *_TRACES, *LOGINS[agent].traces)


def parse_report(output: str) -> LoginReport:
    """Return the login report in a container's output; raises engine.refused if there is none."""
    try:
        return LoginReport.model_validate_json(output.strip().rpartition("\n")[2])
    except ValidationError:
        raise ParaError("engine.refused", "The login container did not report a login") from None


def read_host_login(agent: str, home: Path) -> dict[str, bytes]:
    """Return the files of a user's login, without other content; raises auth.missing."""
    login = LOGINS[agent]
    contents: dict[str, bytes] = {}
    for path in login.files:
        content = read_bounded(home / path, _MAX_FILE)
        if content is not None:
            contents[path] = content
    for path, keys in login.parts.items():
        part = _select_keys(read_bounded(home / path, _MAX_FILE) or b"", keys)
        if part:
            contents[path] = json.dumps(part).encode()
    if not contents:
        raise ParaError(
            "auth.missing",
            f"There is no login of {agent} to copy: {home / login.files[0]} does not exist",
            Remedy(title="Log in", command="para.auth.setup", params={"agent": agent}),
        )
    return contents


def _select_keys(content: bytes, keys: tuple[str, ...]) -> dict[str, object]:
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    if not isinstance(document, dict):
        return {}
    return {key: document[key] for key in keys if key in document}


def _script() -> str:
    return (resources.files(__package__) / "login.js").read_text()
