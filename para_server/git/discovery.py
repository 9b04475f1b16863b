"""Find the user's repository of a folder or a session, and refuse the folders of para itself."""

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

# the marks of a partial clone: of a remote since git 2.22, of the repository before
_PARTIAL: Final = r"extensions\.partialclone|remote\..*\.promisor"
_CONFIG_KEYS: Final = f"^({user_config.KEYS}|{_PARTIAL})$"
_OWN_SCOPES: Final = frozenset({"system", "global", "command"})
_NOTHING_SET: Final = 1  # exit code of `git config` where no key matches
# a work tree can contain a bare repository with hooks; git has this protection since 2.38
_NO_BARE: Final = ("-c", "safe.bareRepository=explicit")
_LOCATIONS: Final = ("--show-toplevel", "--git-common-dir", "--absolute-git-dir")
_PROPERTIES: Final = ("--show-object-format", "--is-shallow-repository")
# files that git opens in every command
_FILES_GIT_OPENS: Final = (
    *("HEAD", "index", "packed-refs", "shallow", "info/attributes", "info/exclude"),
    *("info/sparse-checkout", "info/grafts", "objects/info/alternates"),
)
_MAX_REASON: Final = 300  # characters of an error of git


class _Config(NamedTuple):
    """git's effective configuration for a folder, and the part that is not the repository's."""

    effective: Mapping[str, str]
    own: Mapping[str, str]


async def find_repository(folder: Path) -> Repo:
    """Return the repository of a folder of the user.

    Raises workspace.not-a-repository, also for folders of para itself: git reads the configuration
    of the repository that it runs in, and an agent controls the one in a workspace.
    Raises workspace.git-failed if git cannot work with the repository.
    """
    if is_in_para_home(folder):
        raise _para_folder_error(folder)
    repo = await find_repository_anywhere(folder)
    for path in (repo.top, repo.common):
        if is_in_para_home(path):  # through a link, a .git file, or core.worktree
            raise _para_folder_error(path)
    return repo


@single_flight
async def find_repository_anywhere(folder: Path) -> Repo:
    """Return the repository of a folder, which may be the worktree of a session."""
    try:
        (top, common, git_folder, object_format, shallow), config = await run_both(
            _read_layout(folder), _read_config(folder)
        )
    except GitMissingError:
        raise
    except GitFailedError as error:
        raise _explain_failure(folder, error) from None
    if Path(git_folder) in (absolute := folder.absolute(), *absolute.parents):
        raise _no_work_tree_error(folder)  # a bare one, which git before 2.38 accepts
    return _build_repo((Path(top), Path(common)), object_format, config, shallow=shallow == "true")


async def find_session_repository(record: Record) -> Repo | None:
    """Return the repository of a session, or None if it no longer exists."""
    if Path(record.repo).is_dir() or (record.common and Path(record.common).is_dir()):
        return await get_session_repository(record)
    return None


async def get_session_repository(record: Record) -> Repo:
    """Return the repository of a session, even if the worktree that it started in is gone.

    Raises workspace.not-a-repository if the repository itself is gone.
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
    """Return a repository by its git folder, through its main worktree if it has one."""
    common = Path(record.common)
    if not common.is_dir():
        raise ParaError(
            "workspace.not-a-repository",
            f"The repository of session {record.name} is gone: {common} does not exist",
            Remedy(title=f"Move it back to {record.repo}"),
        )
    if is_in_para_home(common):
        raise _para_folder_error(common)
    if common.name == ".git":
        repo = await find_repository(common.parent)
        if repo.common == common:
            return repo
    try:
        # there are only linked worktrees, so git runs in the git folder itself
        output, config = await run_both(
            git(common, "rev-parse", *_PROPERTIES), _read_config(common)
        )
    except GitFailedError as error:
        raise _explain_failure(common, error) from None
    object_format, shallow = output.split()
    return _build_repo((common, common), object_format, config, shallow=shallow == "true")


def _build_repo(
    paths: tuple[Path, Path], object_format: str, config: _Config, *, shallow: bool
) -> Repo:
    top, common = paths
    _require_regular_files(common)
    return Repo(
        top=top,
        common=common,
        object_format=object_format,
        shallow=shallow,
        partial=any(re.fullmatch(_PARTIAL, key, re.DOTALL) for key in config.effective),
        who=user_config.build_identity(config.effective),
        excludes_file=user_config.find_excludes_file(top, config.own),
        warnings=user_config.list_warnings(common, config.effective, config.own),
    )


def _require_regular_files(common: Path) -> None:
    """Raise workspace.git-failed if git would wait forever for one of its files (a named pipe)."""
    for name in _FILES_GIT_OPENS:
        try:
            mode = (common / name).stat().st_mode
        except (OSError, ValueError):
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise ParaError(
                "workspace.git-failed",
                f"git cannot work in {common}: {name} is not a regular file",
                Remedy(title=f"Remove {common}/{name}, unless you need it"),
            )


async def _read_layout(folder: Path) -> list[str]:
    options = (*_LOCATIONS, *_PROPERTIES)
    rev_parse = (*_NO_BARE, "rev-parse", "--path-format=absolute")
    lines = (await git(folder, *rev_parse, *options, environment=SEARCH_UPWARDS)).splitlines()
    if len(lines) == len(options):
        return lines
    # a path contains a newline
    outputs = [
        await git(folder, *rev_parse, option, environment=SEARCH_UPWARDS) for option in options
    ]
    return [output.removesuffix("\n") for output in outputs]


async def _read_config(folder: Path) -> _Config:
    try:
        command = ("config", "--show-scope", "-z", "--get-regexp", _CONFIG_KEYS)
        output = await git(folder, *command, environment=SEARCH_UPWARDS)
    except GitFailedError as error:
        if error.exit_code != _NOTHING_SET:
            raise
        return _Config({}, {})
    effective: dict[str, str] = {}
    own: dict[str, str] = {}
    fields = output.split("\0")
    for scope, entry in zip(fields[0::2], fields[1::2], strict=False):
        key, _, value = entry.partition("\n")
        effective[key] = value
        if scope in _OWN_SCOPES:
            own[key] = value
    return _Config(effective, own)


def _explain_failure(folder: Path, error: GitFailedError) -> ParaError:
    """Return the error for the cause of a failure: the configuration, the owner, or the folder."""
    output = error.output
    if "dubious ownership" in output:
        return ParaError(
            "workspace.git-failed",
            f"git refuses to work in {folder}: the repository belongs to another user",
            Remedy(
                title="If you trust it: "
                f"git config --global --add safe.directory {shlex.quote(str(_find_root(folder)))}"
            ),
        )
    if "work tree" in output or "bare repository" in output:
        return _no_work_tree_error(folder)
    marker = _find_dot_git(folder)
    if "not a git repository" in output and marker is None:
        return ParaError(
            "workspace.not-a-repository",
            f"{folder} is not in a git repository with a work tree",
            Remedy(title="Create one: git init && git commit --allow-empty"),
        )
    start = max(output.rfind("fatal: "), 0)  # the following lines may name the cause
    reason = printable(" ".join(output[start:].split())) or "no reason given"
    if "not a git repository" in output:
        reason = f"{marker} exists, but git does not accept it as a repository ({reason})"
    return ParaError(
        "workspace.git-failed",
        f"git cannot work in {folder}: {reason[:_MAX_REASON]}",
        Remedy(title=f"Fix the problem, then check with: git -C {shlex.quote(str(folder))} status"),
    )


def _no_work_tree_error(folder: Path) -> ParaError:
    return ParaError(
        "workspace.not-a-repository",
        f"{folder} is a bare repository or in a git folder, without a work tree",
        Remedy(title="Use the folder of a work tree; git worktree add creates one"),
    )


def _para_folder_error(folder: Path) -> ParaError:
    return ParaError(
        "workspace.not-a-repository",
        f"{folder} belongs to para itself, where git never runs on the host",
        Remedy(title="Use the folder of the repository that the session started in"),
    )


def _find_dot_git(folder: Path) -> Path | None:
    """Return the nearest `.git` at or above a folder."""
    absolute = folder.absolute()
    candidates = (parent / ".git" for parent in (absolute, *absolute.parents))
    return next((path for path in candidates if path.exists() or path.is_symlink()), None)


def _find_root(folder: Path) -> Path:
    marker = _find_dot_git(folder)
    return marker.parent if marker is not None else folder
