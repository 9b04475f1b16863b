"""Create, change and list containers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from para_server.core.container_spec import WORKSPACE, ContainerSpec
from para_server.core.errors import CHECK_SETUP, DISABLE_CONTAINERS, ParaError, Remedy
from para_server.core.model import Model
from para_server.core.names import (
    CONTAINER_PREFIX,
    HELPER_PREFIX,
    LABEL_HELPER,
    LABEL_HOME,
    LABEL_SESSION,
    SESSION_NETWORK,
    container_name,
)
from para_server.engine import networks
from para_server.engine.capacity import fit_to_capacity, forget_capacity, get_capacity
from para_server.engine.client import Engine
from para_server.engine.container_config import build_config
from para_server.engine.error_translation import error_text, image_missing_error, missing_bind_path

if TYPE_CHECKING:
    from docker import APIClient

_STOP_TIMEOUT: Final = 3  # seconds until a container is killed
_MAX_START_TRIES: Final = 3  # other processes can remove the network at the same time
_NOT_FOUND: Final = 404
_BEING_REMOVED: Final = "is already in progress"  # the engine's error for a second removal
_TOO_MANY_CPUS: Final = "Range of CPUs"  # the engine's error for more CPUs than it has
_INVALID_MOUNT: Final = "invalid mount option"  # Podman's error for a path with a comma
_ALREADY_DONE: Final = (304, 409)


class ContainerInfo(Model):
    """A container as the engine lists it; `state` is the engine's name for its state."""

    id: str
    name: str
    image: str
    image_id: str
    state: str
    status: str
    session: str | None
    home: str | None
    helper: str | None = None
    has_workspace: bool = False  # unlike in a user's container from a session's image
    volumes: Mapping[str, str] = Field(default_factory=dict)  # their paths on the engine by name


async def create(engine: Engine, spec: ContainerSpec) -> str:
    """Create a container and return its id; raises engine.image-missing."""

    def request(api: APIClient) -> str:
        from docker.errors import APIError

        _require_sources(spec)
        try:
            return _create(engine, api, spec)
        except APIError as error:
            path = missing_bind_path(error)
            if path is not None and os.path.lexists(path):
                raise separate_files_error(engine, path) from None
            if _INVALID_MOUNT in error_text(error):
                raise _comma_error(spec) from None
            if _TOO_MANY_CPUS not in str(error.explanation):
                raise
        forget_capacity(engine)
        return _create(engine, api, spec)

    return await engine.call(request)


def _require_sources(spec: ContainerSpec) -> None:
    """Raise engine.refused for a mount whose source is missing, since Podman would create it."""
    for mount in spec.mounts:
        if not mount.volume and _is_absent(mount.source):
            raise ParaError(
                "engine.refused",
                f"Cannot mount {mount.source}: it does not exist on this machine",
                Remedy(title="Change the mounts", setting="container.mounts"),
                CHECK_SETUP,
            )


def _is_absent(path: str) -> bool:
    try:
        Path(path).stat()
    except FileNotFoundError:
        return True
    except OSError:  # it may exist, but this user has no access
        pass
    return False


def _comma_error(spec: ContainerSpec) -> ParaError:
    path = next((mount.source for mount in spec.mounts if "," in mount.source), "")
    return ParaError(
        "engine.refused",
        f"Podman cannot mount {path}: its path contains a comma",
        Remedy(title="Mount another folder", setting="container.mounts"),
        DISABLE_CONTAINERS,
    )


def _create(engine: Engine, api: APIClient, spec: ContainerSpec) -> str:
    from docker.errors import NotFound

    if spec.network == SESSION_NETWORK:
        spec = spec.model_copy(update={"network": networks.ensure_network(api, spec.labels)})
    config = build_config(api, fit_to_capacity(spec, get_capacity(engine, api)))
    try:
        return str(api.create_container_from_config(config, spec.name)["Id"])  # type: ignore[no-untyped-call] # untyped in the stubs
    except NotFound as error:
        if "image" in str(error.explanation).lower():
            raise image_missing_error(spec.image) from None
        raise


def separate_files_error(engine: Engine, path: str) -> ParaError:
    """Return the error for an engine that does not share this machine's file system."""
    return ParaError(
        "engine.refused",
        f"The engine at {engine.address} does not see the files of this machine: {path} does not "
        "exist there. Sessions need an engine that shares this machine's files",
        Remedy(title="Choose another engine", setting="engine.host"),
        DISABLE_CONTAINERS,
        CHECK_SETUP,
    )


async def start(engine: Engine, container: str) -> None:
    """Start a container; recreate the sessions' network if it was removed."""

    def request(api: APIClient) -> None:
        from docker.errors import APIError

        for _ in range(_MAX_START_TRIES):
            try:
                return api.start(container)
            except APIError as error:
                if not networks.reconnect(api, container, error):
                    raise
        return api.start(container)

    await engine.call(request)


def started_info(container: str, name: str, image: str) -> ContainerInfo:
    """Return the info of a container that was just started, without a request to the engine."""
    return ContainerInfo(
        id=container,
        name=name,
        image=image,
        image_id="",
        state="running",
        status="",
        session=None,
        home=None,
    )


async def stop(engine: Engine, container: str) -> None:
    """Stop a container; do nothing if it is not running."""
    await engine.call(
        lambda api: _ignore_status(lambda: api.stop(container, timeout=_STOP_TIMEOUT))
    )


async def remove(engine: Engine, container: str) -> None:
    """Remove a container and its anonymous volumes; do nothing if it does not exist.

    Only a few are removed at once: Docker 20.10 can hang when dozens are.
    """

    def request(api: APIClient) -> None:
        from docker.errors import APIError

        try:
            api.remove_container(container, v=True, force=True)
        except APIError as error:
            if error.status_code == _NOT_FOUND:
                return
            if _BEING_REMOVED not in str(error.explanation):
                raise
            # another process has requested the removal: wait for it to complete
            _ignore_status(lambda: api.wait(container, api.timeout, "removed"), _NOT_FOUND)

    async with engine.removals:
        await engine.call(request)


async def list_session_containers(engine: Engine) -> list[ContainerInfo]:
    """Return the containers of all sessions on the engine, of every installation of para."""
    return await _list_by_prefix(engine, CONTAINER_PREFIX)


async def list_oneshot_containers(engine: Engine) -> list[ContainerInfo]:
    """Return the one-shot containers on the engine, of every installation of para."""
    return await _list_by_prefix(engine, HELPER_PREFIX)


async def find(engine: Engine, name: str) -> ContainerInfo | None:
    """Return the container with exactly this name, or None."""
    listed = await _list_by_prefix(engine, name)
    return next((item for item in listed if item.name == name), None)


async def list_renamed(engine: Engine, session_id: str | None = None) -> list[ContainerInfo]:
    """Return the containers of one or all sessions that were renamed outside para."""
    label = LABEL_SESSION if session_id is None else f"{LABEL_SESSION}={session_id}"
    raw = await engine.call(lambda api: api.containers(all=True, filters={"label": label}))
    labelled = [_parse_info(item) for item in raw]
    # a user's container that is created from a session's image inherits its labels
    ours = [item for item in labelled if item.has_workspace]
    return [item for item in ours if not item.name.startswith(CONTAINER_PREFIX)]


async def restore_name(
    engine: Engine, session_id: str, is_mine: Callable[[str | None], bool]
) -> bool:
    """Restore the name of a session's renamed container; return whether there was one."""
    renamed = [item for item in await list_renamed(engine, session_id) if is_mine(item.home)]
    if not renamed:
        return False
    await engine.call(lambda api: api.rename(renamed[0].id, container_name(session_id)))
    return True


async def _list_by_prefix(engine: Engine, prefix: str) -> list[ContainerInfo]:
    # the low-level list: docker-py's high-level one inspects each container
    raw = await engine.call(lambda api: api.containers(all=True, filters={"name": prefix}))
    listed = [_parse_info(item) for item in raw]
    return [item for item in listed if item.name.startswith(prefix)]


def _parse_info(item: dict[str, Any]) -> ContainerInfo:
    labels = item.get("Labels") or {}
    names = item.get("Names") or ["/"]
    return ContainerInfo(
        id=item["Id"],
        name=names[0].lstrip("/"),
        image=item.get("Image", ""),
        image_id=item.get("ImageID", ""),
        state=item.get("State", ""),
        status=item.get("Status", ""),
        session=labels.get(LABEL_SESSION),
        home=labels.get(LABEL_HOME),
        helper=labels.get(LABEL_HELPER),
        has_workspace=any(m.get("Destination") == WORKSPACE for m in item.get("Mounts") or ()),
        volumes={
            mount["Name"]: mount.get("Source", "")
            for mount in item.get("Mounts") or ()
            if mount.get("Type") == "volume"
        },
    )


def _ignore_status(call: Any, *codes: int) -> None:
    from docker.errors import APIError

    try:
        call()
    except APIError as error:
        if error.status_code not in (codes or (_NOT_FOUND, *_ALREADY_DONE)):
            raise
