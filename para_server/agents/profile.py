"""The only place that knows which facts there are of an agent: the shape of a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

PROMPT: Final = "{prompt}"  # the task, as an argument of its own
PROMPT_FILE: Final = "{promptFile}"  # the file in the container that holds the task
CONVERSATION: Final = "{conversation}"  # the id that para gave the conversation
ARGS: Final = "{args}"  # what permissions and settings add
CUT: Final = "You were interrupted. Go on with your task from where you were."
MAX_ARGUMENT: Final = 120 << 10  # bytes; Linux takes less than 128 KiB as one argument
READ_FILE: Final = "Your task is in the file {promptFile}. Read all of it, and do what it says."

Argv = tuple[str, ...]


@dataclass(frozen=True)
class Profile:
    """An agent as a table of facts.

    Command lines are argument lists and pass through no shell. `start` takes up a task, `resume`
    goes on with a conversation and has a prompt, `reopen` has none. Without `resume` the agent
    can only begin anew. `skip` and `ask` are the arguments for the two kinds of permissions.
    `on_host` is the command line that a person runs in a worktree.
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
    # terminal: it draws on one and takes more text there; prints: it does one turn, and ends
    manner: Literal["terminal", "prints"] = "prints"
    signal: str = "TERM"  # ends it gently
    environment: Mapping[str, str] = field(default_factory=dict)
    # what its conversations live in, beneath the home of `para`, and a file that each one has
    keeps: tuple[str, ...] = ()
    conversation: str = ""
    # files that it reads, each with its path in the container
    files: Mapping[str, str] = field(default_factory=dict)


def command_line(
    template: Argv, *, prompt: str = "", prompt_file: str, conversation: str, args: Sequence[str]
) -> list[str]:
    """Fill a command line in; what is too long for an argument is read from the file."""
    if len(prompt.encode(errors="replace")) > MAX_ARGUMENT:
        prompt = READ_FILE.replace(PROMPT_FILE, prompt_file)
    given = {PROMPT: prompt, PROMPT_FILE: prompt_file, CONVERSATION: conversation}
    filled: list[str] = []
    for word in template:
        filled += list(args) if word == ARGS else [given.get(word, word)]
    return filled
