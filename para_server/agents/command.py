"""The facts of `command`: the prompt is a shell script."""

from typing import Final

from para_server.agents.profile import PROMPT, PROMPT_FILE, Profile

COMMAND: Final = Profile(
    name="command",
    title="the prompt as a shell command",
    start=("sh", PROMPT_FILE),
    on_host=("sh", "-c", PROMPT),
    needs_login=False,
)
