"""The only place that creates the networks of sessions, on which none reaches another.

With Docker all sessions on an engine are on one bridge, whoever started them, which lets nothing
through between its containers: Docker has addresses for some thirty networks. It is created where
it is missing, and may be removed whenever no container is on it. Podman has no such bridge: there,
each session has a network of its own, which lets nothing through to others.
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
_MAX_TRIES: Final = 3  # other processes make and remove it at the same time
_IN_USE: Final = (403, 409)
_ABSENT: Final = re.compile(
    r"network \S+ (is ambiguous|not found)|unable to find network|no such network", re.IGNORECASE
)
_NO_ADDRESSES: Final = ("non-overlapping", "fully subnetted", "no available network", "no free")
_NO_ISOLATION: Final = ("restrict inter-container", "br_netfilter", "bridge-nf-call")


class Network(Model):
    """The network of sessions on an engine; `home` is the installation that made it."""

    name: str
    home: str | None
    used: bool


class SessionNetwork(Model):
    """A network that is one session's alone."""

    name: str
    session: str | None
    home: str | None


def ensure_network(api: APIClient, labels: Mapping[str, str]) -> str:
    """Return the network for a session's container with these labels, created where it is missing.

    Raises engine.refused where it cannot be. Of two processes that create it the older one stays.
    """
    from docker.errors import APIError

    try:
        for _ in range(_MAX_TRIES):
            found = _list_by_name(api)
            if len(found) == 1:
                break
            if not found and podman.is_podman(api):
                return _ensure_own(api, labels)
            if not found:
                _create(api, labels[LABEL_HOME])
            for one in sorted(_list_by_name(api), key=lambda one: (one["Created"], one["Id"]))[1:]:
                _remove(api, one["Id"])
    except APIError as error:
        raise _creation_error(error) from error
    for one in _list_by_name(api):
        _require_isolation(one)
    return SESSION_NETWORK


def reconnect(api: APIClient, container: str, error: APIError) -> bool:
    """Connect a container again that could not be started since its network was removed.

    Return whether that was the reason. With Docker a container knows its network by an id, which
    is another one then.
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
    """Find the network of sessions, and whether any container has it, running or not."""

    def ask(api: APIClient) -> Network | None:
        found = _list_by_name(api)
        if not found:
            return None
        on_it = api.containers(all=True, filters={"network": SESSION_NETWORK})
        home = (found[0].get("Labels") or {}).get(LABEL_HOME)
        return Network(name=SESSION_NETWORK, home=home, used=bool(on_it))

    return await engine.call(ask)


async def remove(engine: Engine) -> None:
    """Remove the network of all sessions unless a container is on it."""

    def ask(api: APIClient) -> None:
        for one in _list_by_name(api):
            _remove(api, one["Id"])

    await engine.call(ask)


async def list_own(engine: Engine) -> list[SessionNetwork]:
    """List the networks that are one session's alone."""
    listed = await engine.call(lambda api: api.networks(filters={"label": LABEL_NETWORK}))
    return [
        SessionNetwork(
            name=one["Name"],
            session=(one["Labels"] or {}).get(LABEL_SESSION),
            home=(one["Labels"] or {}).get(LABEL_HOME),
        )
        for one in listed
        if one["Name"].startswith(session_network(""))
    ]


async def remove_own(engine: Engine, network: str) -> None:
    """Remove a network that is one session's alone; what is not there is removed already."""
    await engine.call(lambda api: _remove(api, network))


def _ensure_own(api: APIClient, labels: Mapping[str, str]) -> str:
    """Create a session's own network; older Podmans know of `strict` only as true.

    Docker's API leaves the option out, so it is Podman's own that is asked.
    """
    from docker.errors import APIError

    name = session_network(labels[LABEL_SESSION])
    if _list_by_name(api, name):
        return name
    marks = {LABEL_NETWORK: "of one session"}
    marks |= {key: labels[key] for key in (LABEL_SESSION, LABEL_HOME)}
    for isolate in ("strict", "true"):
        wanted = {"name": name, "driver": "bridge", "labels": marks}
        options = {"isolate": isolate}
        answer = podman.post(api, "networks/create", {**wanted, "options": options})
        if answer.ok or _list_by_name(api, name):
            return name
    raise APIError(answer.text, response=answer, explanation=answer.text)


def _list_by_name(api: APIClient, name: str = SESSION_NETWORK) -> list[dict[str, Any]]:
    # the filter takes a part of a name for the name
    return [one for one in api.networks(filters={"name": name}) if one["Name"] == name]


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
        # gone by now, or a container is on it
        if error.status_code not in (404, *_IN_USE):
            raise


def _require_isolation(network: dict[str, Any]) -> None:
    options = network.get("Options") or {}
    if network.get("Driver") == "bridge" and _ISOLATION.items() <= options.items():
        return
    raise ParaError(
        "engine.refused",
        f"The network {SESSION_NETWORK} is not as para makes it: sessions would reach each other",
        Remedy(title=f"Remove it: docker network rm {SESSION_NETWORK}"),
        _CHOOSE_NETWORK,
    )


def _creation_error(error: APIError) -> ParaError:
    text = error_text(error)
    if any(said in text for said in _NO_ADDRESSES):
        return ParaError(
            "engine.refused",
            f"The engine has no addresses left for the network {SESSION_NETWORK}",
            Remedy(title="Remove networks that nothing uses: docker network prune"),
            _CHOOSE_NETWORK,
        )
    if any(said in text for said in _NO_ISOLATION):
        return ParaError(
            "engine.refused",
            f"The engine cannot keep sessions apart on a network: {one_line(text)}",
            Remedy(title="Load the kernel's module: modprobe br_netfilter"),
            _CHOOSE_NETWORK,
        )
    return ParaError(
        "engine.refused",
        f"The network {SESSION_NETWORK} could not be created: {one_line(text)}",
        _CHOOSE_NETWORK,
    )


_CHOOSE_NETWORK: Final = Remedy(title="Choose another network", setting="container.network")
