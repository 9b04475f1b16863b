"""The only place that opens connections to an engine: transport, TLS, proxies, API version."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from para_server.core.errors import DISABLE_CONTAINERS, ParaError, Remedy
from para_server.engine.endpoint import Endpoint, Tls, proxy, unreachable, without_password

if TYPE_CHECKING:
    from docker import APIClient

_SSH: Final = "ssh://"
OLDEST: Final = (1, 41)  # of Docker 20.10 and Podman 4
NEWEST: Final = (1, 52)  # of Docker 29
_UPGRADE: Final = "https://docs.docker.com/engine/install/"
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


def open_client(
    endpoint: Endpoint, environ: Mapping[str, str], version: str, timeout: float | None
) -> APIClient:
    """Open a connection for one thread; no timeout is for streams. Raises engine.unreachable."""
    from docker import APIClient
    from docker.errors import DockerException
    from docker.transport import UnixHTTPAdapter

    address = endpoint.address
    if address.startswith(_SSH):
        _let_ssh_run()
    try:
        client = APIClient(
            base_url=address,
            version=version,
            timeout=timeout,  # type: ignore[arg-type] # the stubs know neither None nor fractions
            tls=_tls(endpoint.tls),
            num_pools=1,
            use_ssh_client=True,
        )
    except (DockerException, ValueError) as error:
        said = str(error).replace(address, without_password(address))
        raise unreachable(
            f"{without_password(address)} is no address of an engine: {said}"
        ) from None
    # what requests finds in the environment is not meant for the engine: REQUESTS_CA_BUNDLE would
    # replace its certificates, and a proxy is looked for by the rules of the docker command line
    client.trust_env = False
    if (through := _proxy(endpoint, environ)) is not None:
        client.proxies = {"http": through, "https": through}
    adapter = client.get_adapter(client.base_url)
    if address.startswith(_SSH):
        # docker-py adds port 22, and ssh would no more look for the port in its configuration
        adapter.ssh_host = address.removeprefix(_SSH).rstrip("/")  # type: ignore[attr-defined] # not of all
    if isinstance(adapter, UnixHTTPAdapter):
        # docker-py has a pool for each URL and loses their sockets: one URL, one pool
        pool = partial(adapter.get_connection, client.base_url)
        adapter.get_connection = lambda _url, _proxies=None: pool()  # type: ignore[method-assign, assignment] # on purpose
    return client


def agreed_version(client: APIClient, endpoint: Endpoint) -> str:
    """Ask the engine which API versions it has, and choose the oldest that para knows too.

    Old versions mean the same on every engine, so the fewest differences are met.
    Raises engine.refused where there is none, and engine.unreachable where it is no engine.
    """
    told: Any = client.version(api_version=False)
    told = told if isinstance(told, dict) else {}
    newest = _read(told.get("ApiVersion"))
    if newest is None:
        raise unreachable(f"What answers at {endpoint.address} is no container engine")
    oldest = _read(told.get("MinAPIVersion")) or OLDEST
    chosen = max(OLDEST, oldest)
    if chosen > newest:
        raise _incompatible(
            f"The engine at {endpoint.address} is too old: it speaks API {_written(newest)}, "
            f"and para needs {_written(OLDEST)} (Docker 20.10, Podman 4)",
            "Install a newer engine",
        )
    if chosen > NEWEST:
        raise _incompatible(
            f"The engine at {endpoint.address} is too new: it demands API {_written(oldest)}, "
            f"and this para speaks {_written(OLDEST)} to {_written(NEWEST)}",
            "Let the engine speak an older API (min-api-version)",
        )
    return _written(chosen)


def is_other_version(error: Exception) -> bool:
    """Tell whether an engine refused a call because of its API version alone, and did nothing."""
    from docker.errors import APIError

    if not isinstance(error, APIError) or error.status_code != _BAD_REQUEST:
        return False
    return str(error.explanation).startswith("client version ")


_BAD_REQUEST: Final = 400


def _incompatible(message: str, title: str) -> ParaError:
    return ParaError(
        "engine.refused",
        message,
        Remedy(title=title, url=_UPGRADE),
        Remedy(title="Name another engine", setting="engine.host"),
        DISABLE_CONTAINERS,
    )


def _read(text: object) -> tuple[int, int] | None:
    found = _VERSION.fullmatch(text) if isinstance(text, str) else None
    return (int(found[1]), int(found[2])) if found else None


def _written(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _tls(tls: Tls | None) -> Any:
    if tls is None:
        return False
    from docker.tls import TLSConfig
    from urllib3 import disable_warnings
    from urllib3.exceptions import InsecureRequestWarning

    if not tls.verify:
        disable_warnings(InsecureRequestWarning)  # it was chosen, by DOCKER_TLS or a context
    pair = (str(tls.cert), str(tls.key)) if tls.cert and tls.key else None
    return TLSConfig(client_cert=pair, ca_cert=str(tls.ca) if tls.ca else None, verify=tls.verify)


def _proxy(endpoint: Endpoint, environ: Mapping[str, str]) -> str | None:
    found = proxy(endpoint, environ)
    if found is None:
        return None
    from requests.utils import should_bypass_proxies

    url = endpoint.address.replace("tcp://", "http://", 1)
    but = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    return None if should_bypass_proxies(url, but) else found


def _let_ssh_run() -> None:
    """Let docker-py run `ssh`: it can only where there is paramiko, which it then does not use."""
    from docker.api import client

    if hasattr(client, "SSHHTTPAdapter"):
        return
    sys.modules["paramiko"] = ModuleType("paramiko")
    try:
        from docker.transport.sshconn import SSHHTTPAdapter
    finally:
        sys.modules.pop("paramiko", None)
    client.SSHHTTPAdapter = SSHHTTPAdapter  # type: ignore[attr-defined] # the stubs leave it out
