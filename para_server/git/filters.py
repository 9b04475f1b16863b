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
from para_server.git.retry import NO

LIST: Final = "para-filtered"  # in a workspace's .git: what filters wrote, for the end of a session
_CLEAN: Final = "para-clean"
_SCRIPT: Final = f"""#!/bin/sh
# What a filter of the user's wrote is to git what it came from; all else is as it is.
file=$(mktemp)
trap 'rm -f "$file"' EXIT
cat >"$file"
made=$(git hash-object --no-filters "$file")
from=$(tr '\\000' '\\n' <{WORKSPACE}/.git/{LIST} |
    awk -v made="$made" '$1 == made {{print $2; exit}}')
if [ -n "$from" ]; then git cat-file blob "$from"; else cat "$file"; fi
"""
_ATTRIBUTES: Final = ":(glob)**/.gitattributes"
_NAMED: Final = re.compile(r"filter=(\S+)")
_SCOPES: Final = frozenset({"system", "global"})
_AT_ONCE: Final = 1000  # paths in one command
_FILE: Final = "100"  # what the mode of a plain file begins with


@cached
async def named(repo: Repo, commit: str) -> tuple[str, ...]:
    """Return the filters that the attributes in a commit, named by its hash, ask for."""
    try:
        told = await git(repo.top, "grep", "-hI", "-e", "filter=", commit, "--", _ATTRIBUTES)
    except GitFailedError as error:
        if error.exit_code != NO:
            raise
        return ()
    lines = [line for line in told.splitlines() if not line.startswith("#")]
    return tuple(sorted({name for line in lines for name in _NAMED.findall(line)}))


async def warnings(repo: Repo, commit: str) -> tuple[str, ...]:
    """Say what a person should know of the filters of a commit, in one line each."""
    wanted = await named(repo, commit)
    if not wanted:
        return ()
    known = await _drivers(repo)
    return tuple(
        f"The git filter {name} is not in the container: files that need it cannot be finished "
        "once they are changed"
        if _converts(known.get(name, {}))
        else f"The git filter {name} is not in your own git configuration: files that need it are "
        "in the session as git stores them, and cannot be finished once they are changed"
        for name in wanted
    )


async def write(repo: Repo, commit: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Write the files of a checkout again that a filter has to convert, before a session has it.

    Where a filter fails, as one that fetches from somewhere, they stay as git stores them.
    """
    wanted = await named(repo, commit)
    if not wanted:
        return
    known = await _drivers(repo)
    usable = {name: known[name] for name in wanted if _converts(known.get(name, {}))}
    paths = await _paths(folder, environment, frozenset(usable)) if usable else []
    if not paths:
        return
    given = "".join(f"{path}\0" for path in paths)
    for path in paths:  # git does not write a file again that it takes for unchanged
        (folder / path).unlink()
    again = ("checkout-index", "-q", "-f", "-u", "-z", "--stdin")
    try:
        configured = {**environment, **_configuration(repo, usable)}
        await git(folder, *again, given=given, plain=True, long=True, environment=configured)
    except GitFailedError:
        await git(folder, *again, given=given, plain=True, long=True, environment=environment)
        return
    await _note(folder, environment, paths)


async def configure(repo: Repo, commit: str, git_folder: Path) -> None:
    """Let the git of a session find what a filter wrote unchanged, until somebody changes it."""
    (git_folder / _CLEAN).write_text(_SCRIPT)
    with (git_folder / "config").open("a", encoding="utf-8", errors="surrogateescape") as config:
        for name in await named(repo, commit):
            quoted = name.replace("\\", "\\\\").replace('"', '\\"')
            config.write(f'[filter "{quoted}"]\n\tclean = sh {WORKSPACE}/.git/{_CLEAN}\n')


async def _note(folder: Path, environment: Mapping[str, str], paths: Sequence[str]) -> None:
    """Note for each path what a filter made, and of which object."""
    lines: list[str] = []
    for begin in range(0, len(paths), _AT_ONCE):
        some = paths[begin : begin + _AT_ONCE]
        raw = await git(
            folder,
            *("hash-object", "--no-filters", "--", *some),
            plain=True,
            environment=environment,
        )
        index = await git(
            folder,
            *("--literal-pathspecs", "ls-files", "-s", "-z", "--", *some),
            plain=True,
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
    (folder / ".git" / LIST).write_text(text, encoding="utf-8", errors="surrogateescape")


async def _paths(folder: Path, environment: Mapping[str, str], names: frozenset[str]) -> list[str]:
    staged = await git(folder, "ls-files", "-s", "-z", plain=True, environment=environment)
    # of a link git filters nothing, and who opens it is led to any file of the host
    entries = [one.partition("\t") for one in staged.split("\0") if one.startswith(_FILE)]
    listed = "".join(f"{path}\0" for _, _, path in entries)
    told = await git(
        folder,
        *("check-attr", "-z", "--stdin", "filter"),
        given=listed,
        plain=True,
        environment=environment,
    )
    fields = told.split("\0")
    triples = zip(fields[0::3], fields[2::3], strict=False)
    return [path for path, value in triples if value in names and (folder / path).is_file()]


async def _drivers(repo: Repo) -> dict[str, dict[str, str]]:
    """Return the filters of the user's own configuration, and what each is configured with."""
    found: dict[str, dict[str, str]] = {}
    try:
        told = await git(repo.top, "config", "--show-scope", "-z", "--get-regexp", r"^filter\.")
    except GitFailedError as error:
        if error.exit_code != NO:
            raise
        return found
    fields = told.split("\0")
    for scope, entry in zip(fields[0::2], fields[1::2], strict=False):
        key, _, value = entry.partition("\n")
        name, _, what = key.removeprefix("filter.").rpartition(".")
        if scope in _SCOPES:
            found.setdefault(name, {})[what] = value
    return found


def _converts(driver: Mapping[str, str]) -> bool:
    return bool(driver.get("smudge") or driver.get("process"))


def _configuration(repo: Repo, drivers: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
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
