"""Extract the work of a container session: snapshot, bundle, verify, import."""

from __future__ import annotations

import asyncio
import logging
import secrets
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, Literal

from para_server.concurrency.cancellation import run_both, run_to_end
from para_server.context import Context
from para_server.core import container_spec
from para_server.core.errors import ParaError, Remedy
from para_server.core.model import Model
from para_server.core.names import HELPER_PREFIX, incoming_ref
from para_server.core.records import Record
from para_server.core.settings import parse_size
from para_server.core.untrusted import printable, read_bounded
from para_server.engine import containers, oneshot
from para_server.git import bundle as bundles
from para_server.git import clone, repository
from para_server.git.process import GitFailedError
from para_server.git.repository import EMPTY_TREE, Repo
from para_server.host.filesystem import reporting_os_errors
from para_server.sessions import extract_job, file_ownership, off_branch, provision, reconcile
from para_server.sessions.off_branch import Findings
from para_server.sessions.recipes import find_helper_image

_log = logging.getLogger(__name__)
_MAX_RESULT: Final = 4096  # bytes
_RAISE_LIMIT: Final = Remedy(title="Increase the size limit", setting="git.maxBundle")
_TOO_LARGE_OUTPUT: Final = (
    "File too large",
    "File size limit",
    "file too large",
    "signal 25",
)  # SIGXFSZ
# causes that another mode may not have
_OF_WORKSPACE: Final = frozenset({"workspace.git-failed", "workspace.too-large"})
_KILLED: Final = 128 + signal.SIGKILL
_MAX_LOG: Final = 2000  # bytes of a failed helper's log in the error
# purpose of the extraction: a look needs only what a branch can hold
Aim = Literal["look", "finish", "cancel"]
# modes of snapshot.sh, in order; full is repeated only if the workspace is not the cause
_MODES: Final = ("full", "full", "plain", "flat")


class Extracted(Model):
    """Commits with the work of a session, in the repository under refs/para/incoming.

    `tip` is for the branch; `keep` also has what a branch cannot hold, if `more` is true.
    `head` is the session's own branch, without uncommitted changes. `since` is the commit to
    compare the tip with: the base commit, or the empty tree if that is gone.
    """

    tip: str
    keep: str
    head: str
    more: bool
    since: str
    findings: Findings = Findings()


@asynccontextmanager
async def extracted_work(
    context: Context, repo: Repo, record: Record, message: str, aim: Aim
) -> AsyncIterator[Extracted]:
    """Yield the extracted work, valid inside the block; raises workspace.git-failed.

    If git fails on the workspace's own attributes and filters, the files are taken byte for byte;
    if its .git cannot be read, they become one commit on the base commit.
    """
    clearing: list[asyncio.Task[None]] = []  # done in the background while the caller works
    try:
        yield await _extract(context, repo, record, message, aim, clearing)
    finally:
        try:
            await run_to_end(_delete_incoming_refs(context, repo, record))
        finally:
            await run_to_end(asyncio.gather(*clearing))


async def _extract(
    context: Context,
    repo: Repo,
    record: Record,
    message: str,
    aim: Aim,
    clearing: list[asyncio.Task[None]],
) -> Extracted:
    failed: ParaError | None = None
    for number, mode in enumerate(_MODES):
        if mode in _MODES[:number] and not isinstance(failed, (GitFailedError, _KilledError)):
            continue
        try:
            return await _try_mode(context, repo, record, message, (mode, aim), clearing)
        except _TimeLimitError:
            raise
        except ParaError as error:
            if error.slug not in _OF_WORKSPACE or mode == _MODES[-1]:
                raise
            _log.warning("extraction failed (%s): %s", mode, error, extra={"session": record.name})
            failed = error
            await run_to_end(asyncio.gather(*clearing))  # the next mode may need the disk space
    raise _unverified_error(record)


class _TimeLimitError(ParaError):
    """The time limit is reached: a simpler mode would take as long."""


class _KilledError(ParaError):
    """The helper was killed: another one may succeed."""


async def _try_mode(
    context: Context,
    repo: Repo,
    record: Record,
    message: str,
    job: tuple[str, Aim],
    clearing: list[asyncio.Task[None]],
) -> Extracted:
    scratch = context.store.make_scratch_folder(record.id)
    try:
        since = await repository.resolve_ref(repo, f"{record.base}^{{commit}}")
        object_stores = await _object_stores_for(context, repo, record, scratch, job[0], since)
        extract_job.write_job(scratch, repo, record, message, object_stores, rootless=since is None)
        await _run_snapshot(context, repo, record, scratch, job, object_stores)
        # its results are in the folder, so the container can go meanwhile
        extracted, _ = await run_both(
            _verify(context, repo, record, scratch, since), _remove_helper(context, scratch)
        )
        return extracted
    finally:
        clearing.append(asyncio.create_task(_clean_up(context, scratch, record)))


async def _clean_up(context: Context, scratch: Path, record: Record) -> None:
    """Remove the helper and then its folder, which reconciling finds if this fails."""
    try:
        await _remove_helper(context, scratch)
        await provision.remove_folder(context, scratch, record.id)
    except ParaError as error:
        reconcile.log_postponed(f"{scratch} is not removed", error)


async def _remove_helper(context: Context, scratch: Path) -> None:
    await containers.remove(context.engine, f"{HELPER_PREFIX}{scratch.name}")


async def _object_stores_for(
    context: Context, repo: Repo, record: Record, scratch: Path, mode: str, since: str | None
) -> list[Path]:
    """Return the object stores that the helper may read in addition to the session's own.

    A session with its own objects must not reach others by their hashes, so its helper reads none.
    In mode flat, which does not use the session's objects, it reads a copy of the base commit's.
    """
    if not record.has_own_objects(context.settings(Path(record.repo)).git.objects):
        return repository.list_object_stores(repo)
    if mode != "flat" or since is None:
        return []
    await clone.copy_objects(repo, scratch / "lent", (since,))
    return [Path(container_spec.OUT, "lent")]


async def _run_snapshot(
    context: Context,
    repo: Repo,
    record: Record,
    scratch: Path,
    job: tuple[str, Aim],
    object_stores: Sequence[Path],
) -> None:
    settings = context.settings(None).git
    stores = [store for store in object_stores if not store.is_relative_to(container_spec.OUT)]
    work = await provision.workspace_mount(context, record)
    own = [context.store.upper_folder(record.id)] if record.bases else []
    spec = container_spec.helper_container(
        f"{HELPER_PREFIX}{scratch.name}",
        record.id,
        image=await find_helper_image(context),
        home=context.store.home,
        command=(
            "bash",
            f"{container_spec.OUT}/snapshot.sh",
            *job,
            record.base,
            repo.object_format,
        ),
        environment={},
        mounts=[
            work.model_copy(update={"read_only": True}),
            container_spec.Mount(source=str(scratch), target=container_spec.OUT),
            *(
                container_spec.Mount(source=str(u), target=container_spec.UPPER, read_only=True)
                for u in own
            ),
            *(container_spec.Mount(source=str(s), target=str(s), read_only=True) for s in stores),
        ],
        file_size=parse_size(settings.max_bundle),
    )
    await file_ownership.hand_to_helper(context, scratch)
    code = await oneshot.run_and_keep(context.engine, spec, settings.max_seconds)
    if code is None:
        raise _TimeLimitError(
            "workspace.timeout",
            f"Extracting the work of {record.name} took longer than {settings.max_seconds} seconds",
            Remedy(title="Increase the time limit", setting="git.maxSeconds"),
        )
    if code != 0:
        output = read_bounded(scratch / "log", _MAX_LOG, from_end=True) or b""
        raise _snapshot_error(record, code, printable(output.decode(errors="replace").strip()))


def _snapshot_error(record: Record, code: int, output: str) -> ParaError:
    """Return the error for a helper that failed, with a remedy that fits its output."""
    params = {"name": record.name, "repo": record.repo}
    open_it = Remedy(title="Open it, fix it and try again", command="para.open", params=params)
    kind = _KilledError if code == _KILLED else ParaError
    too_large = any(word in output for word in _TOO_LARGE_OUTPUT)
    return kind(
        "workspace.too-large" if too_large else "workspace.git-failed",
        f"The work of {record.name} could not be extracted (exit code {code}): {output}",
        _RAISE_LIMIT if too_large else open_it,
    )


async def _verify(
    context: Context, repo: Repo, record: Record, scratch: Path, since: str | None
) -> Extracted:
    fields = (read_bounded(scratch / "result", _MAX_RESULT) or b"").decode(errors="replace").split()
    well_formed = len(fields) == 4 and all(repository.COMMIT.match(c) for c in fields[:3])  # noqa: PLR2004 # tip, keep, head, more
    if not well_formed:
        raise _unverified_error(record)
    tip, keep, head, more = fields
    bundle = scratch / "bundle"
    commits = {"tip": tip, "keep": keep}
    names = {end: f"{commit}^{{commit}}" for end, commit in commits.items()}
    if bundle.is_file() and not bundle.is_symlink():
        seconds = context.settings(None).git.max_seconds
        quarantine = scratch / secrets.token_hex(8)  # a name that the helper cannot guess
        with reporting_os_errors(quarantine):
            quarantine.mkdir()
        _, old = await run_both(
            bundles.verify_bundle(repo, bundle, quarantine, seconds, (tip, keep), since),
            run_both(*(repository.is_ancestor(repo, one, record.base) for one in (tip, keep))),
        )
        # a bundle does not contain commits that the base commit has already
        ends = {
            end: at for (end, at), is_old in zip(commits.items(), old, strict=True) if not is_old
        }
        names |= {end: f"{incoming_ref(record.id)}/{end}" for end in ends}
        async with context.store.locked_refs(record.refs_at):
            await bundles.import_bundle(repo, bundle, record.id, ends, seconds)
    # the position of the branch is reported by the session too, so it is verified
    head_is_known, arrived = await run_both(
        repository.is_ancestor(repo, head, keep),
        run_both(*(repository.resolve_ref(repo, name) for name in names.values())),
    )
    if arrived != (tip, keep) or not head_is_known:
        raise _unverified_error(record)
    return Extracted(
        tip=tip,
        keep=keep,
        head=head,
        more=more == "1",
        since=since or EMPTY_TREE[repo.object_format],
        findings=off_branch.read_findings(scratch),
    )


def _unverified_error(record: Record) -> ParaError:
    return ParaError(
        "workspace.git-failed",
        f"The work of {record.name} could not be verified; the session is unchanged",
        Remedy(title="Show it", command="para.show", params={"name": record.name}),
    )


async def _delete_incoming_refs(context: Context, repo: Repo, record: Record) -> None:
    """Delete the incoming refs; those that remain are deleted when the session ends."""
    try:
        async with context.store.locked_refs(record.refs_at):
            await bundles.delete_incoming_refs(repo, record.id)
    except ParaError as error:
        _log.warning("refs are not deleted yet: %s", error, extra={"session": record.name})
