"""The profile of `command`, which runs the prompt as a bash script."""

from typing import Final

from para_server.agents.profile import PROMPT, PROMPT_FILE, Profile

COMMAND: Final = Profile(
    name="command",
    title="the prompt as a bash command",
    start=("bash", PROMPT_FILE),
    on_host=("bash", "-c", PROMPT),
    needs_login=False,
)
