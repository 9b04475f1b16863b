"""The facts of `command`: the prompt is a script for bash."""

from typing import Final

from para_server.agents.profile import PROMPT, PROMPT_FILE, Profile

COMMAND: Final = Profile(
    name="command",
    title="the prompt as a command of bash",
    start=("bash", PROMPT_FILE),
    on_host=("bash", "-c", PROMPT),
    needs_login=False,
)
