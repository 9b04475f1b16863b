"""Find the further names that the links in a commit give its files: tools open them by those."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from para_server.git.bounded_output import stream_git_output
from para_server.git.process import git
from para_server.git.repository import Repo

_LINK: Final = b"120000 blob "
_MAX_LINKS: Final = 5000  # links that are followed
_MAX_TARGET: Final = 4096  # bytes of what a link says: no system follows a longer one
_MAX_ENTRY: Final = 1 << 16  # bytes
_MAX_HOPS: Final = 40  # links that a system follows one after the other
_MAX_NAMES_PER_FILE: Final = 64  # of one file
_MAX_NAMES: Final = 100_000  # of all files: looking at them takes about a second
_TIMEOUT: Final = 20.0  # many times what it takes to list a million files


class SymlinkNames:
    """The further names of the files of a commit; `whole` is whether all links were followed."""

    def __init__(self, links: Mapping[str, str], top: str, *, whole: bool = True) -> None:
        self.whole = whole
        self._left = _MAX_NAMES
        self._beneath: dict[str, list[str]] = {}  # the links that lead to a path
        for link in links:
            place = _resolve_link(link, links, top)
            if place is not None:
                self._beneath.setdefault(place, []).append(link)

    def of(self, path: str) -> Iterator[str]:
        """Yield the names of a path by links to it, or to a folder above it."""
        if not self._beneath:
            return
        known = {path}
        waiting: list[tuple[str, frozenset[str]]] = [(path, frozenset())]
        while waiting:
            one, through = waiting.pop()
            for above in _list_ancestors(one):
                for link in self._beneath.get(above, ()):
                    name = f"{link}{one[len(above) :]}" if above else f"{link}/{one}"
                    # a link leads to the same place each time: circles give no further names
                    if link in through or name in known or len(name) > _MAX_TARGET:
                        continue
                    if self._left == 0 or len(known) > _MAX_NAMES_PER_FILE:
                        self.whole = False
                        return
                    self._left -= 1
                    known.add(name)
                    waiting.append((name, through | {link}))
                    yield name


async def find_symlink_names(repo: Repo, commit: str) -> SymlinkNames:
    """Return the further names of the files of a commit; raises GitFailedError."""
    found: dict[str, str] = {}  # the object of each link
    rest = b""

    def take(part: bytes) -> bool:
        nonlocal rest
        rest += part
        if _LINK not in rest:  # as of most trees, and a million files take a while to look at
            rest = rest[rest.rfind(b"\0") + 1 :][:_MAX_ENTRY]
            return True
        *entries, rest = rest.split(b"\0")
        rest = rest[:_MAX_ENTRY]
        for entry in entries:
            if entry.startswith(_LINK):
                how, _, path = entry.partition(b"\t")
                found[path.decode(errors="surrogateescape")] = how[len(_LINK) :].decode()
        return len(found) <= _MAX_LINKS

    await stream_git_output(
        repo.top, ("ls-tree", "-r", "-z", "--full-tree", commit), take, _TIMEOUT
    )
    texts = await _read_targets(repo, sorted(set(found.values()))) if found else {}
    links = {path: texts[oid] for path, oid in found.items() if oid in texts}
    return SymlinkNames(links, str(repo.top), whole=len(found) <= _MAX_LINKS)


async def _read_targets(repo: Repo, objects: list[str]) -> dict[str, str]:
    """Read what links say; an object that is longer is none that a system follows."""
    checked = await git(
        repo.top,
        *("cat-file", "--batch-check=%(objectname) %(objectsize)"),
        input_text="".join(f"{oid}\n" for oid in objects),
    )
    sizes = [line.split(" ") for line in checked.splitlines()]
    short = [oid for oid, size in sizes if size.isdecimal() and int(size) <= _MAX_TARGET]
    listed = await git(
        repo.top,
        "cat-file",
        "--batch=%(objectsize)",
        input_text="".join(f"{oid}\n" for oid in short),
    )
    raw = listed.encode(errors="surrogateescape")
    texts: dict[str, str] = {}
    at = 0
    for oid in short:
        begin = raw.index(b"\n", at) + 1
        end = begin + int(raw[at:begin])
        texts[oid] = raw[begin:end].decode(errors="surrogateescape")
        at = end + 1
    return texts


def _list_ancestors(path: str) -> Iterator[str]:
    """Yield a path, the folders above it, and the top as nothing."""
    end = len(path)
    while end > 0:
        yield path[:end]
        end = path.rfind("/", 0, end)
    yield ""


def _resolve_link(link: str, links: Mapping[str, str], top: str) -> str | None:
    """Return the path that a link leads to, through further links; None where it leads away."""
    at: list[str] = []
    waiting = link.split("/")[::-1]
    hops = 0
    while waiting:
        part = waiting.pop()
        if part in {"", "."}:
            continue
        if part == "..":
            if not at:
                return None
            at.pop()
            continue
        said = links.get("/".join((*at, part)))
        if said is None:
            at.append(part)
            continue
        hops += 1
        if hops > _MAX_HOPS:
            return None
        if said.startswith("/"):
            if not f"{said}/".startswith(f"{top}/"):
                return None
            said, at = said[len(top) :], []
        waiting += said.split("/")[::-1]
    return "/".join(at)
