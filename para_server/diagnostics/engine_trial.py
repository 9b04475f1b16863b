"""Run a trial container to check that an engine can run sessions on this machine."""

from __future__ import annotations

import hashlib
import secrets
import time
from pathlib import Path
from typing import Final

from para_server.concurrency.cancellation import rollback_on_failure, run_in_thread
from para_server.context import Context
from para_server.core import container_spec
from para_server.core.errors import ParaError
from para_server.core.model import Model
from para_server.core.names import HELPER_PREFIX
from para_server.core.settings import parse_size
from para_server.core.untrusted import read_bounded
from para_server.engine import containers, oneshot
from para_server.engine.engine_info import inspect_engine
from para_server.host.filesystem import remove_tree, reporting_os_errors
from para_server.sessions import file_ownership
from para_server.sessions.recipes import find_helper_image

_TIMEOUT: Final = 60  # seconds
_LOCK: Final = "trial"  # owner of the folder and the container
_MAX_OUTPUT: Final = 4096  # bytes of each output file
_SCRIPT: Final = (
    f"cd {container_spec.OUT} && cat given >back && date +%s >time && df -Pk / | tail -n 1 >room"
    " && for tool in bash tmux git; do command -v $tool >/dev/null || echo $tool; done >missing"
)


class TrialResult(Model):
    """Result of a trial: free bytes on the engine's disk, clock difference, missing tools."""

    room: int | None
    ahead: float | None  # seconds that its clock is ahead of ours
    missing: tuple[str, ...]


async def require_shared_files(context: Context) -> None:
    """Raise engine.refused if the engine does not see the files of this machine.

    Tried once for each engine. Docker on a local socket is not tried, because it refuses to mount a
    missing folder; Podman creates it instead.
    """
    podman = (await inspect_engine(context.engine)).podman
    if context.engine.address.startswith("unix://") and not podman:
        return
    address = hashlib.sha256(context.engine.address.encode()).hexdigest()[:16]
    known = context.store.checkouts_folder / f"seen-{address}"
    if known.is_file():
        return
    await run_trial(context)
    with reporting_os_errors(known):
        known.touch()


async def run_trial(context: Context, image: str | None = None) -> TrialResult:
    """Read and write a file of this machine in a container, and inspect its image.

    Raises engine.refused if the container does not see the file, and engine.image-missing.
    """
    chosen = image or await find_helper_image(context)
    word = secrets.token_hex(8)
    # locked, because other processes remove unlocked leftovers
    async with context.store.locked_session(_LOCK), rollback_on_failure() as rollback:
        scratch = context.store.make_scratch_folder(_LOCK)
        name = f"{HELPER_PREFIX}{scratch.name}"
        rollback.push_async_callback(run_in_thread, lambda: remove_tree(scratch))
        rollback.push_async_callback(containers.remove, context.engine, name)
        with reporting_os_errors(scratch):
            (scratch / "given").write_text(word)
        await file_ownership.hand_to_helper(context, scratch)
        spec = container_spec.helper_container(
            name,
            _LOCK,
            image=chosen,
            home=context.store.home,
            command=("sh", "-c", _SCRIPT),
            environment={},
            mounts=[container_spec.Mount(source=str(scratch), target=container_spec.OUT)],
            file_size=parse_size("1m"),
        )
        await oneshot.run(context.engine, spec, _TIMEOUT)
        now = time.time()
        if _read_text(scratch / "back") != word:
            raise containers.separate_files_error(context.engine, str(scratch))
        outcome = _read_outcome(scratch, now)
        await run_in_thread(lambda: remove_tree(scratch))
    return outcome


def _read_outcome(scratch: Path, now: float) -> TrialResult:
    clock, room = _read_text(scratch / "time"), _read_text(scratch / "room").split()
    free = room[3] if len(room) > 3 else ""  # noqa: PLR2004 # columns of df -P
    return TrialResult(
        room=int(free) << 10 if free.isdigit() else None,
        ahead=int(clock) - now if clock.isdigit() else None,
        missing=tuple(_read_text(scratch / "missing").split()),
    )


def _read_text(file: Path) -> str:
    try:
        content = read_bounded(file, _MAX_OUTPUT)
    except ParaError:
        return ""
    return (content or b"").decode(errors="replace").strip()
