"""The only place that knows where an engine may be listening."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from para_server.errors import ParaError, Remedy
from para_server.settings import EngineSettings

_LOCAL: Final = ("unix://", "npipe://")


def find(settings: EngineSettings, environ: Mapping[str, str]) -> str:
    """Give the engine's address: settings, DOCKER_HOST, current context, the usual sockets.

    Raises engine.unreachable where there is nothing to ask.
    """
    if settings.host:
        return settings.host
    if settings.context:
        return _of_context(settings.context, environ)
    if environ.get("DOCKER_HOST"):
        return environ["DOCKER_HOST"]
    context = environ.get("DOCKER_CONTEXT") or _current_context(environ)
    if context not in {"", "default"}:
        return _of_context(context, environ)
    for socket in _usual_sockets(environ):
        if Path(socket).exists():
            return f"unix://{socket}"
    looked = ", ".join(_usual_sockets(environ))
    raise unreachable(f"No container engine answers (looked for {looked})")


def for_editors(settings: EngineSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Say how an editor, which asks the docker command line, is told of the engine.

    Nothing is to be said of one on this machine, unless it is a named context's.
    """
    host = settings.host or ("" if settings.context else environ.get("DOCKER_HOST", ""))
    if host:
        return {} if host.startswith(_LOCAL) else {"host": host}
    context = settings.context or environ.get("DOCKER_CONTEXT") or _current_context(environ)
    return {} if context in {"", "default"} else {"context": context}


def unreachable(message: str) -> ParaError:
    """Make the error that says how to get an engine."""
    return ParaError(
        "engine.unreachable",
        message,
        Remedy(title="Check setup", command="para.doctor", params={}),
        Remedy(title="Name the engine", setting="engine.host"),
        Remedy(title="Work without containers", setting="container.enabled"),
        Remedy(title="Install Docker", url="https://docs.docker.com/engine/install/"),
    )


def _usual_sockets(environ: Mapping[str, str]) -> Iterator[str]:
    yield "/var/run/docker.sock"
    runtime = environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    yield f"{runtime}/docker.sock"
    yield f"{Path.home()}/.docker/run/docker.sock"
    yield f"{runtime}/podman/podman.sock"
    yield "/run/podman/podman.sock"


def _docker_config(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("DOCKER_CONFIG") or Path.home() / ".docker")


def _current_context(environ: Mapping[str, str]) -> str:
    try:
        config = json.loads((_docker_config(environ) / "config.json").read_text())
    except (OSError, ValueError):
        return ""
    name = config.get("currentContext") if isinstance(config, dict) else ""
    return name if isinstance(name, str) else ""


def _of_context(name: str, environ: Mapping[str, str]) -> str:
    # the docker command line keeps a context under the digest of its name
    digest = hashlib.sha256(name.encode()).hexdigest()
    file = _docker_config(environ) / "contexts/meta" / digest / "meta.json"
    try:
        return str(json.loads(file.read_text())["Endpoints"]["docker"]["Host"])
    except (OSError, ValueError, KeyError, TypeError):
        raise unreachable(f"There is no Docker context {name}") from None
