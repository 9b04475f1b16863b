"""Runs the user's own content filters on files of the user's own commits, and no others.

A filter is a program. Only those of the user's own and the machine's configuration are run: a
repository's `.git/config` may have come with it. What a session wrote is given to none of them.
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

FILTERED_LIST: Final = (
    "para-filtered"  # in a workspace's .git: what filters wrote, for the end of a session
)
_CLEAN: Final = "para-clean"
_SCRIPT: Final = f"""#!/bin/sh
# What a filter of the user's wrote is to git what it came from; all else is as it is.
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
_BATCH_SIZE: Final = 1000  # paths in one command
_REGULAR_FILE: Final = "100"  # what the mode of a plain file begins with


@cached
async def list_filters(repo: Repo, commit: str) -> tuple[str, ...]:
    """Return the filters that the attributes in a commit, named by its hash, ask for."""
    try:
        told = await git(repo.top, "grep", "-hI", "-e", "filter=", commit, "--", _ATTRIBUTES)
    except GitFailedError as error:
        if error.exit_code != EXIT_NO:
            raise
        return ()
    lines = [line for line in told.splitlines() if not line.startswith("#")]
    return tuple(sorted({name for line in lines for name in _FILTER_NAME.findall(line)}))


async def list_warnings(repo: Repo, commit: str) -> tuple[str, ...]:
    """Say what a person should know of the filters of a commit, in one line each."""
    wanted = await list_filters(repo, commit)
    if not wanted:
        return ()
    known = await _read_drivers(repo)
    return tuple(
        f"The git filter {name} is not in the container: files that need it cannot be finished "
        "once they are changed"
        if _has_smudge(known.get(name, {}))
        else f"The git filter {name} is not in your own git configuration: files that need it are "
        "in the session as git stores them, and cannot be finished once they are changed"
        for name in wanted
    )


async def write_filtered_files(
    repo: Repo, commit: str, folder: Path, environment: Mapping[str, str]
) -> None:
    """Write the files of a checkout again that a filter has to convert, before a session has it.

    Where a filter fails, as one that fetches from somewhere, they stay as git stores them.
    """
    wanted = await list_filters(repo, commit)
    if not wanted:
        return
    known = await _read_drivers(repo)
    usable = {name: known[name] for name in wanted if _has_smudge(known.get(name, {}))}
    paths = await _find_filtered_paths(folder, environment, frozenset(usable)) if usable else []
    if not paths:
        return
    given = "".join(f"{path}\0" for path in paths)
    for path in paths:  # git does not write a file again that it takes for unchanged
        (folder / path).unlink()
    again = ("checkout-index", "-q", "-f", "-u", "-z", "--stdin")
    try:
        configured = {**environment, **_create_environment(repo, usable)}
        await git(
            folder,
            *again,
            input_text=given,
            ignore_config=True,
            long_running=True,
            environment=configured,
        )
    except GitFailedError:
        await git(
            folder,
            *again,
            input_text=given,
            ignore_config=True,
            long_running=True,
            environment=environment,
        )
        return
    await _record_filtered(folder, environment, paths)


async def configure_filters(repo: Repo, commit: str, git_folder: Path) -> None:
    """Let the git of a session find what a filter wrote unchanged, until somebody changes it."""
    (git_folder / _CLEAN).write_text(_SCRIPT)
    with (git_folder / "config").open("a", encoding="utf-8", errors="surrogateescape") as config:
        for name in await list_filters(repo, commit):
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            config.write(f'[filter "{quoted}"]\n\tclean = sh {WORKSPACE}/.git/{_CLEAN}\n')


async def _record_filtered(
    folder: Path, environment: Mapping[str, str], paths: Sequence[str]
) -> None:
    """Note for each path what a filter made, and of which object."""
    lines: list[str] = []
    for begin in range(0, len(paths), _BATCH_SIZE):
        some = paths[begin : begin + _BATCH_SIZE]
        raw = await git(
            folder,
            *("hash-object", "--no-filters", "--", *some),
            ignore_config=True,
            environment=environment,
        )
        index = await git(
            folder,
            *("--literal-pathspecs", "ls-files", "-s", "-z", "--", *some),
            ignore_config=True,
            environment=environment,
        )
        stored = {
            path: how.split()[1]
            for how, _, path in (one.partition("\t") for one in index.split("\0") if one)
        }
        lines += [
            f"{made} {stored[path]}\t{path}\0"
            for path, made in zip(some, raw.split(), strict=True)
            if path in stored
        ]
    text = "".join(lines)
    (folder / ".git" / FILTERED_LIST).write_text(text, encoding="utf-8", errors="surrogateescape")


async def _find_filtered_paths(
    folder: Path, environment: Mapping[str, str], names: frozenset[str]
) -> list[str]:
    staged = await git(folder, "ls-files", "-s", "-z", ignore_config=True, environment=environment)
    # of a link git filters nothing, and who opens it is led to any file of the host
    entries = [one.partition("\t") for one in staged.split("\0") if one.startswith(_REGULAR_FILE)]
    listed = "".join(f"{path}\0" for _, _, path in entries)
    told = await git(
        folder,
        *("check-attr", "-z", "--stdin", "filter"),
        input_text=listed,
        ignore_config=True,
        environment=environment,
    )
    fields = told.split("\0")
    triples = zip(fields[0::3], fields[2::3], strict=False)
    return [path for path, value in triples if value in names and (folder / path).is_file()]


async def _read_drivers(repo: Repo) -> dict[str, dict[str, str]]:
    """Return the filters of the user's own configuration, and what each is configured with."""
    found: dict[str, dict[str, str]] = {}
    try:
        told = await git(repo.top, "config", "--show-scope", "-z", "--get-regexp", r"^filter\.")
    except GitFailedError as error:
        if error.exit_code != EXIT_NO:
            raise
        return found
    fields = told.split("\0")
    for scope, entry in zip(fields[0::2], fields[1::2], strict=False):
        key, _, value = entry.partition("\n")
        name, _, what = key.removeprefix("filter.").rpartition(".")
        if scope in _SCOPES:
            found.setdefault(name, {})[what] = value
    return found


def _has_smudge(driver: Mapping[str, str]) -> bool:
    return bool(driver.get("smudge") or driver.get("process"))


def _create_environment(repo: Repo, drivers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Configure git by its environment, which no other user of the machine can read."""
    pairs = [
        (f"filter.{name}.{what}", value)
        for name, driver in drivers.items()
        for what, value in driver.items()
    ]
    pairs.append(("lfs.storage", str(repo.common / "lfs")))  # where the user's checkout has it
    told = {"GIT_CONFIG_COUNT": str(len(pairs))}
    for n, (key, value) in enumerate(pairs):
        told |= {f"GIT_CONFIG_KEY_{n}": key, f"GIT_CONFIG_VALUE_{n}": value}
    return told
