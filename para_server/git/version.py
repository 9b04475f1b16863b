"""The only place that knows how old git may be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from para_server.core.errors import ParaError, Remedy
from para_server.git.process import git

OLDEST: Final = (2, 31)  # the first that has rev-parse --path-format
_INSTALL: Final = "https://git-scm.com/downloads"


async def demand_new_enough(folder: Path) -> str:
    """Return what git says of its version; raises workspace.git-failed where it is too old."""
    told = (await git(folder, "version")).strip()
    found = re.search(r"(\d+)\.(\d+)", told)
    if found is not None and (int(found[1]), int(found[2])) >= OLDEST:
        return told
    raise ParaError(
        "workspace.git-failed",
        f"{told} is too old: para needs git {OLDEST[0]}.{OLDEST[1]} or newer",
        Remedy(title="Install a newer git", url=_INSTALL),
    )
