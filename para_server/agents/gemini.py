"""The profile of Gemini CLI."""

from typing import Final

from para_server.agents.profile import ARGS, PROMPT, Profile

GEMINI: Final = Profile(
    name="gemini",
    title="Gemini CLI",
    # in one argument, since a prompt that begins with - would be parsed as an option
    start=("gemini", ARGS, f"--prompt={PROMPT}"),
    resume=("gemini", ARGS, "-r", "latest", f"--prompt={PROMPT}"),
    on_host=("gemini", f"--prompt-interactive={PROMPT}"),
    skip=("-y", "--skip-trust"),
    ask=("--skip-trust",),
    keeps=(".gemini/tmp",),
)
