"""The only place that tries in a container whether an engine can serve sessions on this machine."""

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

_SECONDS: Final = 60
_HOLDER: Final = "trial"  # whom its folder and its container belong to
_LONGEST: Final = 4096  # bytes of what the container says
_TRIAL: Final = (
    f"cd {container_spec.OUT} && cat given >back && date +%s >time && df -Pk / | tail -n 1 >room"
    " && for tool in bash tmux git; do command -v $tool >/dev/null || echo $tool; done >missing"
)


class Outcome(Model):
    """What a container of the engine found: bytes free on its disk, its clock, tools it lacks."""

    room: int | None
    ahead: float | None  # seconds that its clock is before ours
    missing: tuple[str, ...]


async def demand_same_files(context: Context) -> None:
    """Raise engine.refused where an engine that is no socket of this machine has other files.

    It is tried once; of a socket's engine the first container shows it. But Podman creates what it
    does not find.
    """
    podman = (await inspect_engine(context.engine)).podman
    if context.engine.address.startswith("unix://") and not podman:
        return
    address = hashlib.sha256(context.engine.address.encode()).hexdigest()[:16]
    known = context.store.checkouts_folder / f"seen-{address}"
    if known.is_file():
        return
    await run(context)
    with reporting_os_errors(known):
        known.touch()


async def run(context: Context, image: str | None = None) -> Outcome:
    """Let a container read and write a file of this machine, and look around in an image.

    Raises engine.refused where it does not see the file, and engine.image-missing.
    """
    chosen = image or await find_helper_image(context)
    word = secrets.token_hex(8)
    # what nobody holds is cleared away by other processes
    async with context.store.locked_session(_HOLDER), rollback_on_failure() as rollback:
        scratch = context.store.make_scratch_folder(_HOLDER)
        name = f"{HELPER_PREFIX}{scratch.name}"
        rollback.push_async_callback(run_in_thread, lambda: remove_tree(scratch))
        rollback.push_async_callback(containers.remove, context.engine, name)
        with reporting_os_errors(scratch):
            (scratch / "given").write_text(word)
        await file_ownership.hand_to_helper(context, scratch)
        wanted = container_spec.helper_container(
            name,
            _HOLDER,
            image=chosen,
            home=context.store.home,
            command=("sh", "-c", _TRIAL),
            environment={},
            mounts=[container_spec.Mount(source=str(scratch), target=container_spec.OUT)],
            file_size=parse_size("1m"),
        )
        await oneshot.run(context.engine, wanted, _SECONDS)
        now = time.time()
        if _said(scratch / "back") != word:
            raise containers.separate_files_error(context.engine, str(scratch))
        outcome = _outcome(scratch, now)
        await run_in_thread(lambda: remove_tree(scratch))
    return outcome


def _outcome(scratch: Path, now: float) -> Outcome:
    clock, room = _said(scratch / "time"), _said(scratch / "room").split()
    free = room[3] if len(room) > 3 else ""  # noqa: PLR2004 # as df -P has its columns
    return Outcome(
        room=int(free) << 10 if free.isdigit() else None,
        ahead=int(clock) - now if clock.isdigit() else None,
        missing=tuple(_said(scratch / "missing").split()),
    )


def _said(file: Path) -> str:
    try:
        said = read_bounded(file, _LONGEST)
    except ParaError:
        return ""
    return (said or b"").decode(errors="replace").strip()
