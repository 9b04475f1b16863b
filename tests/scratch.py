"""Scratch repositories, and what a test may ask of them."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path


class Repository:
    """A repository of a test; `git` runs git in it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *arguments: str, check: bool = True) -> str:
        """Run git as its user would, and give what it printed."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.path, capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"git {' '.join(arguments)}: {done.stderr}")
        return done.stdout.strip()

    def write(self, name: str, text: str) -> Path:
        """Write a file into the work tree."""
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def commit(self, message: str = "a change", **files: str) -> str:
        """Write files and commit all there is; gives the commit."""
        for name, text in files.items():
            self.write(name, text)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def refs(self, under: str = "refs") -> dict[str, str]:
        """List the refs with their commits."""
        listed = self.git("for-each-ref", "--format=%(refname) %(objectname)", under)
        return dict(line.split(" ") for line in listed.splitlines())

    def show(self, revision: str) -> str:
        """Give the content of a file in a commit, as REVISION:PATH."""
        return self.git("show", revision)

    def holds(self, name: str, text: str) -> bool:
        """Tell whether some commit under some ref has a file with this name and content."""
        blob = subprocess.run(
            ["git", "hash-object", "--stdin"],
            cwd=self.path,
            input=text,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        return f"{blob} {name}" in self.git("rev-list", "--all", "--objects").splitlines()

    def fingerprint(self) -> dict[str, str]:
        """Digest work tree, HEAD, index and config, byte for byte."""
        found: dict[str, str] = {}
        for root, folders, files in os.walk(self.path):
            if ".git" in folders:
                folders.remove(".git")
            for name in files:
                file = Path(root) / name
                content = str(file.readlink()).encode() if file.is_symlink() else file.read_bytes()
                key = str(file.relative_to(self.path))
                found[key] = f"{file.lstat().st_mode:o} {hashlib.sha256(content).hexdigest()}"
        own = Path(self.git("rev-parse", "--absolute-git-dir"))
        common = Path(self.git("rev-parse", "--path-format=absolute", "--git-common-dir"))
        for file in (own / "HEAD", own / "index", common / "config"):
            found[f".git/{file.name}"] = hashlib.sha256(file.read_bytes()).hexdigest()
        return found


def make(path: Path) -> Repository:
    """Make a repository with one commit."""
    path.mkdir(parents=True)
    repository = Repository(path)
    repository.git("init", "-q", "-b", "main")
    repository.git("config", "user.name", "Ada")
    repository.git("config", "user.email", "ada@example.org")
    repository.commit("first", **{"README.md": "# A repository\n", "src/app.py": "print(1)\n"})
    return repository
