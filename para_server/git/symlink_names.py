"""Find the names by which tools can open files of a commit through symbolic links in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from para_server.git.bounded_output import stream_git_output
from para_server.git.process import git
from para_server.git.repository import Repo

_LINK: Final = b"120000 blob "
_MAX_LINKS: Final = 5000  # symbolic links of a commit
_MAX_TARGET: Final = 4096  # bytes; no system follows a longer link
_MAX_ENTRY: Final = 1 << 16  # bytes
_MAX_HOPS: Final = 40  # links that systems follow in one path
_MAX_NAMES_PER_FILE: Final = 64  # of one file
_MAX_NAMES: Final = 100_000  # of all files; checking them takes about a second
_TIMEOUT: Final = 20.0  # seconds; a million files are listed in a fraction of it


class SymlinkNames:
    """The further names of the files of a commit; `complete` is whether all links were followed."""

    def __init__(self, links: Mapping[str, str], top: str, *, complete: bool = True) -> None:
        self.complete = complete
        self._left = _MAX_NAMES
        self._links_to: dict[str, list[str]] = {}  # by target path
        for link in links:
            target = _resolve_link(link, links, top)
            if target is not None:
                self._links_to.setdefault(target, []).append(link)

    def names_of(self, path: str) -> Iterator[str]:
        """Yield the names of a path through links to it or to a folder above it."""
        if not self._links_to:
            return
        known = {path}
        pending: list[tuple[str, frozenset[str]]] = [(path, frozenset())]
        while pending:
            current, through = pending.pop()
            for ancestor in _list_ancestors(current):
                for link in self._links_to.get(ancestor, ()):
                    rest = current[len(ancestor) :] if ancestor else f"/{current}"
                    name = f"{link}{rest}"
                    # following a link twice, in a circle, leads to no further names
                    if link in through or name in known or len(name) > _MAX_TARGET:
                        continue
                    if self._left == 0 or len(known) > _MAX_NAMES_PER_FILE:
                        self.complete = False
                        return
                    self._left -= 1
                    known.add(name)
                    pending.append((name, through | {link}))
                    yield name


async def find_symlink_names(repo: Repo, commit: str) -> SymlinkNames:
    """Return the further names of the files of a commit; raises GitFailedError."""
    objects: dict[str, str] = {}  # the object of each link
    rest = b""

    def receive(chunk: bytes) -> bool:
        nonlocal rest
        rest += chunk
        if _LINK not in rest:  # most trees: splitting a million entries takes time
            rest = rest[rest.rfind(b"\0") + 1 :][:_MAX_ENTRY]
            return True
        *entries, rest = rest.split(b"\0")
        rest = rest[:_MAX_ENTRY]
        for entry in entries:
            if entry.startswith(_LINK):
                description, _, path = entry.partition(b"\t")
                objects[path.decode(errors="surrogateescape")] = description[len(_LINK) :].decode()
        return len(objects) <= _MAX_LINKS

    await stream_git_output(
        repo.top, ("ls-tree", "-r", "-z", "--full-tree", commit), receive, _TIMEOUT
    )
    targets = await _read_targets(repo, sorted(set(objects.values()))) if objects else {}
    links = {path: targets[oid] for path, oid in objects.items() if oid in targets}
    return SymlinkNames(links, str(repo.top), complete=len(objects) <= _MAX_LINKS)


async def _read_targets(repo: Repo, objects: list[str]) -> dict[str, str]:
    """Return the targets of links by object, without those too long to follow."""
    sizes_output = await git(
        repo.top,
        *("cat-file", "--batch-check=%(objectname) %(objectsize)"),
        input_text="".join(f"{oid}\n" for oid in objects),
    )
    sizes = [line.split(" ") for line in sizes_output.splitlines()]
    short = [oid for oid, size in sizes if size.isdecimal() and int(size) <= _MAX_TARGET]
    targets_output = await git(
        repo.top,
        "cat-file",
        "--batch=%(objectsize)",
        input_text="".join(f"{oid}\n" for oid in short),
    )
    raw = targets_output.encode(errors="surrogateescape")
    targets: dict[str, str] = {}
    offset = 0
    for oid in short:
        start = raw.index(b"\n", offset) + 1
        end = start + int(raw[offset:start])
        targets[oid] = raw[start:end].decode(errors="surrogateescape")
        offset = end + 1
    return targets


def _list_ancestors(path: str) -> Iterator[str]:
    """Yield a path, the folders above it, and "" for the top."""
    end = len(path)
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)
    yield ""


def _resolve_link(link: str, links: Mapping[str, str], top: str) -> str | None:
    """Return the path that a link leads to, through further links; None if it is outside `top`."""
    resolved: list[str] = []
    pending = link.split("/")[::-1]
    hops = 0
    while pending:
        part = pending.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            if not resolved:
                return None
            resolved.pop()
            continue
        target = links.get("/".join((*resolved, part)))
        if target is None:
            resolved.append(part)
            continue
        hops += 1
        if hops > _MAX_HOPS:
            return None
        if target.startswith("/"):
            if not f"{target}/".startswith(f"{top}/"):
                return None
            target, resolved = target[len(top) :], []
        pending += target.split("/")[::-1]
    return "/".join(resolved)
