"""The facts of Gemini CLI."""

from typing import Final

from para_server.agents.profile import ARGS, PROMPT, Profile

GEMINI: Final = Profile(
    name="gemini",
    title="Gemini CLI",
    start=("gemini", ARGS, "-p", PROMPT),
    resume=("gemini", ARGS, "-r", "latest", "-p", PROMPT),
    on_host=("gemini", "-i", PROMPT),
    skip=("-y", "--skip-trust"),
    ask=("--skip-trust",),
    keeps=(".gemini/tmp",),
)
