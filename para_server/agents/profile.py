"""The only place that knows which facts there are of an agent: the shape of a profile."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from para_server.core.container_spec import AGENT_FOLDER

PROMPT: Final = "{prompt}"  # the task: an argument of its own, or the end of one
PROMPT_FILE: Final = "{promptFile}"  # the file in the container that holds the task
CONVERSATION: Final = "{conversation}"  # the id that para gave the conversation
ARGS: Final = "{args}"  # what permissions and settings add
HOOK: Final = f"bash {AGENT_FOLDER}/in/hook.sh"  # with a state: what tells it, from its own hooks
KEPT: Final = f"{AGENT_FOLDER}/kept"  # outlasts the container
CONTINUE_PROMPT: Final = "You were interrupted. Go on with your task from where you were."
_PROMPT_PATH: Final = f"{AGENT_FOLDER}/in/prompt"
_READ_PROMPT_FILE: Final = (
    f"Your task is in the file {_PROMPT_PATH}. Read all of it, and do what it says."
)
_MAX_ARGUMENT: Final = 120 << 10  # bytes; Linux takes less than 128 KiB as one argument

Argv = tuple[str, ...]
Event = Mapping[str, object]


def _no_files(_given: Mapping[str, str]) -> Mapping[str, str]:
    return {}


def _no_text(_event: Event) -> str:
    return ""


@dataclass(frozen=True)
class Profile:
    """An agent as a table of facts.

    Command lines are argument lists and pass through no shell. `start` takes up a task, `resume`
    goes on with a conversation and has a prompt, `reopen` has none. Without `resume` the agent
    can only begin anew. `skip` and `ask` are the arguments for the two kinds of permissions.
    `on_host` is the command line that a person runs in a worktree. `manner` is `terminal` for what
    draws on one and takes more text there, `prints` for what does one turn and ends.
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
    signal: str = "TERM"  # ends it gently
    environment: Mapping[str, str] = field(default_factory=dict)
    renames: Mapping[str, str] = field(default_factory=dict)  # of secrets, on their way to it
    # all beneath the home of `para`: files made where they are missing, folders that hold
    # conversations (they are links to KEPT), a file that each conversation has, and the file in
    # which the agent tells its status
    seeds: Mapping[str, str] = field(default_factory=dict)
    keeps: tuple[str, ...] = ()
    conversation: str = ""
    status: str = ""
    # read-only files by their path in the container, from the variables that the user gives it
    files: Callable[[Mapping[str, str]], Mapping[str, str]] = _no_files
    # what a person is told of an event of its hooks: as the detail of its state, and in the log
    detail: Callable[[Event], str] = _no_text
    line: Callable[[Event], str] = _no_text


def fill_command_line(
    template: Argv, prompt: str, conversation: str, args: Sequence[str]
) -> list[str]:
    """Fill a command line in; what is too long for an argument is read from the file."""
    told = _READ_PROMPT_FILE if len(prompt.encode()) > _MAX_ARGUMENT else prompt
    given = {PROMPT_FILE: _PROMPT_PATH, CONVERSATION: conversation}
    filled: list[str] = []
    for word in template:
        filled += list(args) if word == ARGS else [given.get(word) or _fill_word(word, told)]
    return filled


def on_host(profile: Profile, prompt: str) -> list[str]:
    """Fill in the command line that a person runs in a worktree."""
    return [_fill_word(word, prompt) for word in profile.on_host]


def _fill_word(word: str, prompt: str) -> str:
    return f"{word.removesuffix(PROMPT)}{prompt}" if word.endswith(PROMPT) else word
