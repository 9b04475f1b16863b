"""The facts of Claude Code.

Its hooks stand in managed settings, which neither a repository nor the agent can change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from para_server.agents.profile import ARGS, CONVERSATION, HOOK, PROMPT, Profile

_MANAGED: Final = "/etc/claude-code/managed-settings.d/50-para.json"
_ADDRESS: Final = "ANTHROPIC_BASE_URL"
_KEY: Final = "PARA_ANTHROPIC_API_KEY"
# event -> what it means; `kept` events make up the log
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
# of a tool's input, what tells a person most
_DETAIL_KEYS: Final = "command file_path notebook_path url query pattern path description".split()


def _managed_settings(given: Mapping[str, str]) -> dict[str, str]:
    """Write the managed settings; `given` are variables of the user's for container and agent."""
    hooks = {
        event: [{"hooks": [{"type": "command", "command": f"{HOOK} {meaning}"}]}]
        for event, meaning in _EVENTS.items()
    }
    settings: dict[str, object] = {
        "hooks": hooks,
        "skipDangerousModePermissionPrompt": True,
        # also where it is what it would be anyway: a repository's settings could change it
        "env": {_ADDRESS: given.get(_ADDRESS, "https://api.anthropic.com")},
    }
    if _KEY in given:
        settings["apiKeyHelper"] = f"printenv {_KEY}"
    return {_MANAGED: json.dumps(settings, indent=1)}


def _detail(event: Mapping[str, object]) -> str:
    tool, asked = event.get("tool_name"), event.get("tool_input")
    match event.get("hook_event_name"):
        case "PermissionRequest" if tool == "AskUserQuestion":
            return f"question: {_first_question(asked)}"
        case "PermissionRequest":
            return f"permission: {_describe_use(tool, asked)}"
        case "Elicitation":
            return f"question: {event.get('message', '')}"
        case "PreToolUse":
            return _describe_use(tool, asked)
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


def _describe_use(tool: object, asked: object) -> str:
    values = asked if isinstance(asked, Mapping) else {}
    telling = next((values[key] for key in _DETAIL_KEYS if isinstance(values.get(key), str)), "")
    return f"{tool}: {telling}" if telling else str(tool)


def _first_question(asked: object) -> str:
    questions = asked.get("questions") if isinstance(asked, Mapping) else None
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
    environment={"CLAUDE_CODE_SANDBOXED": "1"},  # no question whether the folder is trusted
    renames={"ANTHROPIC_API_KEY": _KEY},  # by its own name it is asked about
    seeds={".claude.json": '{"hasCompletedOnboarding": true}'},
    keeps=(".claude/projects",),
    conversation=".claude/projects/-para-session/{conversation}.jsonl",
    status=".claude/sessions/{pid}.json",
    files=_managed_settings,
    detail=_detail,
    line=_log_line,
)
