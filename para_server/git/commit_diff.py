"""Compare two commits, within limits of time and size."""

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

MAX_PATCH: Final = 16 << 20  # bytes; editors show no larger patches
MAX_FILES: Final = 20_000  # changed files that are listed; all are counted
MAX_AUTO_RUN: Final = 1000  # the same for files that run automatically
_MAX_PATHS: Final = 8 << 20  # characters of all paths of a list
_MAX_PATH: Final = 1 << 16  # bytes; no system opens a longer one
_LISTING_TIMEOUT: Final = 60.0  # seconds; comparing the trees of a million files takes a few
_MAX_NOTE: Final = 500  # characters of a line about an omission
_GITLINK: Final = "160000"


class _TextLimits(NamedTuple):
    """The size of files and the time for comparing texts: a few files can take git hours."""

    max_size: str
    timeout: float  # seconds


# larger files count as binary: git needs forty times the size of a text of empty lines
_TEXT_LIMITS: Final = (_TextLimits("8m", 8.0), _TextLimits("64k", 8.0))
# no setting of the user changes the output or runs a program
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
    """The changes between two commits: `files` are the first of `count`.

    `auto_run` are those that run automatically. Unknown numbers are 0, with the reason in
    `omitted`. `coarse` is whether comparing texts of ordinary size took too long.
    """

    files: tuple[FileChange, ...] = ()
    count: int = 0
    insertions: int = 0
    deletions: int = 0
    auto_run: tuple[str, ...] = ()
    omitted: tuple[str, ...] = ()
    coarse: bool = False


async def compare_commits(repo: Repo, old: str, new: str) -> CommitDiff:
    """Compare two commits; what takes too long is left out, with a line in `omitted`."""
    omitted: list[str] = []
    listing = _ChangeList(await _find_symlink_names(repo, new, omitted))
    try:
        await _stream_fields(
            repo, ["--raw", "--no-abbrev", old, new], listing, "8m", _LISTING_TIMEOUT
        )
    except GitFailedError as error:
        omitted.append(f"not all changed files are listed: {error}")
    if not listing.names.complete:
        omitted.append(
            "there are too many symbolic links: files were not checked by all their names"
        )
    if listing.running > len(listing.auto_run):
        listed = f"only {len(listing.auto_run)} of {listing.running}"
        omitted.append(f"{listed} files that run automatically are listed")
    counts, limits = await _count_lines(repo, old, new, listing)
    if limits is None:
        omitted.append(f"lines were not counted: it took longer than {_total_timeout():g} seconds")
    elif limits is not _TEXT_LIMITS[0]:
        omitted.append(_describe_omission(limits, "their lines are not counted"))
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
        coarse=limits is not _TEXT_LIMITS[0],
    )


class Patch(NamedTuple):
    """A patch, which ends with comments on omissions, and the same omissions as sentences."""

    text: str
    omitted: tuple[str, ...]


async def create_patch(repo: Repo, old: str, new: str, known: CommitDiff) -> Patch:
    """Return the patch between two commits that were compared before.

    A patch that is too large or takes too long ends after a complete file.
    """
    raw = bytearray()
    notes = list(known.omitted)
    if known.count > len(known.files):
        notes.append(f"only {len(known.files)} of {known.count} changed files are listed")

    def receive(chunk: bytes) -> bool:
        raw.extend(chunk)
        return len(raw) <= MAX_PATCH

    cut = ""
    for limits in _TEXT_LIMITS[1:] if known.coarse else _TEXT_LIMITS:
        raw.clear()
        cut = ""
        try:
            command = [*_diff_arguments(limits.max_size), *_PATCH, old, new]
            await stream_git_output(repo.top, command, receive, limits.timeout)
        except GitTooSlowError:
            cut = f"it took longer than {_total_timeout():g} seconds"
            continue
        except GitFailedError as error:
            cut = str(error)
            continue
        if limits is not _TEXT_LIMITS[0] and not known.coarse:
            notes.append(_describe_omission(limits, "they are shown as binary"))
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
    """Split the output of git at NULs, chunk by chunk; fields are cut at the limit of a path."""

    def __init__(self, handle_field: Callable[[bytes], None]) -> None:
        self._handle_field = handle_field
        self._rest = b""

    def __call__(self, chunk: bytes) -> bool:
        """Receive a chunk of the output."""
        first, *others = chunk.split(b"\0")
        self._rest = (self._rest + first)[:_MAX_PATH]
        for field in others:
            self._handle_field(self._rest)
            self._rest = field[:_MAX_PATH]
        return True


class _ChangeList:
    """The changed files, as they arrive: the first are listed, all are counted."""

    def __init__(self, names: SymlinkNames) -> None:
        self.names = names
        self.count = 0
        self.files: dict[bytes, tuple[str, str]] = {}
        self.auto_run: list[str] = []
        self._length = 0  # characters of their paths
        self.running = 0
        self._running_length = 0
        self._entry = b""
        self.receive = _FieldSplitter(self._handle_field)

    def _handle_field(self, field: bytes) -> None:
        if not self._entry:
            self._entry = field
            return
        old_mode, new_mode, *_, letter = self._entry[1:].decode().split(" ")
        self._entry = b""
        path = field.decode(errors="surrogateescape")
        # JSON requires UTF-8
        shown = path.encode(errors="surrogateescape").decode(errors="backslashreplace")
        self.count += 1
        runs = letter != "D" and (
            runs_automatically(path)
            or any(runs_automatically(name) for name in self.names.names_of(path))
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
    """The inserted and deleted lines, of all files and of each listed file."""

    def __init__(self, listing: _ChangeList) -> None:
        self.insertions = 0
        self.deletions = 0
        self.of: dict[bytes, tuple[int, int]] = {}
        self._listing = listing
        self.receive = _FieldSplitter(self._handle_field)

    def _handle_field(self, field: bytes) -> None:
        more, less, path = field.split(b"\t", 2)
        if not more.isdigit():  # a binary file has "-"
            return
        self.insertions += int(more)
        self.deletions += int(less)
        if path in self._listing.files:
            self.of[path] = (int(more), int(less))


async def _find_symlink_names(repo: Repo, commit: str, omitted: list[str]) -> SymlinkNames:
    """Return the further names of a commit's files; a failure is added to `omitted`."""
    try:
        return await symlink_names.find_symlink_names(repo, commit)
    except GitFailedError as error:
        omitted.append(f"files were not checked by their names behind symbolic links: {error}")
        return SymlinkNames({}, "")


async def _count_lines(
    repo: Repo, old: str, new: str, listing: _ChangeList
) -> tuple[_LineCounts, _TextLimits | None]:
    """Count changed lines, and return the limits that sufficed, or None."""
    if listing.count == 0:
        return _LineCounts(listing), _TEXT_LIMITS[0]
    for limits in _TEXT_LIMITS:
        counts = _LineCounts(listing)
        try:
            arguments = ["--numstat", old, new]
            await _stream_fields(repo, arguments, counts, limits.max_size, limits.timeout)
        except GitFailedError:
            continue
        return counts, limits
    return _LineCounts(listing), None


async def _stream_fields(
    repo: Repo,
    arguments: list[str],
    fields: _ChangeList | _LineCounts,
    max_size: str,
    seconds: float,
) -> None:
    await stream_git_output(
        repo.top, [*_diff_arguments(max_size), "-z", *arguments], fields.receive, seconds
    )


def _diff_arguments(max_size: str) -> tuple[str, ...]:
    return ("-c", f"core.bigFileThreshold={max_size}", *_CONFIG, *_COMPARE)


def _describe_omission(limits: _TextLimits, consequence: str) -> str:
    return (
        f"some files are larger than {limits.max_size}, and {consequence}: "
        f"comparing all texts took longer than {_TEXT_LIMITS[0].timeout:g} seconds"
    )


def _total_timeout() -> float:
    return sum(limits.timeout for limits in _TEXT_LIMITS)
