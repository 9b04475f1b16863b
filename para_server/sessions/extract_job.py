"""Write the scripts and inputs of the helper container that extracts a session's work."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Final

from para_server import git as git_package
from para_server.core.records import Record
from para_server.git import user_config
from para_server.git.repository import Repo
from para_server.host.filesystem import reporting_os_errors

_SCRIPTS: Final = tuple(f"snapshot{part}" for part in ("", "_refs", "_files", "_within", "_carry"))


def write_job(
    scratch: Path,
    repo: Repo,
    record: Record,
    message: str,
    object_stores: Sequence[Path],
    *,
    rootless: bool,
) -> None:
    """Write the scripts, the commit message, the identities and the paths of object stores."""
    stores = "".join(f"{store}\n" for store in object_stores)
    package = resources.files(git_package)
    contents = {
        "message": message,
        "branch": record.branch,
        "alternates": stores,
        "author": f"{repo.who.author}\n{repo.who.email}\n",
        "committer": f"{repo.who.committer}\n{repo.who.committer_email}\n",
        "exclude": user_config.read_excludes(repo.common, repo.excludes_file),
        **{f"{script}.sh": (package / f"{script}.sh").read_text() for script in _SCRIPTS},
    }
    if record.bases:
        contents["layered"] = ""
    if rootless:
        contents["rootless"] = ""
    with reporting_os_errors(scratch):
        for file, content in contents.items():
            (scratch / file).write_text(content, errors="surrogateescape")
        if repo.shallow:
            (scratch / "shallow").write_bytes((repo.common / "shallow").read_bytes())
