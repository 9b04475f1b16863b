"""Random states of worktrees, and the files and commits of each that must not be lost."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.scratch import Repository

ME = ("-c", "user.name=Bo", "-c", "user.email=bo@example.org", "-c", "protocol.file.allow=always")
EDITORS = {"GIT_EDITOR": "true", "GIT_SEQUENCE_EDITOR": "sed -i 1s/pick/edit/"}


@dataclass
class Place:
    """A worktree, the operations that were done in it, and a source of random choices."""

    tree: Repository
    library: Path
    chance: random.Random
    done: list[str] = field(default_factory=list)
    count: int = 0

    def text(self) -> str:
        """Return a unique file content."""
        self.count += 1
        return f"content {self.count} {self.chance.random()}\n"

    def git(self, *arguments: str, at: Path | None = None) -> None:
        """Run git as the user would, ignoring failures."""
        subprocess.run(
            ["git", *ME, *arguments],
            cwd=at or self.tree.path,
            capture_output=True,
            check=False,
            env=dict(os.environ) | EDITORS,
        )

    def write(self, name: str | bytes) -> None:
        """Write a file."""
        file = self.tree.path / os.fsdecode(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.text())

    def commit(self, name: str = "") -> None:
        """Write a file and commit it."""
        self.write(name or f"committed{self.count}")
        self.git("add", "-A")
        self.git("commit", "-qm", f"commit {self.count}")


def untracked(place: Place) -> None:
    for name in ("new", "-x", "a b", b"bad\xff", "new\nline", "\N{SNOWMAN}", "deep/er/file"):
        if place.chance.random() < 0.5:
            place.write(name)


def changed(place: Place) -> None:
    place.write("README.md")


def staged(place: Place) -> None:
    place.write("staged")
    place.git("add", "staged")


def deleted(place: Place) -> None:
    (place.tree.path / "src/app.py").unlink(missing_ok=True)


def linked(place: Place) -> None:
    link = place.tree.path / "link"
    if not link.is_symlink():
        link.symlink_to("nowhere at all")


def ignored(place: Place) -> None:
    place.write(".gitignore")
    (place.tree.path / ".gitignore").write_text("secret*\nbuild/\n")
    place.write("secret.env")


def excluded(place: Place) -> None:
    common = place.tree.git("rev-parse", "--path-format=absolute", "--git-common-dir")
    (Path(common) / "info").mkdir(exist_ok=True)
    (Path(common) / "info/exclude").write_text("*.local\n")
    place.write("my.local")


def committed(place: Place) -> None:
    place.commit()


def tagged(place: Place) -> None:
    place.git("tag", f"v{place.count}")


def stashed(place: Place) -> None:
    place.write("stashed")
    place.git("stash", "-u")


def other_branch(place: Place) -> None:
    place.git("switch", "-qc", f"other{place.count}")
    place.commit()


def and_back(place: Place) -> None:
    place.git("switch", "-q", "para/fix")


def behind(place: Place) -> None:
    place.git("checkout", "-q", "HEAD~1")


def detached(place: Place) -> None:
    place.git("checkout", "-q", "--detach")
    place.commit()


def renamed(place: Place) -> None:
    place.git("branch", "-m", f"feature{place.count}")


def orphan(place: Place) -> None:
    place.git("switch", "-q", "--orphan", f"orphan{place.count}")
    place.write("orphaned")


def merging(place: Place) -> None:
    place.git("branch", f"side{place.count}")
    place.commit("README.md")
    side = f"side{place.count - 1}"
    place.git("switch", "-q", side)
    place.commit("README.md")
    place.git("merge", "-q", "-")


def rebasing(place: Place) -> None:
    for _ in range(3):
        place.commit()
    place.git("rebase", "-q", "-i", "HEAD~3")
    place.commit()


def picking(place: Place) -> None:
    place.git("switch", "-qc", f"pick{place.count}", "HEAD")
    place.commit("README.md")
    place.git("checkout", "-q", "HEAD~1")
    place.commit("README.md")
    place.git("cherry-pick", "-")


def bisecting(place: Place) -> None:
    for _ in range(2):
        place.commit()
    place.git("bisect", "start", "HEAD", "HEAD~2")


def nested(place: Place) -> None:
    inner = place.tree.path / place.chance.choice(["inner", "build/inner", "deep/inner", "src"])
    inner.mkdir(parents=True, exist_ok=True)
    place.git("init", "-q", at=inner)
    (inner / ".gitignore").write_text("skipped\n")
    (inner / "skipped").write_text(place.text())
    (inner / "own").write_text(place.text())
    if place.chance.random() < 0.7:
        place.git("add", "-A", at=inner)
        place.git("commit", "-qm", "inner", at=inner)
        if place.chance.random() < 0.5:
            (inner / "gone").write_text(place.text())
            place.git("stash", "-u", at=inner)
        (inner / "dirty").write_text(place.text())
    if place.chance.random() < 0.3:
        deeper = inner / "deeper"
        deeper.mkdir(exist_ok=True)
        place.git("init", "-q", at=deeper)
        (deeper / "deepest").write_text(place.text())


def uninitialized(place: Place) -> None:
    nested(place)
    place.git("add", "-A")
    place.git("commit", "-qm", "a link")
    for inner in sorted(place.tree.path.rglob("*/.git")):
        if inner.is_dir():
            shutil.rmtree(inner)
            (inner.parent / "uninitialized").write_text(place.text())


def submodule(place: Place) -> None:
    place.git("submodule", "--quiet", "add", "--force", str(place.library), "lib")
    lib = place.tree.path / "lib"
    if not (lib / ".git").exists():
        return
    place.git("commit", "-qm", "submodule")
    if place.chance.random() < 0.5:
        (lib / "more").write_text(place.text())
        place.git("add", "-A", at=lib)
        place.git("commit", "-qm", "more", at=lib)
        if place.chance.random() < 0.5:
            place.git("commit", "-qam", "moves on")
    if place.chance.random() < 0.5:
        (lib / "dirty").write_text(place.text())


def overlooked(place: Place) -> None:
    flag = place.chance.choice(["--assume-unchanged", "--skip-worktree"])
    place.git("update-index", flag, "README.md")
    place.write("README.md")


def reverting(place: Place) -> None:
    place.commit("README.md")
    place.commit("README.md")
    place.git("revert", "--no-edit", "HEAD~1")


def with_attributes(place: Place) -> None:
    rules = "*.txt text eol=crlf\n*.u16 text working-tree-encoding=UTF-16LE\n*.c ident\n"
    (place.tree.path / ".gitattributes").write_text(rules)
    (place.tree.path / "a.u16").write_bytes(place.text().encode("utf-16-le"))
    place.write("a.c")


def named_oddly(place: Place) -> None:
    for name in ("Case", "case", "x\\y", ".GIT~1", "n" * 250, "-", ":x", "#x", '"'):
        if place.chance.random() < 0.5:
            place.write(name)
    for ref in ("heads/-x", "heads/a/\N{SNOWMAN}", "tags/-t", "other/o"):
        place.git("update-ref", f"refs/{ref}", "HEAD")


def noted(place: Place) -> None:
    place.git("notes", "add", "-fm", place.text())


def amended(place: Place) -> None:
    place.commit()
    place.git("commit", "-q", "--amend", "-m", place.text())


def put_away(place: Place) -> None:
    submodule(place)
    place.git("submodule", "deinit", "-f", "lib")


def staged_and_gone(place: Place) -> None:
    staged(place)
    (place.tree.path / "staged").unlink(missing_ok=True)


OPERATIONS: list[Callable[[Place], None]] = [
    *(untracked, changed, staged, deleted, linked, ignored, excluded, committed, tagged, stashed),
    *(other_branch, and_back, behind, detached, renamed, orphan, merging, rebasing, picking),
    *(
        bisecting,
        nested,
        uninitialized,
        submodule,
        overlooked,
        reverting,
        with_attributes,
        named_oddly,
        noted,
    ),
    *(amended, put_away, staged_and_gone),
]


def change_randomly(tree: Repository, library: Path, chance: random.Random) -> Place:
    """Perform random operations of a user in a worktree."""
    place = Place(tree, library, chance)
    for operation in chance.choices(OPERATIONS, k=chance.randint(1, 6)):
        operation(place)
        place.done.append(operation.__name__)
    return place


@dataclass(frozen=True)
class WorktreeContent:
    """The content of a worktree: paths by object; `stored` are the objects after filters."""

    objects: dict[str, str]
    stored: dict[str, str]

    def list_missing(self, left: list[str], *repos: Repository) -> list[str]:
        """Return the content that is neither reachable in the repositories nor reported."""
        reached = {one for repo in repos for one in _reached(repo)}
        return [
            f"{what} {one}"
            for one, what in self.objects.items()
            if not {one, self.stored.get(one)} & reached
            and not any(f"/{path}/" in f"/{what}/" for path in left)
        ]

    def list_gone(self, left: list[str], folder: Path, library: Repository) -> list[str]:
        """Return the files that are not in a folder, without those that the library has."""
        known = set(_reached(library))
        present = {
            _hash(str(path.readlink()).encode() if path.is_symlink() else path.read_bytes())
            for path in folder.rglob("*")
            if path.is_symlink() or path.is_file()
        }
        return [
            what
            for one, what in self.objects.items()
            if not what.endswith("/commit")
            and one not in present | known
            and not any(f"/{path}/" in f"/{what}/" for path in left)
        ]


def _reached(repo: Repository) -> list[str]:
    listed = subprocess.run(
        ["git", "rev-list", "--objects", "--all"], cwd=repo.path, capture_output=True, check=True
    ).stdout
    return [line.partition(b" ")[0].decode() for line in listed.splitlines()]


def read_content(folder: Path) -> WorktreeContent:
    """Return the commits and files of a worktree that git does not ignore."""
    found: dict[str, str] = {}
    stored: dict[str, str] = {}
    _collect(folder, folder, found, stored)
    return WorktreeContent(found, stored)


def _collect(top: Path, folder: Path, found: dict[str, str], stored: dict[str, str]) -> None:
    where = str(folder.relative_to(top))
    for commit in _commits(Repository(folder), inner=folder != top):
        found.setdefault(commit, f"{where}/commit")
    plain: list[Path] = []
    for path in _files(folder):
        named = str(path.relative_to(top))
        if path.is_symlink():
            found.setdefault(_hash(str(path.readlink()).encode()), named)
        elif (path / ".git").exists():
            _collect(top, path, found, stored)
        elif path.is_dir():  # a submodule folder without a repository
            for inner in _files(path, GIT_INDEX_FILE=str(path / "no index")):
                if inner.is_file() and not inner.is_symlink():
                    found.setdefault(_hash(inner.read_bytes()), str(inner.relative_to(top)))
        elif path.is_file():
            found.setdefault(_hash(path.read_bytes()), named)
            plain.append(path)
    if plain:
        filtered = Repository(folder).git("hash-object", "--", *map(str, plain)).split()
        stored |= {_hash(p.read_bytes()): one for p, one in zip(plain, filtered, strict=True)}


def _commits(tree: Repository, *, inner: bool) -> list[str]:
    refs = ("HEAD", "MERGE_HEAD", "CHERRY_PICK_HEAD")
    hashes = (tree.git("rev-parse", "-q", "--verify", f"{r}^{{commit}}", check=False) for r in refs)
    commits = [commit for commit in hashes if commit]
    if inner:  # a worktree shares branches and stashes with its repository
        commits += tree.git("for-each-ref", "--format=%(objectname)", "refs/heads").split()
        commits += tree.git("reflog", "show", "--format=%H", "refs/stash", check=False).split()
    return commits


def _files(folder: Path, **environment: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"],
        cwd=folder,
        capture_output=True,
        check=True,
        env=dict(os.environ) | environment,
    ).stdout
    return [folder / os.fsdecode(raw).rstrip("/") for raw in set(listed.split(b"\0")) - {b""}]


def _hash(content: bytes) -> str:
    head = b"blob %d\0" % len(content)
    return hashlib.sha1(head + content, usedforsecurity=False).hexdigest()
