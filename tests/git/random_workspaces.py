"""Random workspaces, as data, and their content: the files and commits that must not be lost."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from para_server.core.container_spec import WORKSPACE

_COMMIT = "git add -A; git commit -qm $n"
# operations in a workspace; $n is a unique number. Any of them may fail, for example during a merge
OPERATIONS = {
    "a new file": "echo $n >new-$n",
    "a change": "echo $n >>README.md",
    "a deleted file": "rm -f src/app.py",
    "an odd name": "echo $n >$'o d\\n\\303\\244\\377'-$n; echo $n >-$n; echo $n >:$n",
    "names like git's own": (
        "mkdir -p .GIT-$n x-$n/.GiT; echo $n >.GIT-$n/config; echo g$n >x-$n/.GiT/config; "
        "echo m$n >x-$n/.gitmodules; echo t$n >git~1"
    ),
    "a long name": "l=$(printf %0240d $n); mkdir -p $l/$l; echo $n >$l/$l/$l",
    "names that differ in case": (
        "echo a$n >Case-$n; echo b$n >case-$n; mkdir CASE-$n; echo c$n >CASE-$n/f"
    ),
    "odd names of branches": (
        "for r in heads/-x-$n heads/a/$'\\303\\244'-$n tags/-t-$n other/o-$n; do r=refs/$r; "
        'git update-ref "$r" $(git commit-tree -m "$r $n" $(git write-tree)); done'
    ),
    "a note": "git notes add -fm $n",
    "a commit that is amended": f"echo $n >z-$n; {_COMMIT}; git commit -q --amend -m amended-$n",
    "a link": "ln -s nowhere-$n link-$n",
    "a mode": "echo $n >run-$n; chmod +x run-$n",
    "a commit": "echo $n >c-$n; git add -A; git commit -qm $n",
    "a commit that leaves a file": "echo $n >c-$n; git add c-$n; echo l$n >l-$n; git commit -qm $n",
    "a staged file that is changed": "echo s$n >s-$n; git add s-$n; echo w$n >s-$n",
    "a staged file that is gone": "echo s$n >s-$n; git add s-$n; rm s-$n",
    "a stash": "echo $n >>README.md; git stash -q",
    "a stash of new files": "echo $n >u-$n; git stash -qu",
    "a branch beside": f"git switch -qc b-$n; echo $n >b-$n; {_COMMIT}; git switch -q -",
    "another branch": "git switch -qc b-$n; echo $n >b-$n; git add -A; git commit -qm $n",
    "a renamed branch": "git branch -m r-$n; echo $n >r-$n; git add -A; git commit -qm $n",
    "an orphan": "git switch -q --orphan o-$n; echo $n >o-$n; git add o-$n; git commit -qm $n",
    "a detached HEAD": "git switch -q --detach; echo $n >d-$n; git add -A; git commit -qm $n",
    "a tag": "git tag t-$n",
    "a tag alone": "git tag -a -m $n t-$n $(git commit-tree -m $n $(git write-tree))",
    "a tag of a file": "git tag f-$n $(echo blob $n | git hash-object -w --stdin)",
    "a merge in conflict": (
        "git switch -qc m-$n; echo a$n >README.md; git commit -qam a; git switch -q -; "
        "echo b$n >README.md; git commit -qam b; git merge -q m-$n"
    ),
    "a stopped rebase": (
        "for i in 1 2 3; do echo $n$i >e-$n-$i; git add -A; git commit -qm $i; done; "
        "GIT_SEQUENCE_EDITOR='sed -i 1s/pick/edit/' git rebase -q -i HEAD~3"
    ),
    "a cherry-pick in conflict": (
        "git switch -qc p-$n; echo a$n >README.md; git commit -qam a; git switch -q -; "
        "echo b$n >README.md; git commit -qam b; git cherry-pick p-$n"
    ),
    "a revert in conflict": (
        "echo a$n >README.md; git commit -qam a; echo b$n >README.md; git commit -qam b; "
        "git revert --no-edit HEAD~1"
    ),
    "a bisection": (
        "for i in 1 2 3; do echo $n$i >e-$n-$i; git add -A; git commit -qm $i; done; "
        "git bisect start -q HEAD HEAD~3"
    ),
    "a patch in conflict": (
        "echo a$n >README.md; git commit -qam a; git format-patch -q --stdout -1 >/tmp/p-$n; "
        "git reset -q --hard HEAD~1; echo b$n >README.md; git commit -qam b; git am -q /tmp/p-$n"
    ),
    "a repository": (
        "git init -q in-$n; echo $n >in-$n/f; git -C in-$n add -A; git -C in-$n commit -qm $n; "
        "echo l$n >in-$n/l; echo '*.o' >in-$n/.gitignore; echo o$n >in-$n/x.o"
    ),
    "a repository without commits": "git init -q in-$n; echo $n >in-$n/f",
    "a repository in one": (
        "git init -q in-$n; git init -q in-$n/er; echo $n >in-$n/er/f; git -C in-$n/er add -A; "
        "git -C in-$n/er commit -qm $n; echo $n >in-$n/g"
    ),
    "a repository that is added": (
        "git init -q in-$n; echo $n >in-$n/f; git -C in-$n add -A; git -C in-$n commit -qm $n; "
        "git add in-$n; git commit -qm link; echo l$n >in-$n/l"
    ),
    "files where a repository was": (
        "git init -q in-$n; git -C in-$n commit -q --allow-empty -m $n; git add in-$n; "
        "git commit -qm link; rm -rf in-$n/.git; echo $n >in-$n/f"
    ),
    "a submodule": (
        "git init -q /tmp/lib-$n; git -C /tmp/lib-$n commit -q --allow-empty -m lib; "
        "git -c protocol.file.allow=always submodule -q add /tmp/lib-$n sub-$n; "
        "git commit -qm sub; "
        "echo $n >sub-$n/f; git -C sub-$n add -A; git -C sub-$n commit -qm $n"
    ),
    "a submodule that is away": (
        "git init -q /tmp/lib-$n; git -C /tmp/lib-$n commit -q --allow-empty -m lib; "
        "git -c protocol.file.allow=always submodule -q add /tmp/lib-$n away-$n; "
        "git commit -qm away; echo $n >away-$n/f; git -C away-$n add -A; "
        "git -C away-$n commit -qm $n; git submodule -q deinit -f away-$n"
    ),
    "a stash in a repository": (
        "git init -q in-$n; echo $n >in-$n/f; git -C in-$n add -A; git -C in-$n commit -qm $n; "
        "echo s$n >in-$n/f; git -C in-$n stash -q; git -C in-$n switch -qc b-$n; "
        "git -C in-$n commit -q --allow-empty -m b$n; git -C in-$n checkout -q --detach HEAD~1; "
        "git -C in-$n commit -q --allow-empty -m d$n"
    ),
    "an ignored repository": (
        "git init -q vendor/in-$n; echo $n >vendor/in-$n/f; git -C vendor/in-$n add -A; "
        "git -C vendor/in-$n commit -qm $n"
    ),
    "a bare repository": "git init -q --bare bare-$n; git push -q ./bare-$n HEAD:refs/heads/x-$n",
    "a worktree within": "git worktree add -q -b w-$n wt-$n; echo $n >wt-$n/f-$n",
    "an ignored file": "echo $n >x-$n.log",
    "a file that only this clone ignores": "echo i-$n >>.git/info/exclude; echo $n >i-$n",
    "rules of a folder": (
        "mkdir -p d-$n; echo '/x' >d-$n/.gitignore; echo x$n >d-$n/x; echo y$n >d-$n/y"
    ),
    "rules of this clone": (
        "echo '*.c text eol=crlf ident' >>.git/info/attributes; echo '$Id$' $n >a-$n.c"
    ),
    "another encoding": (
        "echo '*.u16 text working-tree-encoding=UTF-16LE' >>.gitattributes; "
        "echo $n | iconv -t UTF-16LE >a-$n.u16"
    ),
    "a filter that is missing": "echo '*.lfs filter=none-here' >>.gitattributes; echo $n >a-$n.lfs",
    "rules": "echo '*.txt text eol=crlf' >>.gitattributes; printf \"$n\\n\" >a-$n.txt",
    "line ends": 'printf "$n\\r\\nb\\n" >a-$n.bat',
    "a commit that is undone": f"echo $n >z-$n; {_COMMIT}; git reset -q --hard HEAD~1",
}


_BEFORE = "export GIT_EDITOR=true EMAIL=agent@example.org\n"


@dataclass(frozen=True)
class Workspace:
    """The operations in a workspace, and the end of its session."""

    operations: tuple[str, ...]
    end: str
    paused: bool = False  # before the end

    def script(self, number: int) -> str:
        """Return the operations as a script that never fails."""
        steps = (
            f"n={number}{step}\n({OPERATIONS[name]}) >/dev/null 2>&1 </dev/null\n"
            for step, name in enumerate(self.operations)
        )
        return "".join([_BEFORE, *steps, "true\n"])


def draw_workspace(chance: random.Random) -> Workspace:
    """Return a random workspace."""
    operations = chance.choices(sorted(OPERATIONS), k=chance.randint(1, 6))
    return Workspace(tuple(operations), chance.choice(["finish", "cancel"]), chance.random() < 0.1)


@dataclass
class WorkspaceContent:
    """The content of a workspace: files with their possible objects, commits, and refs."""

    files: dict[str, set[str]] = field(default_factory=dict)
    commits: dict[str, set[str]] = field(default_factory=dict)  # with the refs that reach each
    names: dict[str, str] = field(default_factory=dict)
    staged: dict[str, str] = field(default_factory=dict)  # only in the index

    def list_lost(
        self, reachable: set[str], left: Sequence[dict[str, str]], *, staged: bool = False
    ) -> list[str]:
        """Return the content that is neither reachable nor reported."""
        named = [one["path"] or one["ref"] or "" for one in left]
        stashes = any(one["what"] == "stash" and "not kept" in one["detail"] for one in left)
        named += ["stash"] if stashes else []
        gone = [path for path, objects in self.files.items() if not objects & reachable]
        if staged:
            gone += [path for path, blob in self.staged.items() if blob not in reachable]
        gone = [one for one in gone if not any(_is_in(one, name) for name in named)]
        return gone + [
            f"{commit} of {sorted(places)}"
            for commit, places in self.commits.items()
            if commit not in reachable
            and not any(_is_in(place, name) for place in places for name in named)
        ]


def _is_in(place: str, name: str) -> bool:
    return name != "" and f"{place}/".startswith(f"{name}/")


def read_content(folder: Path) -> WorkspaceContent:
    """Return the content of a workspace on the host that git does not ignore."""
    found = WorkspaceContent()
    for repository in _repositories(folder):
        inner = "" if repository == folder else str(repository.relative_to(folder))
        for commit, names in _commits(repository).items():
            places = {inner} if inner else names
            found.commits.setdefault(commit, set()).update(places)
        ignored = repository != folder and _ignored(folder, [inner])
        if (repository / ".git").exists() and not ignored:
            found.files |= _files(folder, repository) | _uninitialized(folder, repository)
    listed = _git(
        folder, "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/tags"
    )
    found.names = dict(line.split(" ") for line in listed.splitlines())
    found.staged = _staged(folder)
    return found


def _commits(repository: Path) -> dict[str, set[str]]:
    """Return the commits that a repository's refs reach, and tagged files, with these refs."""
    form = "--format=%(refname) %(objecttype) %(objectname) %(*objectname)"
    refs = [line.split(" ") for line in _git(repository, "for-each-ref", form).splitlines()]
    found: dict[str, set[str]] = {one: {name} for name, kind, one, _ in refs if kind == "blob"}
    tips = [(name, peeled or one) for name, _, one, peeled in refs]
    head = _git(repository, "rev-parse", "-q", "--verify", "HEAD", check=False).strip()
    tips += [("HEAD", head)] if head else []
    stashes: list[str] = []
    if any(name == "refs/stash" for name, _ in tips):
        stashes = _git(repository, "rev-list", "--walk-reflogs", "refs/stash").split()
    tips += [("stash", one) for one in stashes]
    walk = _git(repository, "rev-list", "--parents", "--all", *stashes, "--", check=False)
    parents = {line[0]: line[1:] for line in map(str.split, walk.splitlines())}
    for name, tip in tips:
        ahead = [tip]
        while ahead:
            one = ahead.pop()
            if one in parents and name not in found.setdefault(one, set()):
                found[one].add(name)
                ahead += parents[one]
    return found


def _staged(folder: Path) -> dict[str, str]:
    return {f"{path} (staged)": blob for path, blob in _entries(folder)}


def _entries(folder: Path) -> list[tuple[str, str]]:
    """Return the files of an index without conflicts, with their blobs."""
    listed = _git(folder, "ls-files", "-sz").split("\0")
    entries = [
        (head.split(" "), path) for head, _, path in (e.partition("\t") for e in listed) if head
    ]
    return [
        (path, blob) for (mode, blob, stage), path in entries if stage == "0" and mode != "160000"
    ]


def _repositories(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        bare = "HEAD" in names and {"objects", "refs"} <= set(folders)
        if bare or ".git" in folders or ".git" in names:
            yield Path(root)
        folders[:] = [name for name in folders if name != ".git"]


def _files(top: Path, repository: Path) -> dict[str, set[str]]:
    """Return the files of a repository that neither its own nor the outer rules ignore."""
    listed = _git(repository, "ls-files", "-coz", "--exclude-standard").split("\0")
    paths = sorted({one for one in listed if one and _is_file(repository / one)})
    inner = os.path.relpath(repository, top)
    if repository != top:
        committed = set(
            _git(repository, "ls-tree", "-rz", "--name-only", "HEAD", check=False).split("\0")
        )
        hidden = _ignored(top, [f"{inner}/{path}" for path in paths])
        paths = [path for path in paths if path in committed or f"{inner}/{path}" not in hidden]
    links = [path for path in paths if (repository / path).is_symlink()]
    plain = [path for path in paths if path not in links]
    found = {
        os.path.normpath(f"{inner}/{path}"): {
            _git_of_text(repository, str((repository / path).readlink()))
        }
        for path in links
    }
    if plain:
        raw = _git(repository, "hash-object", "--no-filters", "--", *plain).split()
        filtered = _git(repository, "hash-object", "--", *plain).split()
        for path, one, other in zip(plain, raw, filtered, strict=True):
            found[os.path.normpath(f"{inner}/{path}")] = {one, other}
        # git uses the index version of a removed rules file, which hash-object ignores
        changed = set(_git(repository, "ls-files", "-mz").split("\0"))
        for path, blob in _entries(repository):
            if path in plain and path not in changed:
                found[os.path.normpath(f"{inner}/{path}")].add(blob)
    return found


def _uninitialized(folder: Path, repository: Path) -> dict[str, set[str]]:
    """Return the files in submodule folders without a repository."""
    listed = _git(repository, "ls-files", "-sz").split("\0")
    links = [one.partition("\t")[2] for one in listed if one.startswith("160000")]
    return {
        str(path.relative_to(folder)): {_git(repository, "hash-object", "--", str(path)).strip()}
        for link in links
        if not (repository / link / ".git").exists()
        for path in (repository / link).rglob("*")
        if path.is_file() and not path.is_symlink() and ".git" not in path.parts
    }


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _ignored(top: Path, paths: Sequence[str]) -> set[str]:
    listing = "".join(f"{path}\0" for path in paths)
    output = _git(
        top, "check-ignore", "-z", "--no-index", "--stdin", input_text=listing, check=False
    )
    return set(output.split("\0")) - {""}


def _git_of_text(repository: Path, text: str) -> str:
    return _git(repository, "hash-object", "--stdin", input_text=text).strip()


def _worktree(folder: Path) -> dict[str, str]:
    """Return the environment for a nested worktree, whose git folder has a container's path."""
    file = folder / ".git"
    text = file.read_text() if file.is_file() else ""
    if not text.startswith(f"gitdir: {WORKSPACE}/"):
        return {}
    inner = text.removeprefix(f"gitdir: {WORKSPACE}/").strip()
    top = next(one for one in folder.parents if (one / ".git").is_dir())
    return {"GIT_DIR": str(top / inner), "GIT_WORK_TREE": str(folder)}


def _git(folder: Path, *arguments: str, input_text: str = "", check: bool = True) -> str:
    done = subprocess.run(
        ["git", "-c", "safe.directory=*", *arguments],
        cwd=folder,
        env=dict(os.environ) | _worktree(folder),
        input=os.fsencode(input_text),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0 or not check, f"git {arguments[:2]}: {done.stderr!r}"
    return os.fsdecode(done.stdout)
