"""The facts of Claude Code."""

from typing import Final

from para_server.agents.profile import ARGS, CONVERSATION, PROMPT, Profile

CLAUDE: Final = Profile(
    name="claude",
    title="Claude Code",
    start=("claude", "--session-id", CONVERSATION, ARGS, "--", PROMPT),
    resume=("claude", "--resume", CONVERSATION, ARGS, "--", PROMPT),
    reopen=("claude", "--resume", CONVERSATION, ARGS),
    on_host=("claude", PROMPT),
    skip=("--dangerously-skip-permissions",),
    manner="terminal",
    keeps=(".claude/projects",),
    conversation=".claude/projects/-para-session/{conversation}.jsonl",
)
