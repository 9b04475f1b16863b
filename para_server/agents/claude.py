"""The profile of Claude Code.

Its hooks are in managed settings, which neither a repository nor the agent can change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from para_server.agents.profile import ARGS, CONVERSATION, HOOK, PROMPT, Profile

_MANAGED: Final = "/etc/claude-code/managed-settings.d/50-para.json"
_ADDRESS: Final = "ANTHROPIC_BASE_URL"
_KEY: Final = "PARA_ANTHROPIC_API_KEY"
# event -> arguments of the hook: the state, and `kept` for an event that is logged
_EVENTS: Final = {
    "UserPromptSubmit": "working kept",
    "PreToolUse": "working kept",
    "PostToolUse": "working",
    "PostToolUseFailure": "working",
    "PermissionRequest": "waiting kept",
    "Elicitation": "waiting kept",
    "Stop": "done kept",
    "StopFailure": "failed kept",
}
# the keys of a tool's input that describe it best, in this order
_DETAIL_KEYS: Final = "command file_path notebook_path url query pattern path description".split()


def _managed_settings(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the managed settings' path and content from the user's environment variables."""
    hooks = {
        event: [{"hooks": [{"type": "command", "command": f"{HOOK} {meaning}"}]}]
        for event, meaning in _EVENTS.items()
    }
    settings: dict[str, object] = {
        "hooks": hooks,
        "skipDangerousModePermissionPrompt": True,
        # set even if it is the default, since a repository's settings could change it
        "env": {_ADDRESS: variables.get(_ADDRESS, "https://api.anthropic.com")},
    }
    if _KEY in variables:
        settings["apiKeyHelper"] = f"printenv {_KEY}"
    return {_MANAGED: json.dumps(settings, indent=1)}


def _detail(event: Mapping[str, object]) -> str:
    tool, tool_input = event.get("tool_name"), event.get("tool_input")
    match event.get("hook_event_name"):
        case "PermissionRequest" if tool == "AskUserQuestion":
            return f"question: {_first_question(tool_input)}"
        case "PermissionRequest":
            return f"permission: {_describe_use(tool, tool_input)}"
        case "Elicitation":
            return f"question: {event.get('message', '')}"
        case "PreToolUse":
            return _describe_use(tool, tool_input)
        case "Stop" | "StopFailure":
            return str(event.get("last_assistant_message") or event.get("error") or "")
        case _:
            return ""


def _log_line(event: Mapping[str, object]) -> str:
    match event.get("hook_event_name"):
        case "UserPromptSubmit":
            return f"> {event.get('prompt', '')}"
        case "PreToolUse" | "PermissionRequest" | "Elicitation":
            return f"* {_detail(event)}"
        case _:
            return _detail(event)


def _describe_use(tool: object, tool_input: object) -> str:
    values = tool_input if isinstance(tool_input, Mapping) else {}
    detail = next((values[key] for key in _DETAIL_KEYS if isinstance(values.get(key), str)), "")
    return f"{tool}: {detail}" if detail else str(tool)


def _first_question(tool_input: object) -> str:
    questions = tool_input.get("questions") if isinstance(tool_input, Mapping) else None
    first = questions[0] if isinstance(questions, list) and questions else None
    return str(first.get("question", "")) if isinstance(first, Mapping) else ""


CLAUDE: Final = Profile(
    name="claude",
    title="Claude Code",
    start=("claude", "--session-id", CONVERSATION, ARGS, "--", PROMPT),
    resume=("claude", "--resume", CONVERSATION, ARGS, "--", PROMPT),
    reopen=("claude", "--resume", CONVERSATION, ARGS),
    on_host=("claude", "--", PROMPT),
    skip=("--dangerously-skip-permissions",),
    ask=("--permission-mode", "manual"),
    manner="terminal",
    environment={"CLAUDE_CODE_SANDBOXED": "1"},  # don't ask whether the folder is trusted
    renames={"ANTHROPIC_API_KEY": _KEY},  # under its own name, Claude Code asks about it
    seeds={".claude.json": '{"hasCompletedOnboarding": true}'},
    keeps=(".claude/projects",),
    conversation=".claude/projects/-para-session/{conversation}.jsonl",
    status=".claude/sessions/{pid}.json",
    files=_managed_settings,
    detail=_detail,
    line=_log_line,
)
