"""The only place that tells what changed between two commits, within bounds of time and size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from para_server.core.auto_run_files import runs_automatically
from para_server.core.model import Model
from para_server.core.results import FileChange
from para_server.core.untrusted import one_line
from para_server.git import symlink_names
from para_server.git.bounded_output import stream_git_output
from para_server.git.process import GitFailedError, GitTooSlowError
from para_server.git.repository import Repo
from para_server.git.symlink_names import SymlinkNames

MAX_PATCH: Final = 16 << 20  # bytes of a patch that an editor can still show
MAX_FILES: Final = 20_000  # changed files that are listed; all are counted
MAX_AUTO_RUN: Final = 1000  # the same of those that run by themselves
_MAX_PATHS: Final = 8 << 20  # characters of the paths of a list
_MAX_PATH: Final = 1 << 16  # bytes; no system opens a longer one
_LISTING_TIMEOUT: Final = 60.0  # trees alone are compared, a million files take a few
_MAX_NOTE: Final = 500  # characters of a line that says what is left out
_GITLINK: Final = "160000"


class _TextLimits(NamedTuple):
    """How long texts are compared, and up to which size: a few can take git hours."""

    largest: str
    seconds: float


# a text of nothing but line ends takes git forty times its size: what is larger counts as binary
_TEXT_LIMITS: Final = (_TextLimits("8m", 8.0), _TextLimits("64k", 8.0))
# the user's own configuration does not change what is shown, and none of its programs run
_CONFIG: Final = (
    *("-c", "diff.suppressBlankEmpty=false", "-c", "diff.indentHeuristic=true"),
    *("-c", "core.quotePath=true", "-c", "core.abbrev=12", "-c", "core.fsmonitor=false"),
)
_COMPARE: Final = (
    *("diff-tree", "-r", "--no-renames", "--no-relative", "--ignore-submodules=none"),
    *("--no-ext-diff", "--no-textconv", "--diff-algorithm=myers"),
)
_PATCH: Final = (
    *("-p", "--no-color", "--submodule=short", "-U3", "--inter-hunk-context=0"),
    *("--src-prefix=a/", "--dst-prefix=b/"),
)


class CommitDiff(Model):
    """What changed between two commits: `files` are the first of `count`.

    `auto_run` are those that run by themselves. What is not known is 0, and `omitted` says why.
    `coarse` is whether texts of an ordinary size took too long to compare.
    """

    files: tuple[FileChange, ...] = ()
    count: int = 0
    insertions: int = 0
    deletions: int = 0
    auto_run: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()
    coarse: bool = False


async def compare_commits(repo: Repo, old: str, new: str) -> CommitDiff:
    """Compare two commits; a comparison that takes too long leaves something out, and says so."""
    omitted: list[str] = []
    listing = _ChangeList(await _find_symlink_names(repo, new, omitted))
    try:
        await _stream_fields(
            repo, ["--raw", "--no-abbrev", old, new], listing, "8m", _LISTING_TIMEOUT
        )
    except GitFailedError as error:
        omitted.append(f"not all changed files were looked at: {error}")
    if not listing.names.whole:
        omitted.append("there are too many links: not all files were looked at by all their names")
    if listing.running > len(listing.auto_run):
        named = f"only {len(listing.auto_run)} of {listing.running}"
        omitted.append(f"{named} files that run by themselves are named")
    counts, effort = await _count_lines(repo, old, new, listing)
    if effort is None:
        omitted.append(f"lines were not counted: it took longer than {_total_timeout():g} seconds")
    elif effort is not _TEXT_LIMITS[0]:
        omitted.append(_describe_omission(effort, "their lines are not counted"))
    files = tuple(
        FileChange(path=shown, status=letter, insertions=more, deletions=less)
        for raw, (shown, letter) in listing.files.items()
        for more, less in [counts.of.get(raw, (0, 0))]
    )
    return CommitDiff(
        files=files,
        count=listing.count,
        insertions=counts.insertions,
        deletions=counts.deletions,
        auto_run=tuple(sorted(listing.auto_run)),
        omitted=tuple(omitted),
        coarse=effort is not _TEXT_LIMITS[0],
    )


class Patch(NamedTuple):
    """A patch, whose last lines say what is left out, and the same as a sentence each."""

    text: str
    omitted: tuple[str, ...]


async def create_patch(repo: Repo, old: str, new: str, known: CommitDiff) -> Patch:
    """Return the patch between two commits that were compared.

    It is cut after a whole file where it is enormous, or would take too long.
    """
    raw = bytearray()
    notes = list(known.omitted)
    if known.count > len(known.files):
        notes.append(f"only {len(known.files)} of {known.count} changed files are listed")

    def take(part: bytes) -> bool:
        raw.extend(part)
        return len(raw) <= MAX_PATCH

    cut = ""
    for effort in _TEXT_LIMITS[1:] if known.coarse else _TEXT_LIMITS:
        raw.clear()
        cut = ""
        try:
            asked = [*_diff_arguments(effort.largest), *_PATCH, old, new]
            await stream_git_output(repo.top, asked, take, effort.seconds)
        except GitTooSlowError:
            cut = f"it took longer than {_total_timeout():g} seconds"
            continue
        except GitFailedError as error:
            cut = str(error)
            continue
        if effort is not _TEXT_LIMITS[0] and not known.coarse:
            notes.append(_describe_omission(effort, "they are shown as binary"))
        break
    if len(raw) > MAX_PATCH:
        cut = f"the patch has more than {MAX_PATCH >> 20} MiB"
    if cut:
        del raw[max(raw.rfind(b"\ndiff --git ", 0, MAX_PATCH) + 1, 0) :]
        notes.append(f"the rest is left out: {cut}")
    omitted = tuple(one_line(note, _MAX_NOTE) for note in notes)
    lines = "".join(f"# {note}\n" for note in omitted)
    return Patch(f"{raw.decode(errors='replace')}{lines}", omitted)


class _FieldSplitter:
    """Splits what git prints at its NULs, part by part; what is too long for a path is cut."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self._take = take
        self._rest = b""

    def __call__(self, part: bytes) -> bool:
        """Take a part of the output."""
        first, *others = part.split(b"\0")
        self._rest = (self._rest + first)[:_MAX_PATH]
        for field in others:
            self._take(self._rest)
            self._rest = field[:_MAX_PATH]
        return True


class _ChangeList:
    """The changed files, as they come: the first are kept, all are counted."""

    def __init__(self, names: SymlinkNames) -> None:
        self.names = names
        self.count = 0
        self.files: dict[bytes, tuple[str, str]] = {}
        self.auto_run: list[str] = []
        self._length = 0  # characters of their paths
        self.running = 0
        self._running_length = 0
        self._entry = b""
        self.take = _FieldSplitter(self._field)

    def _field(self, field: bytes) -> None:
        if not self._entry:
            self._entry = field
            return
        old_mode, new_mode, *_, letter = self._entry[1:].decode().split(" ")
        self._entry = b""
        path = field.decode(errors="surrogateescape")
        # what is not UTF-8 cannot go over the wire
        shown = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
        self.count += 1
        runs = letter != "D" and (
            runs_automatically(path)
            or any(runs_automatically(name) for name in self.names.of(path))
        )
        if runs or _GITLINK in {old_mode, new_mode}:
            self.running += 1
            if len(self.auto_run) < MAX_AUTO_RUN and self._running_length < _MAX_PATHS:
                self.auto_run.append(shown)
                self._running_length += len(shown)
        if len(self.files) < MAX_FILES and self._length < _MAX_PATHS:
            self.files[field] = (shown, letter[:1])
            self._length += len(shown)


class _LineCounts:
    """The lines that came and went, in all and of the files that are listed."""

    def __init__(self, listing: _ChangeList) -> None:
        self.insertions = 0
        self.deletions = 0
        self.of: dict[bytes, tuple[int, int]] = {}
        self._listing = listing
        self.take = _FieldSplitter(self._field)

    def _field(self, field: bytes) -> None:
        more, less, path = field.split(b"\t", 2)
        if not more.isdigit():  # a binary file has "-"
            return
        self.insertions += int(more)
        self.deletions += int(less)
        if path in self._listing.files:
            self.of[path] = (int(more), int(less))


async def _find_symlink_names(repo: Repo, commit: str, omitted: list[str]) -> SymlinkNames:
    """Return the further names of a commit's files; what cannot be told is said in `omitted`."""
    try:
        return await symlink_names.find_symlink_names(repo, commit)
    except GitFailedError as error:
        omitted.append(f"files were not looked at by their names behind links: {error}")
        return SymlinkNames({}, "")


async def _count_lines(
    repo: Repo, old: str, new: str, listing: _ChangeList
) -> tuple[_LineCounts, _TextLimits | None]:
    """Count lines, with less and less effort; no effort is given back where none was enough."""
    if listing.count == 0:
        return _LineCounts(listing), _TEXT_LIMITS[0]
    for effort in _TEXT_LIMITS:
        counts = _LineCounts(listing)
        try:
            asked = ["--numstat", old, new]
            await _stream_fields(repo, asked, counts, effort.largest, effort.seconds)
        except GitFailedError:
            continue
        return counts, effort
    return _LineCounts(listing), None


async def _stream_fields(
    repo: Repo, asked: list[str], fields: _ChangeList | _LineCounts, largest: str, seconds: float
) -> None:
    await stream_git_output(
        repo.top, [*_diff_arguments(largest), "-z", *asked], fields.take, seconds
    )


def _diff_arguments(largest: str) -> tuple[str, ...]:
    return ("-c", f"core.bigFileThreshold={largest}", *_CONFIG, *_COMPARE)


def _describe_omission(effort: _TextLimits, what: str) -> str:
    return (
        f"some files have more than {effort.largest}, and {what}: "
        f"comparing all texts took longer than {_TEXT_LIMITS[0].seconds:g} seconds"
    )


def _total_timeout() -> float:
    return sum(effort.seconds for effort in _TEXT_LIMITS)
