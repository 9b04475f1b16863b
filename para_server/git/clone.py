"""Create the private clone of a session, before an agent has access to it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypedDict

from para_server.concurrency.cancellation import run_both, run_in_thread
from para_server.core.model import Model
from para_server.git import archive, clone_refs, filters
from para_server.git.archive import ArchiveContents
from para_server.git.process import git
from para_server.git.repository import Repo, list_object_stores
from para_server.git.user_config import Identity, read_excludes
from para_server.host import file_trees
from para_server.host.filesystem import reporting_os_errors

_config_templates: Final[dict[str, str]] = {}  # of new repositories, by object format
_TEXT: Final[_Text] = {"encoding": "utf-8", "errors": "surrogateescape"}
AGENT_UID: Final = 1000  # of the user para in the images; used if the host's user is root


class _Text(TypedDict):
    encoding: str
    errors: str


class StartPoint(Model):
    """The state that a clone or worktree starts with.

    The branch is at `tip`. The files are those of `tree` if set (else of `tip`), so that restored
    work stays uncommitted. In a worktree, HEAD is detached at `head` if set. `carried` is what else
    the archive contains. All of it is reachable from `anchor`, which is protected from git's
    garbage collection as long as the clone exists. `base` is the original base commit, with which
    the branch may share no history. `filtered` is whether the user's filters write the files: never
    set for files that a session wrote.
    """

    branch: str
    tip: str
    anchor: str
    tree: str | None = None
    head: str | None = None
    carried: ArchiveContents = ArchiveContents()
    base: str | None = None
    filtered: bool = True


async def create_clone(
    repo: Repo,
    folder: Path,
    start: StartPoint,
    *,
    own: bool,
    owner: int | None,
    index: Path | None = None,
) -> None:
    """Create a clone in a folder, with its `own` objects or the repository's as alternates.

    If a lower layer has the files already, `index` is their index. `owner` is the uid that all
    files are changed to; None keeps the uid of this process.
    """
    git_folder = folder / ".git"
    names, _ = await run_both(
        clone_refs.list_reachable_refs(repo, start.base or start.tip),
        _init_repository(repo, folder, start.branch),
    )
    with reporting_os_errors(folder):
        if repo.shallow:
            shutil.copyfile(repo.common / "shallow", git_folder / "shallow")
        with (git_folder / "config").open("a", **_TEXT) as config:
            config.write(f"{_format_identity(repo.who)}{clone_refs.REMOTE_CONFIG}")
        if ignored := read_excludes(repo.common, repo.excludes_file):
            (git_folder / "info").mkdir(exist_ok=True)
            (git_folder / "info/exclude").write_text(ignored, **_TEXT)
        if not own:
            (git_folder / "objects/info").mkdir(exist_ok=True)
            (git_folder / "objects/info/alternates").write_text(f"{list_object_stores(repo)[0]}\n")
    if own:
        tips = (start.anchor, *sorted(set(names.values())))  # of tags, the objects too
        await copy_objects(repo, git_folder / "objects", tips)
    with reporting_os_errors(folder):
        names = clone_refs.write_refs(git_folder, names, start.branch)
    await _set_refs(repo, folder, start, names)
    if index is None:
        tree = start.tree or "HEAD"
        await git(folder, "read-tree", "-u", "--reset", tree, ignore_config=True, long_running=True)
        if start.filtered:
            await filters.write_filtered_files(repo, start.tip, folder, {})
    checkout = git_folder if index is None else index.parent
    if (checkout / filters.FILTERED_LIST).exists():
        await filters.configure_filters(repo, start.tip, git_folder)
    if start.tree is not None:
        if index is not None:
            shutil.copyfile(index, git_folder / "index")
        staged = start.carried.index or "HEAD"
        await git(folder, "read-tree", "--reset", staged, ignore_config=True)
    await change_owner(folder, owner)


async def _set_refs(repo: Repo, folder: Path, start: StartPoint, names: dict[str, str]) -> None:
    head = None
    if start.carried.commits or start.carried.refs:
        head = await archive.restore_refs(repo, folder, start.carried, start.tip, names)
    with reporting_os_errors(folder):
        if head is None:
            _write_ref(folder / f".git/refs/heads/{start.branch}", start.tip)
        else:
            (folder / ".git/HEAD").write_text(f"{head}\n", **_TEXT)


async def _init_repository(repo: Repo, folder: Path, branch: str) -> None:
    """Create an empty repository: with git the first time, then from a copy of its config."""
    git_folder = folder / ".git"
    known = _config_templates.get(repo.object_format)
    if known is None:
        await git(
            repo.top,
            *("init", "-q", "--template=", f"--object-format={repo.object_format}"),
            *(f"--initial-branch={branch}", "--", str(folder)),
            ignore_config=True,
        )
        _config_templates[repo.object_format] = (git_folder / "config").read_text()
        return
    with reporting_os_errors(folder):
        for part in ("", "objects", "objects/info", "objects/pack", "refs", "refs/heads"):
            (git_folder / part).mkdir(parents=True)
        (git_folder / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
        (git_folder / "config").write_text(known)


def _write_ref(file: Path, commit: str) -> None:
    # not with git, since each process costs milliseconds
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{commit}\n")


async def change_owner(folder: Path, owner: int | None) -> None:
    """Change the owner of a new folder to the uid that agents run as; None changes nothing."""
    if owner is None:
        return
    with reporting_os_errors(folder):
        await run_in_thread(lambda: file_trees.change_owner(folder, owner))


async def copy_objects(repo: Repo, store: Path, tips: Sequence[str]) -> None:
    """Copy the objects that commits reach, and no others, into an object store."""
    with reporting_os_errors(store):
        (store / "pack").mkdir(parents=True, exist_ok=True)
    # no transport, since the user's configuration may forbid or redirect any of them
    await git(
        repo.top,
        *("pack-objects", "-q", "--revs", "--delta-base-offset"),
        str(store / "pack/pack"),
        input_text="".join(f"{tip}\n" for tip in tips),
        long_running=True,
    )


def _format_identity(who: Identity) -> str:
    section = f"[user]\n\tname = {_quote(who.author)}\n\temail = {_quote(who.email)}\n"
    if (who.committer, who.committer_email) != (who.author, who.email):
        section += f"[committer]\n\tname = {_quote(who.committer)}\n"
        section += f"\temail = {_quote(who.committer_email)}\n"
    return section


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'
