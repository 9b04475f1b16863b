"""The profile of OpenCode."""

from typing import Final

from para_server.agents.profile import ARGS, KEPT, PROMPT, Profile

OPENCODE: Final = Profile(
    name="opencode",
    title="OpenCode",
    start=("opencode", "run", ARGS, "--", PROMPT),
    resume=("opencode", "run", "-c", ARGS, "--", PROMPT),
    on_host=("opencode", f"--prompt={PROMPT}"),
    skip=("--auto",),
    environment={"OPENCODE_DB": f"{KEPT}/opencode.db"},
    conversation="opencode.db",
)
