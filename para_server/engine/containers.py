"""The only place that knows the calls which make, change and list containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from para_server.engine.client import Engine
from para_server.engine.failures import image_missing
from para_server.errors import Frozen
from para_server.names import (
    CONTAINER_PREFIX,
    HELPER_PREFIX,
    LABEL_HELPER,
    LABEL_HOME,
    LABEL_SESSION,
)
from para_server.spec import WORKSPACE, ContainerSpec, Mount

if TYPE_CHECKING:
    from docker import APIClient

_GRACE: Final = 3  # seconds that a container has to stop by itself
_FREEZES: Final = 5  # tries: where the machine is busy, processes may not stand still in time
_GONE: Final = 404
_ON_ITS_WAY: Final = "is already in progress"  # what the engine says of a removal
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
    volumes: Mapping[str, str] = Field(default_factory=dict)  # where the engine has them mounted


async def create(engine: Engine, spec: ContainerSpec) -> str:
    """Make a container and give its id; raises engine.image-missing."""

    def ask(api: APIClient) -> str:
        from docker.errors import NotFound

        try:
            made = api.create_container_from_config(_config(api, spec), spec.name)  # type: ignore[no-untyped-call] # as the stubs have it
            return str(made["Id"])
        except NotFound as error:
            if "image" in str(error.explanation).lower():
                raise image_missing(spec.image) from None
            raise

    return await engine.call(ask)


async def start(engine: Engine, container: str) -> None:
    """Start a container."""
    await engine.call(lambda api: api.start(container))


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


async def freeze(engine: Engine, container: str) -> None:
    """Freeze all processes of a container."""

    def ask(api: APIClient) -> None:
        from docker.errors import APIError

        tries = 0
        while True:
            tries += 1
            try:
                return api.pause(container)
            except APIError as error:
                if tries == _FREEZES or "unable to freeze" not in str(error.explanation):
                    raise

    await engine.call(ask)


async def thaw(engine: Engine, container: str) -> None:
    """Let the processes of a container go on."""
    await engine.call(lambda api: api.unpause(container))


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


def _mount(mount: Mount) -> Any:
    from docker import types

    # the engine would fill an empty volume with what the image has at its place
    bare = mount.volume and mount.target == WORKSPACE
    return types.Mount(
        mount.target,
        mount.source,
        type="volume" if mount.volume else "bind",
        read_only=mount.read_only,
        no_copy=bare,
    )


def _config(api: APIClient, spec: ContainerSpec) -> dict[str, Any]:
    from docker.types import Healthcheck, Ulimit

    limits = [Ulimit(name="core", soft=0, hard=0)]
    if spec.file_size is not None:
        limits.append(Ulimit(name="fsize", soft=spec.file_size, hard=spec.file_size))
    host = api.create_host_config(
        init=True,
        network_mode=spec.network or "none",
        mounts=[_mount(one) for one in spec.mounts],
        nano_cpus=int(spec.cpus * 1e9),
        mem_limit=spec.memory,
        memswap_limit=spec.memory,
        pids_limit=spec.pids,
        cap_drop=["ALL"],
        cap_add=list(spec.cap_add),
        security_opt=None if spec.new_privileges else ["no-new-privileges:true"],
        read_only=spec.read_only,
        tmpfs={"/tmp": "size=256m,mode=1777"} if spec.read_only else None,  # noqa: S108 # in the container
        ulimits=limits,
    )
    config: dict[str, Any] = api.create_container_config(
        spec.image,
        list(spec.command),
        user=spec.user,
        labels=spec.labels,
        environment=spec.environment,
        working_dir=OUT_OF_IMAGE if spec.read_only else WORKSPACE,
        host_config=host,
        # without even a loopback of its own to set up, it starts in half the time
        network_disabled=spec.network is None,
        entrypoint=[],  # neither what the image would run first
        healthcheck=Healthcheck(test=["NONE"]),  # nor what it would run beside it
    )
    return config


OUT_OF_IMAGE: Final = "/"
