"""Create the networks of sessions, which isolate sessions from each other.

With Docker, all sessions on an engine share one bridge that forwards nothing between its
containers, since Docker has addresses for only about thirty networks. It is created when it is
missing, and can be removed when no container uses it. Podman has no such bridge, so each session
has an isolated network of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from para_server.core.errors import ParaError, Remedy
from para_server.core.model import Model
from para_server.core.names import (
    LABEL_HOME,
    LABEL_NETWORK,
    LABEL_SESSION,
    SESSION_NETWORK,
    session_network,
)
from para_server.core.untrusted import one_line
from para_server.engine import podman
from para_server.engine.client import Engine
from para_server.engine.error_translation import error_text

if TYPE_CHECKING:
    from docker import APIClient
    from docker.errors import APIError

_ISOLATION: Final = {"com.docker.network.bridge.enable_icc": "false"}
_MAX_TRIES: Final = 3  # other processes can create and remove the network at the same time
_IN_USE: Final = (403, 409)
_ABSENT: Final = re.compile(
    r"network \S+ (is ambiguous|not found)|unable to find network|no such network", re.IGNORECASE
)
_NO_ADDRESSES: Final = ("non-overlapping", "fully subnetted", "no available network", "no free")
_NO_ISOLATION: Final = ("restrict inter-container", "br_netfilter", "bridge-nf-call")
_CHOOSE_NETWORK: Final = Remedy(title="Choose another network", setting="container.network")


class Network(Model):
    """The network that sessions share; `home` is the installation that created it."""

    name: str
    home: str | None
    used: bool


class SessionNetwork(Model):
    """The network of a single session."""

    name: str
    session: str | None
    home: str | None


def ensure_network(api: APIClient, labels: Mapping[str, str]) -> str:
    """Return the network for a session's container with these labels; create it if missing.

    If two processes create it at once, the older network stays. Raises engine.refused.
    """
    from docker.errors import APIError

    try:
        for _ in range(_MAX_TRIES):
            existing = _list_by_name(api)
            if len(existing) == 1:
                break
            if not existing and podman.is_podman(api):
                return _ensure_own(api, labels)
            if not existing:
                _create(api, labels[LABEL_HOME])
            by_age = sorted(_list_by_name(api), key=lambda found: (found["Created"], found["Id"]))
            for network in by_age[1:]:
                _remove(api, network["Id"])
    except APIError as error:
        raise _creation_error(error) from error
    for network in _list_by_name(api):
        _require_isolation(network)
    return SESSION_NETWORK


def reconnect(api: APIClient, container: str, error: APIError) -> bool:
    """Reconnect a container whose start failed because its network was removed.

    Return whether that was the reason. In Docker a container refers to its network by id, and the
    recreated network has another one.
    """
    if not _ABSENT.search(error_text(error)):
        return False
    inspected = api.inspect_container(container)
    labels = inspected["Config"]["Labels"] or {}
    connected = inspected["NetworkSettings"]["Networks"] or {}
    names = {inspected["HostConfig"]["NetworkMode"], *connected}
    if not {SESSION_NETWORK, session_network(labels.get(LABEL_SESSION, ""))} & names:
        return False
    network = ensure_network(api, labels)
    if network == SESSION_NETWORK:
        if network in connected:
            api.disconnect_container_from_network(container, network, force=True)
        api.connect_container_to_network(container, network)
    return True


async def find(engine: Engine) -> Network | None:
    """Return the shared network or None; it is used even by containers that are not running."""

    def request(api: APIClient) -> Network | None:
        existing = _list_by_name(api)
        if not existing:
            return None
        containers = api.containers(all=True, filters={"network": SESSION_NETWORK})
        home = (existing[0].get("Labels") or {}).get(LABEL_HOME)
        return Network(name=SESSION_NETWORK, home=home, used=bool(containers))

    return await engine.call(request)


async def remove(engine: Engine) -> None:
    """Remove the shared network unless a container uses it."""

    def request(api: APIClient) -> None:
        for network in _list_by_name(api):
            _remove(api, network["Id"])

    await engine.call(request)


async def list_own(engine: Engine) -> list[SessionNetwork]:
    """Return the networks of single sessions."""
    listed = await engine.call(lambda api: api.networks(filters={"label": LABEL_NETWORK}))
    return [
        SessionNetwork(
            name=network["Name"],
            session=(network["Labels"] or {}).get(LABEL_SESSION),
            home=(network["Labels"] or {}).get(LABEL_HOME),
        )
        for network in listed
        if network["Name"].startswith(session_network(""))
    ]


async def remove_own(engine: Engine, network: str) -> None:
    """Remove the network of a single session; do nothing if it does not exist."""
    await engine.call(lambda api: _remove(api, network))


def _ensure_own(api: APIClient, labels: Mapping[str, str]) -> str:
    """Create the network of a single session; older Podmans accept `true` but not `strict`.

    Docker's API ignores the option, so Podman's own API is used.
    """
    from docker.errors import APIError

    name = session_network(labels[LABEL_SESSION])
    if _list_by_name(api, name):
        return name
    all_labels = {LABEL_NETWORK: "of one session"}
    all_labels |= {key: labels[key] for key in (LABEL_SESSION, LABEL_HOME)}
    for isolate in ("strict", "true"):
        wanted = {"name": name, "driver": "bridge", "labels": all_labels}
        options = {"isolate": isolate}
        response = podman.post(api, "networks/create", {**wanted, "options": options})
        if response.ok or _list_by_name(api, name):
            return name
    raise APIError(response.text, response=response, explanation=response.text)


def _list_by_name(api: APIClient, name: str = SESSION_NETWORK) -> list[dict[str, Any]]:
    # the engine's filter matches parts of names too
    return [network for network in api.networks(filters={"name": name}) if network["Name"] == name]


def _create(api: APIClient, home: str) -> None:
    from docker.errors import APIError

    labels = {LABEL_NETWORK: "of all sessions", LABEL_HOME: home}
    try:
        api.create_network(
            SESSION_NETWORK, "bridge", options=dict(_ISOLATION), labels=labels, check_duplicate=True
        )
    except APIError as error:
        if "already exists" not in error_text(error):
            raise


def _remove(api: APIClient, network: str) -> None:
    from docker.errors import APIError

    try:
        api.remove_network(network)
    except APIError as error:
        # already removed, or a container uses it
        if error.status_code not in (404, *_IN_USE):
            raise


def _require_isolation(network: dict[str, Any]) -> None:
    options = network.get("Options") or {}
    if network.get("Driver") == "bridge" and _ISOLATION.items() <= options.items():
        return
    raise ParaError(
        "engine.refused",
        f"The network {SESSION_NETWORK} does not isolate its containers from each other",
        Remedy(title=f"Remove it: docker network rm {SESSION_NETWORK}"),
        _CHOOSE_NETWORK,
    )


def _creation_error(error: APIError) -> ParaError:
    text = error_text(error)
    if any(fragment in text for fragment in _NO_ADDRESSES):
        return ParaError(
            "engine.refused",
            f"The engine has no addresses left for the network {SESSION_NETWORK}",
            Remedy(title="Remove networks that nothing uses: docker network prune"),
            _CHOOSE_NETWORK,
        )
    if any(fragment in text for fragment in _NO_ISOLATION):
        return ParaError(
            "engine.refused",
            f"The engine cannot isolate sessions on a network: {one_line(text)}",
            Remedy(title="Load the kernel module: modprobe br_netfilter"),
            _CHOOSE_NETWORK,
        )
    return ParaError(
        "engine.refused",
        f"The network {SESSION_NETWORK} could not be created: {one_line(text)}",
        _CHOOSE_NETWORK,
    )
