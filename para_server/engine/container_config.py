"""Convert container specifications into the engine's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from para_server.core.container_spec import WORKSPACE, ContainerSpec, Mount

if TYPE_CHECKING:
    from docker import APIClient

_ROOT_FOLDER: Final = "/"


def build_config(api: APIClient, spec: ContainerSpec) -> dict[str, Any]:
    """Return the engine's configuration for a container."""
    from docker.types import Healthcheck, Ulimit

    limits = [Ulimit(name="core", soft=0, hard=0)]
    if spec.file_size is not None:
        limits.append(Ulimit(name="fsize", soft=spec.file_size, hard=spec.file_size))
    host = api.create_host_config(
        init=True,
        network_mode=spec.network or "none",
        mounts=[_mount(mount) for mount in spec.mounts],
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
        working_dir=_ROOT_FOLDER if spec.read_only else WORKSPACE,
        host_config=host,
        # without a loopback interface to set up, it starts in half the time
        network_disabled=spec.network is None,
        entrypoint=[],  # run no program of the image first
        healthcheck=Healthcheck(test=["NONE"]),  # nor beside the command
    )
    return config


def _mount(mount: Mount) -> Any:
    from docker import types

    # the engine would copy the image's files at the target into an empty volume
    no_copy = mount.volume and mount.target == WORKSPACE
    return types.Mount(
        mount.target,
        mount.source,
        type="volume" if mount.volume else "bind",
        read_only=mount.read_only,
        no_copy=no_copy,
    )
