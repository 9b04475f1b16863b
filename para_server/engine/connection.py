"""Open connections to an engine: transport, TLS, proxies and API version."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from para_server.core.errors import DISABLE_CONTAINERS, ParaError, Remedy
from para_server.engine.endpoint import Endpoint, Tls, find_proxy, hide_password, unreachable_error

if TYPE_CHECKING:
    from docker import APIClient

_SSH: Final = "ssh://"
_OLDEST_API: Final = (1, 41)  # Docker 20.10 and Podman 4
_NEWEST_API: Final = (1, 52)  # Docker 29
_UPGRADE: Final = "https://docs.docker.com/engine/install/"
_BAD_REQUEST: Final = 400
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


def open_client(
    endpoint: Endpoint, environ: Mapping[str, str], version: str, timeout: float | None
) -> APIClient:
    """Return a connection for one thread; raises engine.unreachable.

    `timeout` is in seconds, None for streams.
    """
    from docker import APIClient
    from docker.errors import DockerException
    from docker.transport import UnixHTTPAdapter

    address = endpoint.address
    if address.startswith(_SSH):
        _enable_ssh()
    try:
        client = APIClient(
            base_url=address,
            version=version,
            timeout=timeout,  # type: ignore[arg-type] # the stubs know neither None nor fractions
            tls=_tls_config(endpoint.tls),
            num_pools=1,
            use_ssh_client=True,
        )
    except (DockerException, ValueError) as error:
        reason = str(error).replace(address, hide_password(address))
        raise unreachable_error(
            f"{hide_password(address)} is not a valid engine address: {reason}"
        ) from None
    # ignore what requests reads from the environment: REQUESTS_CA_BUNDLE would replace the engine's
    # certificates, and the proxy follows the rules of the docker command line
    client.trust_env = False
    if (proxy := _proxy_unless_exempt(endpoint, environ)) is not None:
        client.proxies = {"http": proxy, "https": proxy}
    adapter = client.get_adapter(client.base_url)
    if address.startswith(_SSH):
        # docker-py adds port 22, which would override the port of the user's ssh configuration
        adapter.ssh_host = address.removeprefix(_SSH).rstrip("/")  # type: ignore[attr-defined] # only of ssh
    if isinstance(adapter, UnixHTTPAdapter):
        # docker-py keeps a pool per URL and leaks their sockets, so all URLs share one pool
        pool = partial(adapter.get_connection, client.base_url)
        adapter.get_connection = lambda _url, _proxies=None: pool()  # type: ignore[method-assign, assignment] # on purpose
    return client


def negotiate_version(client: APIClient, endpoint: Endpoint) -> str:
    """Return the oldest API version that both the engine and para support.

    The oldest, since engines differ less in it. Raises engine.refused where there is no common
    version, and engine.unreachable where the server is not a container engine.
    """
    reply: Any = client.version(api_version=False)
    reply = reply if isinstance(reply, dict) else {}
    newest = _parse_version(reply.get("ApiVersion"))
    if newest is None:
        raise unreachable_error(f"The server at {endpoint.address} is not a container engine")
    oldest = _parse_version(reply.get("MinAPIVersion")) or _OLDEST_API
    chosen = max(_OLDEST_API, oldest)
    ours = _format_version(_OLDEST_API)
    if chosen > newest:
        raise _incompatible_error(
            f"The engine at {endpoint.address} is too old: it supports API "
            f"{_format_version(newest)}, and para needs {ours} (Docker 20.10, Podman 4)",
            "Install a newer engine",
        )
    if chosen > _NEWEST_API:
        raise _incompatible_error(
            f"The engine at {endpoint.address} is too new: it requires API "
            f"{_format_version(oldest)}, and para supports {ours} to "
            f"{_format_version(_NEWEST_API)}",
            "Configure the engine to accept an older API (min-api-version)",
        )
    return _format_version(chosen)


def is_version_refusal(error: Exception) -> bool:
    """Return whether an engine rejected a request only because of its API version."""
    from docker.errors import APIError

    if not isinstance(error, APIError) or error.status_code != _BAD_REQUEST:
        return False
    return str(error.explanation).startswith("client version ")


def _incompatible_error(message: str, title: str) -> ParaError:
    return ParaError(
        "engine.refused",
        message,
        Remedy(title=title, url=_UPGRADE),
        Remedy(title="Choose another engine", setting="engine.host"),
        DISABLE_CONTAINERS,
    )


def _parse_version(text: object) -> tuple[int, int] | None:
    match = _VERSION.fullmatch(text) if isinstance(text, str) else None
    return (int(match[1]), int(match[2])) if match else None


def _format_version(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _tls_config(tls: Tls | None) -> Any:
    if tls is None:
        return False
    from docker.tls import TLSConfig
    from urllib3 import disable_warnings
    from urllib3.exceptions import InsecureRequestWarning

    if not tls.verify:
        disable_warnings(InsecureRequestWarning)  # the user chose it: DOCKER_TLS or a context
    pair = (str(tls.cert), str(tls.key)) if tls.cert and tls.key else None
    return TLSConfig(client_cert=pair, ca_cert=str(tls.ca) if tls.ca else None, verify=tls.verify)


def _proxy_unless_exempt(endpoint: Endpoint, environ: Mapping[str, str]) -> str | None:
    proxy = find_proxy(endpoint, environ)
    if proxy is None:
        return None
    from requests.utils import should_bypass_proxies

    url = endpoint.address.replace("tcp://", "http://", 1)
    exempt = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    return None if should_bypass_proxies(url, exempt) else proxy


def _enable_ssh() -> None:
    """Make docker-py able to run `ssh`, which it only does if paramiko can be imported.

    It does not use paramiko then, so an empty module takes its place during the import.
    """
    from docker.api import client

    if hasattr(client, "SSHHTTPAdapter"):
        return
    sys.modules["paramiko"] = ModuleType("paramiko")
    try:
        from docker.transport.sshconn import SSHHTTPAdapter
    finally:
        sys.modules.pop("paramiko", None)
    client.SSHHTTPAdapter = SSHHTTPAdapter  # type: ignore[attr-defined] # not in the stubs
