"""Run the user's content filters on files of the user's commits.

A filter is a program, so only filters of the user's and the system's configuration run: the
repository's `.git/config` may have come with it. They never run on files that a session wrote.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from para_server.concurrency.singleflight import cached
from para_server.core.container_spec import WORKSPACE
from para_server.git.process import GitFailedError, git
from para_server.git.repository import Repo
from para_server.git.retry import EXIT_NO

FILTERED_LIST: Final = "para-filtered"  # in a workspace's .git: the objects that filters wrote
_CLEAN: Final = "para-clean"
_SCRIPT: Final = f"""#!/bin/sh
# Maps unchanged files that a filter of the user wrote back to their objects.
file=$(mktemp)
trap 'rm -f "$file"' EXIT
cat >"$file"
made=$(git hash-object --no-filters "$file")
from=$(tr '\\000' '\\n' <{WORKSPACE}/.git/{FILTERED_LIST} |
    awk -v made="$made" '$1 == made {{print $2; exit}}')
if [ -n "$from" ]; then git cat-file blob "$from"; else cat "$file"; fi
"""
_ATTRIBUTES: Final = ":(glob)**/.gitattributes"
_FILTER_NAME: Final = re.compile(r"filter=(\S+)")
_SCOPES: Final = frozenset({"system", "global"})
_BATCH_SIZE: Final = 1000  # paths per command
_REGULAR_FILE: Final = "100"  # prefix of the mode of a regular file


@cached
async def list_filters(repo: Repo, commit: str) -> tuple[str, ...]:
    """Return the filters that the attributes in a commit request; cached by its hash."""
    try:
        output = await git(repo.top, "grep", "-hI", "-e", "filter=", commit, "--", _ATTRIBUTES)
    except GitFailedError as error:
        if error.exit_code != EXIT_NO:
            raise
        return ()
    lines = [line for line in output.splitlines() if not line.startswith("#")]
    return tuple(sorted({name for line in lines for name in _FILTER_NAME.findall(line)}))


async def list_warnings(repo: Repo, commit: str) -> tuple[str, ...]:
    """Return a warning for each filter of a commit, in one line."""
    names = await list_filters(repo, commit)
    if not names:
        return ()
    drivers = await _read_drivers(repo)
    return tuple(
        f"The git filter {name} is not in the container: files that need it cannot be finished "
        "once they are changed"
        if _has_smudge(drivers.get(name, {}))
        else f"The git filter {name} is not in your own git configuration: files that need it are "
        "in the session as git stores them, and cannot be finished once they are changed"
        for name in names
    )


async def write_filtered_files(
    repo: Repo, commit: str, folder: Path, environment: Mapping[str, str]
) -> None:
    """Write the files of a checkout that a filter converts, before a session has access to it.

    If a filter fails, for example one that downloads files, they stay as git stores them.
    """
    names = await list_filters(repo, commit)
    if not names:
        return
    drivers = await _read_drivers(repo)
    usable = {name: drivers[name] for name in names if _has_smudge(drivers.get(name, {}))}
    paths = await _find_filtered_paths(folder, environment, frozenset(usable)) if usable else []
    if not paths:
        return
    listing = "".join(f"{path}\0" for path in paths)
    for path in paths:  # git would skip existing files as unchanged
        (folder / path).unlink()
    command = ("checkout-index", "-q", "-f", "-u", "-z", "--stdin")
    try:
        configured = {**environment, **_create_environment(repo, usable)}
        await git(
            folder,
            *command,
            input_text=listing,
            ignore_config=True,
            long_running=True,
            environment=configured,
        )
    except GitFailedError:
        await git(
            folder,
            *command,
            input_text=listing,
            ignore_config=True,
            long_running=True,
            environment=environment,
        )
        return
    await _record_filtered(folder, environment, paths)


async def configure_filters(repo: Repo, commit: str, git_folder: Path) -> None:
    """Configure a session's git to see filtered files as unchanged until they are changed."""
    (git_folder / _CLEAN).write_text(_SCRIPT)
    with (git_folder / "config").open("a", encoding="utf-8", errors="surrogateescape") as config:
        for name in await list_filters(repo, commit):
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            config.write(f'[filter "{quoted}"]\n\tclean = sh {WORKSPACE}/.git/{_CLEAN}\n')


async def _record_filtered(
    folder: Path, environment: Mapping[str, str], paths: Sequence[str]
) -> None:
    """Record for each path the object that a filter wrote, and the stored object."""
    lines: list[str] = []
    for start in range(0, len(paths), _BATCH_SIZE):
        batch = paths[start : start + _BATCH_SIZE]
        output = await git(
            folder,
            *("hash-object", "--no-filters", "--", *batch),
            ignore_config=True,
            environment=environment,
        )
        index = await git(
            folder,
            *("--literal-pathspecs", "ls-files", "-s", "-z", "--", *batch),
            ignore_config=True,
            environment=environment,
        )
        stored = {
            path: description.split()[1]
            for description, _, path in (
                entry.partition("\t") for entry in index.split("\0") if entry
            )
        }
        lines += [
            f"{filtered} {stored[path]}\t{path}\0"
            for path, filtered in zip(batch, output.split(), strict=True)
            if path in stored
        ]
    text = "".join(lines)
    (folder / ".git" / FILTERED_LIST).write_text(text, encoding="utf-8", errors="surrogateescape")


async def _find_filtered_paths(
    folder: Path, environment: Mapping[str, str], names: frozenset[str]
) -> list[str]:
    staged = await git(folder, "ls-files", "-s", "-z", ignore_config=True, environment=environment)
    # git does not filter symbolic links, and opening one could reach any file of the host
    entries = [
        entry.partition("\t") for entry in staged.split("\0") if entry.startswith(_REGULAR_FILE)
    ]
    listing = "".join(f"{path}\0" for _, _, path in entries)
    output = await git(
        folder,
        *("check-attr", "-z", "--stdin", "filter"),
        input_text=listing,
        ignore_config=True,
        environment=environment,
    )
    fields = output.split("\0")
    triples = zip(fields[0::3], fields[2::3], strict=False)
    return [path for path, value in triples if value in names and (folder / path).is_file()]


async def _read_drivers(repo: Repo) -> dict[str, dict[str, str]]:
    """Return the filters of the user's and the system's configuration, with their settings."""
    drivers: dict[str, dict[str, str]] = {}
    try:
        output = await git(repo.top, "config", "--show-scope", "-z", "--get-regexp", r"^filter\.")
    except GitFailedError as error:
        if error.exit_code != EXIT_NO:
            raise
        return drivers
    fields = output.split("\0")
    for scope, entry in zip(fields[0::2], fields[1::2], strict=False):
        key, _, value = entry.partition("\n")
        name, _, setting = key.removeprefix("filter.").rpartition(".")
        if scope in _SCOPES:
            drivers.setdefault(name, {})[setting] = value
    return drivers


def _has_smudge(driver: Mapping[str, str]) -> bool:
    return bool(driver.get("smudge") or driver.get("process"))


def _create_environment(repo: Repo, drivers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return variables that configure git; unlike arguments, other users cannot read them."""
    pairs = [
        (f"filter.{name}.{setting}", value)
        for name, driver in drivers.items()
        for setting, value in driver.items()
    ]
    pairs.append(("lfs.storage", str(repo.common / "lfs")))  # as in the user's checkout
    variables = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for n, (key, value) in enumerate(pairs):
        variables |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}
    return variables
