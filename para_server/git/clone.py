"""The only place that makes a session's private clone, before any agent has been in it."""

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

_config_templates: Final[dict[str, str]] = {}  # of a new repository, by its object format
_TEXT: Final[_Text] = {"encoding": "utf-8", "errors": "surrogateescape"}
AGENT_UID: Final = 1000  # of the user para in the images, where the host's user is root


class _Text(TypedDict):
    encoding: str
    errors: str


class StartPoint(Model):
    """What a clone begins with.

    The branch is at `tip`; the files are those of `tree` where it is given, which is how work
    that was not committed comes back as such. In a worktree, HEAD is detached at `head` where it is
    given. `carried` is what else there was. All of it can be reached from `anchor`, which stays
    alive in the repository as long as the clone. `base` is what the session once began with, where
    the branch may have no history in common with it. `filtered` is whether the user's own filters
    write its files: what a session wrote is given to none.
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
    """Fill a folder with a clone that leans on the repository's objects, or has its own.

    Where the files lie in a layer beneath already, `index` is the one that knows them.
    `owner` is the uid that is given all of it, where it does not stay ours.
    """
    here = folder / ".git"
    names, _ = await run_both(
        clone_refs.list_reachable_refs(repo, start.base or start.tip),
        _init_repository(repo, folder, start.branch),
    )
    with reporting_os_errors(folder):
        if repo.shallow:
            shutil.copyfile(repo.common / "shallow", here / "shallow")
        with (here / "config").open("a", **_TEXT) as config:
            config.write(f"{_format_identity(repo.who)}{clone_refs.REMOTE_CONFIG}")
        if ignored := read_excludes(repo.common, repo.excludes_file):
            (here / "info").mkdir(exist_ok=True)
            (here / "info/exclude").write_text(ignored, **_TEXT)
        if not own:
            (here / "objects/info").mkdir(exist_ok=True)
            (here / "objects/info/alternates").write_text(f"{list_object_stores(repo)[0]}\n")
    if own:
        tips = (start.anchor, *sorted(set(names.values())))  # of tags, the objects too
        await copy_objects(repo, here / "objects", tips)
    with reporting_os_errors(folder):
        names = clone_refs.write_refs(here, names, start.branch)
    await _set_refs(repo, folder, start, names)
    if index is None:
        tree = start.tree or "HEAD"
        await git(folder, "read-tree", "-u", "--reset", tree, ignore_config=True, long_running=True)
        if start.filtered:
            await filters.write_filtered_files(repo, start.tip, folder, {})
    beneath = here if index is None else index.parent
    if (beneath / filters.FILTERED_LIST).exists():
        await filters.configure_filters(repo, start.tip, here)
    if start.tree is not None:
        if index is not None:
            shutil.copyfile(index, here / "index")
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
    """Make a repository without a commit; git is asked once how that looks, and then no more."""
    here = folder / ".git"
    known = _config_templates.get(repo.object_format)
    if known is None:
        await git(
            repo.top,
            *("init", "-q", "--template=", f"--object-format={repo.object_format}"),
            *(f"--initial-branch={branch}", "--", str(folder)),
            ignore_config=True,
        )
        _config_templates[repo.object_format] = (here / "config").read_text()
        return
    with reporting_os_errors(folder):
        for part in ("", "objects", "objects/info", "objects/pack", "refs", "refs/heads"):
            (here / part).mkdir(parents=True)
        (here / "HEAD").write_text(f"ref: refs/heads/{branch}\n")
        (here / "config").write_text(known)


def _write_ref(file: Path, commit: str) -> None:
    # as git does it: each git that need not be started saves milliseconds
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{commit}\n")


async def change_owner(folder: Path, owner: int | None) -> None:
    """Give a new folder to the uid of the host that agents run as, where it is not ours."""
    if owner is None:
        return
    with reporting_os_errors(folder):
        await run_in_thread(lambda: file_trees.change_owner(folder, owner))


async def copy_objects(repo: Repo, store: Path, tips: Sequence[str]) -> None:
    """Copy all objects that commits reach into an object store, and no others."""
    with reporting_os_errors(store):
        (store / "pack").mkdir(parents=True, exist_ok=True)
    # no transport: the user's configuration may forbid or redirect any of them
    await git(
        repo.top,
        *("pack-objects", "-q", "--revs", "--delta-base-offset"),
        str(store / "pack/pack"),
        input_text="".join(f"{tip}\n" for tip in tips),
        long_running=True,
    )


def _format_identity(who: Identity) -> str:
    told = f"[user]\n\tname = {_quote(who.author)}\n\temail = {_quote(who.email)}\n"
    if (who.committer, who.committer_email) != (who.author, who.email):
        told += f"[committer]\n\tname = {_quote(who.committer)}\n"
        told += f"\temail = {_quote(who.committer_email)}\n"
    return told


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'
