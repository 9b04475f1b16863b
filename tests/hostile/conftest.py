"""What the hostile tests are given: a secret to steal, a canary to kill."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import scratch
from tests.scratch import Repository


@dataclass(frozen=True)
class Bait:
    """What is on the host, outside of the workspace."""

    canary: Path
    secret: Path
    text: str
    other: Repository

    def environment(self) -> dict[str, str]:
        """Tell a trap what there is."""
        return {
            "CANARY": str(self.canary),
            "SECRET": str(self.secret),
            "OTHER": str(self.other.path),
            "OTHER_COMMIT": self.other.git("rev-parse", "HEAD"),
        }

    def untouched(self, repo: Repository, *shown: object) -> None:
        """Show that the canary lives and that the secret is neither in the repository nor shown."""
        assert not self.canary.exists(), "something of the session ran, or wrote, on the host"
        for one in shown:
            assert self.text not in repr(one), f"a secret of the host was shown: {one}"
        everything = subprocess.run(
            ["git", "cat-file", "--batch-all-objects", "--batch", "--buffer"],
            cwd=repo.path,
            capture_output=True,
            check=True,
        ).stdout
        assert self.text.encode() not in everything, "a secret of the host is in the repository"


@pytest.fixture
def bait(tmp_path: Path, home: Path) -> Bait:
    """Lay out what a trap is after."""
    text = f"secret-{tmp_path.name}-of-the-host"
    other = scratch.make(tmp_path / "other")
    other.commit("secret", secret=f"{text}\n")
    home.mkdir(mode=0o700, exist_ok=True)  # the server may have been first
    for file in (tmp_path / "secret", home / "secret"):
        file.write_text(f"{text}\n")
    return Bait(tmp_path / "canary", tmp_path / "secret", text, other)
