"""The only place that knows of each agent how a person logs in, and where its login is kept."""

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
_MAX_FILE: Final = 4 << 20  # bytes of a file that holds a login
_MAX_EXPIRY: Final = 4102444800  # 2100-01-01: what claims to be valid for longer has no end
# what shells and the like remember, and would say of whoever logged in
_TRACES: Final = (".bash_history", ".zsh_history", ".node_repl_history", ".lesshst", ".npm")


@dataclass(frozen=True)
class Login:
    """How one logs in to an agent; paths are beneath the home of `para`.

    `files` hold the login, and `parts` are files that have it beside other things: only the keys
    named here are of it. `variables` are those that each can hold a login. `shared` are variables
    that have the agent keep its login in the shared folder, where it guards it by a lock; without
    them a login cannot be shared.
    """

    command: Argv
    files: tuple[str, ...]
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variables: tuple[str, ...] = ()
    shared: Mapping[str, str] = field(default_factory=dict)
    litter: tuple[str, ...] = ()


LOGINS: Final = {
    "claude": Login(
        command=("claude", "auth", "login"),
        files=(".claude/.credentials.json",),
        parts={".claude.json": ("oauthAccount", "primaryApiKey", "customApiKeyResponses")},
        variables=("CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
        shared={"CLAUDE_SECURESTORAGE_CONFIG_DIR": SHARED_FOLDER},
        litter=(".claude/backups", ".claude/telemetry", ".claude/history.jsonl", ".claude/debug"),
    ),
    "codex": Login(
        command=("codex", "login"),
        files=(".codex/auth.json",),
        variables=("CODEX_API_KEY", "OPENAI_API_KEY"),
        litter=(".codex/history.jsonl", ".codex/log", ".codex/tmp", ".codex/installation_id"),
    ),
    "gemini": Login(
        command=("gemini",),
        files=(".gemini/oauth_creds.json", ".gemini/google_accounts.json"),
        variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        litter=(".gemini/tmp", ".gemini/history", ".gemini/installation_id"),
    ),
    "opencode": Login(
        command=("opencode", "auth", "login"),
        files=(".local/share/opencode/auth.json",),
        variables=("ANTHROPIC_API_KEY", "OPENAI_API_KEY"),
        litter=(".local/share/opencode/log",),
    ),
}


class LoginReport(Model):
    """What a container said of the login in it, and what the agent's API makes of it."""

    present: bool
    verdict: Literal["accepted", "refused", "silent"]
    expires_at: float | None
    renews: bool

    @property
    def expiry(self) -> datetime | None:
        """Say when the login ends, as far as it says so itself."""
        if self.expires_at is None or not 0 < self.expires_at < _MAX_EXPIRY:
            return None
        return datetime.fromtimestamp(int(self.expires_at), UTC)

    @property
    def state(self) -> LoginState:
        """Judge a login: that it is there does not mean that it is good."""
        if not self.present:
            return "missing"
        if self.verdict == "accepted":
            return "valid"
        over = self.expiry is not None and self.expiry <= datetime.now(UTC)
        return "expired" if over or self.verdict == "refused" else "unknown"


def report_command(agent: str) -> Argv:
    """Give the command that tells of a login, in its container."""
    return ("node", "-e", _script(), "tell", agent)


def forget_command(agent: str) -> Argv:
    """Give the command that takes away what would tell one container from another."""
    return ("node", "-e", _script(), "forget", agent, *_TRACES, *LOGINS[agent].litter)


def parse_report(output: str) -> LoginReport:
    """Read what the container said; raises engine.refused where it is no answer."""
    try:
        return LoginReport.model_validate_json(output.strip().rpartition("\n")[2])
    except ValidationError:
        raise ParaError("engine.refused", "The login's container did not answer") from None


def read_host_login(agent: str, home: Path) -> dict[str, bytes]:
    """Read the login that a user has, and nothing that stands beside it; raises auth.missing."""
    login = LOGINS[agent]
    found: dict[str, bytes] = {}
    for path in login.files:
        content = read_bounded(home / path, _MAX_FILE)
        if content is not None:
            found[path] = content
    for path, keys in login.parts.items():
        part = _select_keys(read_bounded(home / path, _MAX_FILE) or b"", keys)
        if part:
            found[path] = json.dumps(part).encode()
    if not found:
        raise ParaError(
            "auth.missing",
            f"There is no login of {agent} to copy: {home / login.files[0]} is not there",
            Remedy(title="Log in", command="para.auth.setup", params={"agent": agent}),
        )
    return found


def _select_keys(content: bytes, keys: tuple[str, ...]) -> dict[str, object]:
    try:
        whole = json.loads(content)
    except ValueError:
        return {}
    return {key: whole[key] for key in keys if key in whole} if isinstance(whole, dict) else {}


def _script() -> str:
    return (resources.files(__package__) / "login.js").read_text()
