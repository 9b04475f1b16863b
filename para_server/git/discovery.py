"""Find the user's repository that a folder or a session belongs to, and never one of para's own."""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from para_server.concurrency.cancellation import run_both
from para_server.concurrency.singleflight import single_flight
from para_server.core.errors import ParaError, Remedy
from para_server.core.records import Record
from para_server.core.untrusted import printable
from para_server.git import user_config
from para_server.git.process import SEARCH_UPWARDS, GitFailedError, GitMissingError, git
from para_server.git.repository import Repo
from para_server.host.installations import is_in_para_home

# what git marks a partial clone with: a remote since 2.22, before that the repository
_PARTIAL: Final = r"extensions\.partialclone|remote\..*\.promisor"
_CONFIG_KEYS: Final = f"^({user_config.KEYS}|{_PARTIAL})$"
_OWN_SCOPES: Final = frozenset({"system", "global", "command"})
_NOTHING_SET: Final = 1  # exit code of `git config` where no key matches
# a tree can hold what looks like a bare repository, with hooks in it; git knows this since 2.38
_NO_BARE: Final = ("-c", "safe.bareRepository=explicit")
_LOCATIONS: Final = ("--show-toplevel", "--git-common-dir", "--absolute-git-dir")
_PROPERTIES: Final = ("--show-object-format", "--is-shallow-repository")
# files of a repository that git opens whatever it does
_FILES_GIT_OPENS: Final = (
    *("HEAD", "index", "packed-refs", "shallow", "info/attributes", "info/exclude"),
    *("info/sparse-checkout", "info/grafts", "objects/info/alternates"),
)
_MAX_REASON: Final = 300  # characters of what git says


class _Config(NamedTuple):
    """What git's configuration says where it is asked, and what of it no repository said."""

    told: Mapping[str, str]
    own: Mapping[str, str]


async def find_repository(folder: Path) -> Repo:
    """Return the repository that holds a folder of the user's.

    Raises workspace.not-a-repository, also for every folder of para's own: git reads the
    configuration of the repository that it runs in, and the one in a workspace is an agent's.
    Raises workspace.git-failed where there is one that git can't work with.
    """
    if is_in_para_home(folder):
        raise _para_folder_error(folder)
    repo = await find_repository_anywhere(folder)
    for found in (repo.top, repo.common):
        if is_in_para_home(found):  # by a link, a .git file, or core.worktree
            raise _para_folder_error(found)
    return repo


@single_flight
async def find_repository_anywhere(folder: Path) -> Repo:
    """Return the repository that holds a folder; for the user's folders and worktree sessions."""
    try:
        (top, common, git_folder, object_format, shallow), config = await run_both(
            _read_layout(folder), _read_config(folder)
        )
    except GitMissingError:
        raise
    except GitFailedError as error:
        raise _explain_failure(folder, error) from None
    if Path(git_folder) in (absolute := folder.absolute(), *absolute.parents):
        raise _no_work_tree_error(folder)  # a bare one that no `.git` names, for a git before 2.38
    where = (Path(top), Path(common))
    return _build_repo(where, object_format, config, shallow=shallow == "true")


async def find_session_repository(record: Record) -> Repo | None:
    """Return the repository of a session, or None where it is gone."""
    if Path(record.repo).is_dir() or (record.common and Path(record.common).is_dir()):
        return await get_session_repository(record)
    return None


async def get_session_repository(record: Record) -> Repo:
    """Return the repository of a session, also where the worktree that it began in is gone.

    Raises workspace.not-a-repository where the repository itself is gone.
    """
    top = Path(record.repo)
    if not record.common:
        return await find_repository(top)
    if top.is_dir() and not is_in_para_home(top):
        try:
            repo = await find_repository(top)
        except ParaError:  # no longer a worktree of it
            if not Path(record.common).is_dir():
                raise
        else:
            if repo.common == Path(record.common):
                return repo
    return await _find_by_git_folder(record)


async def _find_by_git_folder(record: Record) -> Repo:
    """Return a repository by its git folder: by its main worktree where it has one."""
    common = Path(record.common)
    if not common.is_dir():
        raise ParaError(
            "workspace.not-a-repository",
            f"The repository of session {record.name} is gone: there is no {common}",
            Remedy(title=f"Move it back to {record.repo}"),
        )
    if is_in_para_home(common):
        raise _para_folder_error(common)
    if common.name == ".git":
        repo = await find_repository(common.parent)
        if repo.common == common:
            return repo
    try:
        told, config = await run_both(
            git(common, "rev-parse", *_PROPERTIES), _read_config(common)
        )  # it has only linked worktrees, so git runs in the folder itself
    except GitFailedError as error:
        raise _explain_failure(common, error) from None
    object_format, shallow = told.split()
    return _build_repo((common, common), object_format, config, shallow=shallow == "true")


def _build_repo(
    where: tuple[Path, Path], object_format: str, config: _Config, *, shallow: bool
) -> Repo:
    top, common = where
    _require_regular_files(common)
    return Repo(
        top=top,
        common=common,
        object_format=object_format,
        shallow=shallow,
        partial=any(re.fullmatch(_PARTIAL, key, re.DOTALL) for key in config.told),
        who=user_config.build_identity(config.told),
        excludes_file=user_config.find_excludes_file(top, config.own),
        warnings=user_config.list_warnings(common, config.told, config.own),
    )


def _require_regular_files(common: Path) -> None:
    """Raise workspace.git-failed where git would wait for ever for a file of its own."""
    for name in _FILES_GIT_OPENS:
        try:
            mode = (common / name).stat().st_mode
        except (OSError, ValueError):
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ParaError(
                "workspace.git-failed",
                f"git cannot work in {common}: {name} is no plain file",
                Remedy(title=f"Remove {common}/{name}, if nothing of yours needs it"),
            )


async def _read_layout(folder: Path) -> list[str]:
    asked = (*_LOCATIONS, *_PROPERTIES)
    rev_parse = (*_NO_BARE, "rev-parse", "--path-format=absolute")
    told = (await git(folder, *rev_parse, *asked, environment=SEARCH_UPWARDS)).splitlines()
    if len(told) == len(asked):
        return told
    # a path has a newline in it
    one_by_one = [await git(folder, *rev_parse, one, environment=SEARCH_UPWARDS) for one in asked]
    return [told.removesuffix("\n") for told in one_by_one]


async def _read_config(folder: Path) -> _Config:
    try:
        asked = ("config", "--show-scope", "-z", "--get-regexp", _CONFIG_KEYS)
        shown = await git(folder, *asked, environment=SEARCH_UPWARDS)
    except GitFailedError as error:
        if error.exit_code != _NOTHING_SET:
            raise
        return _Config({}, {})
    told: dict[str, str] = {}
    own: dict[str, str] = {}
    fields = shown.split("\0")
    for scope, entry in zip(fields[0::2], fields[1::2], strict=False):
        key, _, value = entry.partition("\n")
        told[key] = value
        if scope in _OWN_SCOPES:
            own[key] = value
    return _Config(told, own)


def _explain_failure(folder: Path, error: GitFailedError) -> ParaError:
    """Make the error that blames what is wrong: git's own configuration, an owner, the folder."""
    said = error.output
    if "dubious ownership" in said:
        return ParaError(
            "workspace.git-failed",
            f"git refuses to work in {folder}: the repository belongs to another user",
            Remedy(
                title="If you trust it, tell git so: "
                f"git config --global --add safe.directory {shlex.quote(str(_find_root(folder)))}"
            ),
        )
    if "work tree" in said or "bare repository" in said:
        return _no_work_tree_error(folder)
    marker = _find_dot_git(folder)
    if "not a git repository" in said and marker is None:
        return ParaError(
            "workspace.not-a-repository",
            f"{folder} is not in a git repository with a work tree",
            Remedy(title="Make it one: git init && git commit --allow-empty"),
        )
    begin = max(said.rfind("fatal: "), 0)  # what follows it may name the thing
    reason = printable(" ".join(said[begin:].split())) or "no reason given"
    if "not a git repository" in said:
        reason = f"there is {marker}, but git takes it for no repository ({reason})"
    return ParaError(
        "workspace.git-failed",
        f"git cannot work in {folder}: {reason[:_MAX_REASON]}",
        Remedy(title=f"Correct what git names, then try: git -C {shlex.quote(str(folder))} status"),
    )


def _no_work_tree_error(folder: Path) -> ParaError:
    return ParaError(
        "workspace.not-a-repository",
        f"{folder} is a bare repository, or within a git folder: it has no work tree",
        Remedy(title="Give the folder of a work tree; git worktree add makes one"),
    )


def _para_folder_error(folder: Path) -> ParaError:
    return ParaError(
        "workspace.not-a-repository",
        f"{folder} belongs to para itself: no git runs there on the host",
        Remedy(title="Give the folder of the repository that the session began in"),
    )


def _find_dot_git(folder: Path) -> Path | None:
    """Return the nearest `.git` at or above a folder."""
    absolute = folder.absolute()
    candidates = (one / ".git" for one in (absolute, *absolute.parents))
    return next((one for one in candidates if one.exists() or one.is_symlink()), None)


def _find_root(folder: Path) -> Path:
    marker = _find_dot_git(folder)
    return marker.parent if marker is not None else folder
