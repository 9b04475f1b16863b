"""The facts of Gemini CLI."""

from typing import Final

from para_server.agents.profile import ARGS, PROMPT, Profile

GEMINI: Final = Profile(
    name="gemini",
    title="Gemini CLI",
    # in one word, since it takes a prompt that begins with - for an option
    start=("gemini", ARGS, f"--prompt={PROMPT}"),
    resume=("gemini", ARGS, "-r", "latest", f"--prompt={PROMPT}"),
    on_host=("gemini", f"--prompt-interactive={PROMPT}"),
    skip=("-y", "--skip-trust"),
    ask=("--skip-trust",),
    keeps=(".gemini/tmp",),
)
