"""Check the version of git."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from para_server.core.errors import ParaError, Remedy
from para_server.git.process import git

_MIN_VERSION: Final = (2, 31)  # the first with rev-parse --path-format
_INSTALL_URL: Final = "https://git-scm.com/downloads"


async def require_supported_version(folder: Path) -> str:
    """Return the output of `git version`; raises workspace.git-failed if git is too old."""
    output = (await git(folder, "version")).strip()
    match = re.search(r"(\d+)\.(\d+)", output)
    if match is not None and (int(match[1]), int(match[2])) >= _MIN_VERSION:
        return output
    raise ParaError(
        "workspace.git-failed",
        f"{output} is too old: para needs git {_MIN_VERSION[0]}.{_MIN_VERSION[1]} or newer",
        Remedy(title="Install a newer git", url=_INSTALL_URL),
    )
