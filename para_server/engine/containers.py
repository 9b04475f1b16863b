"""The only place that knows the calls which make, change and list containers."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from para_server.engine import networks
from para_server.engine.capacity import capacity, fitted, forget
from para_server.engine.client import Engine
from para_server.engine.creation import config
from para_server.engine.failures import image_missing, unseen_path, words
from para_server.errors import SETUP_CHECK, WITHOUT_CONTAINERS, Frozen, ParaError, Remedy
from para_server.names import (
    CONTAINER_PREFIX,
    HELPER_PREFIX,
    LABEL_HELPER,
    LABEL_HOME,
    LABEL_SESSION,
    SESSION_NETWORK,
    container_name,
)
from para_server.spec import WORKSPACE, ContainerSpec

if TYPE_CHECKING:
    from docker import APIClient

_GRACE: Final = 3  # seconds that a container has to stop by itself
_STARTS: Final = 3  # tries, where the network that it needs comes and goes
_GONE: Final = 404
_ON_ITS_WAY: Final = "is already in progress"  # what the engine says of a removal
_FEWER_CPUS: Final = "Range of CPUs"  # what the engine says where it has fewer than before
_COMMA: Final = "invalid mount option"  # what Podman says of a path with a comma
_ALREADY: Final = (304, 409)


class Seen(Frozen):
    """A container as the engine lists it; `state` is the engine's own word."""

    id: str
    name: str
    image: str
    image_id: str
    state: str
    status: str
    session: str | None
    home: str | None
    helper: str | None = None
    works: bool = False  # a workspace is mounted in it: it was not made from a session's image
    volumes: Mapping[str, str] = Field(default_factory=dict)  # where the engine has them mounted


async def create(engine: Engine, spec: ContainerSpec) -> str:
    """Make a container and give its id; raises engine.image-missing."""

    def ask(api: APIClient) -> str:
        from docker.errors import APIError

        _demand_sources(spec)
        try:
            return _create(engine, api, spec)
        except APIError as error:
            path = unseen_path(error)
            if path is not None and os.path.lexists(path):
                raise sees_other_files(engine, path) from None
            if _COMMA in words(error):
                raise _cannot_mount(spec) from None
            if _FEWER_CPUS not in str(error.explanation):
                raise
        forget(engine)
        return _create(engine, api, spec)

    return await engine.call(ask)


def _demand_sources(spec: ContainerSpec) -> None:
    """Refuse a mount of what is not there, which Podman would create."""
    for one in spec.mounts:
        if not one.volume and _is_absent(one.source):
            raise ParaError(
                "engine.refused",
                f"There is no {one.source} on this machine, which is to be mounted",
                Remedy(title="Mount what is there", setting="container.mounts"),
                SETUP_CHECK,
            )


def _is_absent(path: str) -> bool:
    try:
        Path(path).stat()
    except FileNotFoundError:
        return True
    except OSError:  # it may be there, where this user may not look
        pass
    return False


def _cannot_mount(spec: ContainerSpec) -> ParaError:
    path = next((one.source for one in spec.mounts if "," in one.source), "")
    return ParaError(
        "engine.refused",
        f"Podman cannot mount {path}, since its path has a comma",
        Remedy(title="Mount another folder", setting="container.mounts"),
        WITHOUT_CONTAINERS,
    )


def _create(engine: Engine, api: APIClient, spec: ContainerSpec) -> str:
    from docker.errors import NotFound

    if spec.network == SESSION_NETWORK:
        spec = spec.model_copy(update={"network": networks.prepare(api, spec.labels)})
    wanted = config(api, fitted(spec, capacity(engine, api)))
    try:
        return str(api.create_container_from_config(wanted, spec.name)["Id"])  # type: ignore[no-untyped-call] # as the stubs have it
    except NotFound as error:
        if "image" in str(error.explanation).lower():
            raise image_missing(spec.image) from None
        raise


def sees_other_files(engine: Engine, path: str) -> ParaError:
    """Make the error of an engine that has other files than this machine."""
    return ParaError(
        "engine.refused",
        f"The engine at {engine.address} does not see the files of this machine: there is no "
        f"{path} where it runs. It can be used where both see the same files",
        Remedy(title="Name another engine", setting="engine.host"),
        WITHOUT_CONTAINERS,
        SETUP_CHECK,
    )


async def start(engine: Engine, container: str) -> None:
    """Start a container; the network of sessions is made again where somebody removed it."""

    def ask(api: APIClient) -> None:
        from docker.errors import APIError

        for _ in range(_STARTS):
            try:
                return api.start(container)
            except APIError as error:
                if not networks.reconnect(api, container, error):
                    raise
        return api.start(container)

    await engine.call(ask)


def started(container: str, name: str, image: str) -> Seen:
    """Tell how the engine would list a container that it has just started, without asking it."""
    return Seen(
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
    """Stop a container; one that stands still is stopped already."""
    await engine.call(lambda api: _tolerating(lambda: api.stop(container, timeout=_GRACE)))


async def remove(engine: Engine, container: str) -> None:
    """Remove a container with its anonymous volumes; what is gone is removed already.

    A few at a time: Docker 20.10 can come to a standstill where dozens are removed at once.
    """

    def ask(api: APIClient) -> None:
        from docker.errors import APIError

        try:
            api.remove_container(container, v=True, force=True)
        except APIError as error:
            if error.status_code == _GONE:
                return
            if _ON_ITS_WAY not in str(error.explanation):
                raise
            # whoever asked before may not have waited for it
            _tolerating(lambda: api.wait(container, api.timeout, "removed"), _GONE)

    async with engine.removals:
        await engine.call(ask)


async def sessions(engine: Engine) -> list[Seen]:
    """List the containers of all sessions on the engine, whoever made them."""
    return await _listed(engine, CONTAINER_PREFIX)


async def helpers(engine: Engine) -> list[Seen]:
    """List the helper containers on the engine."""
    return await _listed(engine, HELPER_PREFIX)


async def find(engine: Engine, name: str) -> Seen | None:
    """Find a container by its exact name."""
    return next((seen for seen in await _listed(engine, name) if seen.name == name), None)


async def renamed(engine: Engine, session_id: str | None = None) -> list[Seen]:
    """List the containers of one or all sessions that somebody gave other names."""
    label = LABEL_SESSION if session_id is None else f"{LABEL_SESSION}={session_id}"
    raw = await engine.call(lambda api: api.containers(all=True, filters={"label": label}))
    seen = [_seen(one) for one in raw]
    # a person's own container may be made from a session's image, which has the same labels
    return [one for one in seen if one.works and not one.name.startswith(CONTAINER_PREFIX)]


async def call_back(engine: Engine, session_id: str, is_mine: Callable[[str | None], bool]) -> bool:
    """Give the container of a session its own name again; tells whether there was one."""
    found = [one for one in await renamed(engine, session_id) if is_mine(one.home)]
    if not found:
        return False
    await engine.call(lambda api: api.rename(found[0].id, container_name(session_id)))
    return True


async def _listed(engine: Engine, prefix: str) -> list[Seen]:
    # the plain list: the convenient one inspects each container
    raw = await engine.call(lambda api: api.containers(all=True, filters={"name": prefix}))
    seen = [_seen(one) for one in raw]
    return [one for one in seen if one.name.startswith(prefix)]


def _seen(one: dict[str, Any]) -> Seen:
    labels = one.get("Labels") or {}
    names = one.get("Names") or ["/"]
    return Seen(
        id=one["Id"],
        name=names[0].lstrip("/"),
        image=one.get("Image", ""),
        image_id=one.get("ImageID", ""),
        state=one.get("State", ""),
        status=one.get("Status", ""),
        session=labels.get(LABEL_SESSION),
        home=labels.get(LABEL_HOME),
        helper=labels.get(LABEL_HELPER),
        works=any(m.get("Destination") == WORKSPACE for m in one.get("Mounts") or ()),
        volumes={
            mount["Name"]: mount.get("Source", "")
            for mount in one.get("Mounts") or ()
            if mount.get("Type") == "volume"
        },
    )


def _tolerating(ask: Any, *codes: int) -> None:
    from docker.errors import APIError

    try:
        ask()
    except APIError as error:
        if error.status_code not in (codes or (_GONE, *_ALREADY)):
            raise
