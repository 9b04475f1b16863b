"""Define the profile of an agent and fill in its command lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from para_server.core.container_spec import AGENT_FOLDER

PROMPT: Final = "{prompt}"  # the prompt: a whole argument, or the end of one
PROMPT_FILE: Final = "{promptFile}"  # the file in the container that has the prompt
CONVERSATION: Final = "{conversation}"  # the conversation's id, which para generates
ARGS: Final = "{args}"  # the arguments of permissions and settings
HOOK: Final = f"bash {AGENT_FOLDER}/in/hook.sh"  # followed by the state that an event means
KEPT: Final = f"{AGENT_FOLDER}/kept"  # a folder on the host, which outlives the container
CONTINUE_PROMPT: Final = "You were interrupted. Go on with your task from where you were."
_PROMPT_PATH: Final = f"{AGENT_FOLDER}/in/prompt"
_READ_PROMPT_FILE: Final = (
    f"Your task is in the file {_PROMPT_PATH}. Read all of it, and do what it says."
)
_MAX_ARGUMENT: Final = 120 << 10  # bytes; Linux takes less than 128 KiB as one argument

Argv = tuple[str, ...]
Event = Mapping[str, object]


def _no_files(_variables: Mapping[str, str]) -> Mapping[str, str]:
    return {}


def _no_text(_event: Event) -> str:
    return ""


@dataclass(frozen=True)
class Profile:
    """The command lines, files and other facts of an agent.

    Command lines are argument lists and pass through no shell. `start` begins a conversation,
    `resume` continues one with a prompt, `reopen` without one. An agent without `resume` can only
    start a new conversation. `skip` and `ask` are the arguments for the two settings of
    permissions. `on_host` is the command line that a user runs in a worktree. `manner` is
    `terminal` for an agent that draws on a terminal and reads more prompts there, `prints` for one
    that prints the output of one turn and exits.
    """

    name: str
    title: str
    start: Argv
    on_host: Argv
    resume: Argv = ()
    reopen: Argv = ()
    skip: Argv = ()
    ask: Argv = ()
    needs_login: bool = True
    manner: Literal["terminal", "prints"] = "prints"
    signal: str = "TERM"  # ends the agent gracefully
    environment: Mapping[str, str] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)  # of the variables with secrets
    # all below the home of `para`: files that are created if missing, folders with conversations
    # (links to KEPT), a file that each conversation has, and the agent's own status file
    seeds: Mapping[str, str] = field(default_factory=dict)
    keeps: tuple[str, ...] = ()
    conversation: str = ""
    status: str = ""
    # read-only files by their path in the container, from the user's environment variables
    files: Callable[[Mapping[str, str]], Mapping[str, str]] = _no_files
    # the text of a hook's event: as the detail of the state, and as a line of the log
    detail: Callable[[Event], str] = _no_text
    line: Callable[[Event], str] = _no_text


def fill_command_line(
    template: Argv, prompt: str, conversation: str, args: Sequence[str]
) -> list[str]:
    """Return a command line with its prompt; a prompt too long for an argument is read from a file.

    `conversation` is the id that replaces CONVERSATION, `args` are the arguments for ARGS.
    """
    text = _READ_PROMPT_FILE if len(prompt.encode()) > _MAX_ARGUMENT else prompt
    values = {PROMPT_FILE: _PROMPT_PATH, CONVERSATION: conversation}
    filled: list[str] = []
    for word in template:
        filled += list(args) if word == ARGS else [values.get(word) or _fill_word(word, text)]
    return filled


def fill_host_command_line(profile: Profile, prompt: str) -> list[str]:
    """Return the command line that a user runs in a worktree."""
    return [_fill_word(word, prompt) for word in profile.on_host]


def _fill_word(word: str, prompt: str) -> str:
    return f"{word.removesuffix(PROMPT)}{prompt}" if word.endswith(PROMPT) else word
