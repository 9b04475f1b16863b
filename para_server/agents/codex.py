"""The profile of OpenAI Codex."""

from typing import Final

from para_server.agents.profile import ARGS, PROMPT, Profile

CODEX: Final = Profile(
    name="codex",
    title="OpenAI Codex",
    start=("codex", "exec", ARGS, "--", PROMPT),
    resume=("codex", "exec", "resume", "--last", ARGS, "--", PROMPT),
    on_host=("codex", "--", PROMPT),
    skip=("--dangerously-bypass-approvals-and-sandbox",),
    keeps=(".codex/sessions",),
)
