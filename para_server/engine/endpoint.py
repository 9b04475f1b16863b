"""Find the container engine: its address, TLS certificates and proxy."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from para_server.core.errors import CHECK_SETUP, DISABLE_CONTAINERS, ParaError, Remedy
from para_server.core.model import Model
from para_server.core.settings import EngineSettings
from para_server.core.untrusted import one_line
from para_server.host.paths import user_home

_LOCAL_SCHEMES: Final = ("unix://", "npipe://")
_DEFAULT_PORT: Final = 2375  # as in the docker command line
_DEFAULT_TLS_PORT: Final = 2376
_MAX_ADDRESS: Final = 300  # characters of an address in a message
_PROXY_VARIABLES: Final = {
    "httpProxy": "HTTP_PROXY",
    "httpsProxy": "HTTPS_PROXY",
    "ftpProxy": "FTP_PROXY",
    "noProxy": "NO_PROXY",
    "allProxy": "ALL_PROXY",
}


class Tls(Model):
    """The certificates of a connection; `verify` is whether the engine's is verified."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    verify: bool = True


class Endpoint(Model):
    """The address of an engine, including its port, and its TLS certificates.

    `origin` names the setting or variable that chose it; empty for a default socket.
    """

    address: str
    tls: Tls | None = None
    origin: str = ""


def find_address(settings: EngineSettings, environ: Mapping[str, str]) -> str:
    """Return the address of the engine; raises engine.unreachable."""
    return locate_engine(settings, environ).address


def locate_engine(settings: EngineSettings, environ: Mapping[str, str]) -> Endpoint:
    """Return the engine of the settings, DOCKER_HOST, the Docker context or a default socket.

    The first one that is configured or exists is used. Raises engine.unreachable if there is none
    or a certificate is missing.
    """
    if settings.host:
        return _with_origin("engine.host", _endpoint_of_host(settings.host, environ))
    if settings.context:
        return _with_origin("engine.context", _endpoint_of_context(settings.context, environ))
    if environ.get("DOCKER_HOST"):
        return _with_origin("DOCKER_HOST", _endpoint_of_host(environ["DOCKER_HOST"], environ))
    context = environ.get("DOCKER_CONTEXT") or _read_current_context(environ)
    if context not in {"", "default"}:
        return _with_origin(f"Docker's context {context}", _endpoint_of_context(context, environ))
    for socket in _default_sockets(environ):
        if Path(socket).exists():
            return Endpoint(address=f"unix://{socket}")
    sockets = ", ".join(_default_sockets(environ))
    raise unreachable_error(f"No container engine found (tried {sockets})")


def describe(endpoint: Endpoint) -> str:
    """Return an engine's address without its password, and its origin, for messages."""
    address = hide_password(endpoint.address)
    return one_line(f"{address} ({endpoint.origin})" if endpoint.origin else address, _MAX_ADDRESS)


def hide_password(address: str) -> str:
    """Return an address without its password."""
    scheme, separator, rest = address.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{user.partition(':')[0]}{at}{host}"


def editor_settings(settings: EngineSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the engine settings of an editor, which calls the docker command line.

    They are empty for an engine on this machine unless a Docker context chose it.
    """
    host = settings.host or ("" if settings.context else environ.get("DOCKER_HOST", ""))
    if host:
        return {} if host.startswith(_LOCAL_SCHEMES) else {"host": host}
    context = settings.context or environ.get("DOCKER_CONTEXT") or _read_current_context(environ)
    return {} if context in {"", "default"} else {"context": context}


def command_prefix(endpoint: Endpoint, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the program and options that call the engine: docker, or podman without docker."""
    path = environ.get("PATH")
    programs = [name for name in ("docker", "podman") if shutil.which(name, path=path)]
    if programs == ["podman"] and endpoint.tls is None:
        return ("podman", "--url", endpoint.address)
    return ("docker", *docker_options(endpoint))


def docker_options(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the options of the docker command line for the engine."""
    host = ("--host", endpoint.address)
    if endpoint.tls is None:
        return host
    files = (
        ("--tlscacert", endpoint.tls.ca),
        ("--tlscert", endpoint.tls.cert),
        ("--tlskey", endpoint.tls.key),
    )
    options = [word for option, file in files if file for word in (option, str(file))]
    return (*host, "--tlsverify" if endpoint.tls.verify else "--tls", *options)


def find_proxy(endpoint: Endpoint, environ: Mapping[str, str]) -> str | None:
    """Return the proxy for the engine, by the rules of the docker command line.

    Sockets and loopback addresses have none. NO_PROXY is not applied here.
    """
    url = urlsplit(endpoint.address)
    if url.scheme not in {"tcp", "http", "https"} or _is_loopback(url.hostname or ""):
        return None
    name = "HTTPS_PROXY" if endpoint.tls or url.scheme == "https" else "HTTP_PROXY"
    return environ.get(name) or environ.get(name.lower()) or None


def read_session_proxies(address: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables for containers from `proxies` of docker's config.json."""
    proxies = _read_docker_config(environ).get("proxies")
    proxies = proxies if isinstance(proxies, dict) else {}
    chosen = proxies.get(address, proxies.get("default"))
    chosen = chosen if isinstance(chosen, dict) else {}
    variables: dict[str, str] = {}
    for key, name in _PROXY_VARIABLES.items():
        value = chosen.get(key)
        if isinstance(value, str) and value:
            variables |= {name: value, name.lower(): value}
    return variables


def unreachable_error(message: str) -> ParaError:
    """Return an engine.unreachable error with remedies."""
    return ParaError(
        "engine.unreachable",
        message,
        CHECK_SETUP,
        Remedy(title="Start Docker or Podman if it is installed"),
        Remedy(title="Set the engine's address", setting="engine.host"),
        DISABLE_CONTAINERS,
        Remedy(title="Install Docker", url="https://docs.docker.com/engine/install/"),
    )


def _with_origin(origin: str, endpoint: Endpoint) -> Endpoint:
    return endpoint.model_copy(update={"origin": origin})


def _endpoint_of_host(host: str, environ: Mapping[str, str]) -> Endpoint:
    verify, tls = bool(environ.get("DOCKER_TLS_VERIFY")), bool(environ.get("DOCKER_TLS"))
    is_tcp = _complete_address(host, _DEFAULT_PORT).startswith("tcp://")
    if not is_tcp or not (verify or tls):
        return Endpoint(address=_complete_address(host, _DEFAULT_PORT))
    folder = Path(environ.get("DOCKER_CERT_PATH") or _docker_config_folder(environ))
    return Endpoint(
        address=_complete_address(host, _DEFAULT_TLS_PORT),
        tls=_find_certificates(folder, verify=verify),
    )


def _complete_address(host: str, port: int) -> str:
    """Return an address with a scheme and a port, defaulting to tcp as the docker command line."""
    host = host.strip()
    if host.startswith("/"):
        return f"unix://{host}"
    if "://" not in host:
        host = f"tcp://{host}"
    if not host.startswith("tcp://"):
        return host
    try:
        url = urlsplit(host)
        has_port = url.port is not None
    except ValueError as error:
        address = hide_password(host)
        raise unreachable_error(f"{address} is not a valid engine address: {error}") from None
    if has_port:
        return host
    name = url.netloc.removesuffix(":") or "localhost"
    return SplitResult("tcp", f"{name}:{port}", url.path, "", "").geturl()


def _find_certificates(folder: Path, *, verify: bool) -> Tls:
    """Return the certificates in a folder; raises engine.unreachable if one is missing."""
    ca, cert, key = (folder / name for name in ("ca.pem", "cert.pem", "key.pem"))
    if verify and not ca.is_file():
        raise unreachable_error(
            f"The engine requires TLS, but there is no certificate authority {ca}"
        )
    if cert.is_file() != key.is_file():
        missing = key if cert.is_file() else cert
        raise unreachable_error(f"The engine requires TLS, but there is no {missing}")
    pair = cert.is_file()
    return Tls(
        ca=ca if ca.is_file() else None,
        cert=cert if pair else None,
        key=key if pair else None,
        verify=verify,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _default_sockets(environ: Mapping[str, str]) -> Iterator[str]:
    yield "/var/run/docker.sock"
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    yield f"{runtime}/docker.sock"
    if user_home() is not None:
        yield f"{user_home()}/.docker/run/docker.sock"
    yield f"{runtime}/podman/podman.sock"
    yield "/run/podman/podman.sock"


def _docker_config_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or (user_home() or Path(os.devnull)) / ".docker")


def _read_docker_config(environ: Mapping[str, str]) -> dict[str, object]:
    try:
        config = json.loads(
            (_docker_config_folder(environ) / "config.json").read_text(encoding="utf-8")
        )
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _read_current_context(environ: Mapping[str, str]) -> str:
    name = _read_docker_config(environ).get("currentContext")
    return name if isinstance(name, str) else ""


def _endpoint_of_context(name: str, environ: Mapping[str, str]) -> Endpoint:
    # the docker command line names a context's folder by the digest of the context's name
    digest = hashlib.sha256(name.encode()).hexdigest()
    contexts = _docker_config_folder(environ) / "contexts"
    try:
        text = (contexts / "meta" / digest / "meta.json").read_text(encoding="utf-8")
        docker = json.loads(text)["Endpoints"]["docker"]
        host, verify = str(docker["Host"]), not docker.get("SkipTLSVerify")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise unreachable_error(f"There is no Docker context {name}") from None
    folder = contexts / "tls" / digest / "docker"
    secured = folder.is_dir() and any(folder.iterdir())
    if not _complete_address(host, _DEFAULT_PORT).startswith("tcp://") or not (
        secured or not verify
    ):
        return Endpoint(address=_complete_address(host, _DEFAULT_PORT))
    # a context without a certificate authority uses those of the system
    has_authority = verify and (folder / "ca.pem").is_file()
    tls = _find_certificates(folder, verify=has_authority).model_copy(update={"verify": verify})
    return Endpoint(address=_complete_address(host, _DEFAULT_TLS_PORT), tls=tls)
