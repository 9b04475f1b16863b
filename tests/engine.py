"""What a test may ask of the real engine, beside para."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from ipaddress import ip_network
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any

from docker.errors import APIError, ImageNotFound

from para_server.core.names import FITTED_IMAGE, LABEL_FITTED, LABEL_HOME, LABEL_SESSION
from para_server.core.repository_settings import normalize_image
from para_server.core.settings import EngineSettings
from para_server.engine.connection import negotiate_version, open_client
from para_server.engine.endpoint import locate_engine

_PATIENCE = 30.0  # seconds in which a container has to be gone
_LONGEST = 90.0  # seconds that a script may run in a container


def connect() -> Any:
    """Connect to the engine that para would use; a test without an engine fails."""
    found = locate_engine(EngineSettings(), os.environ)
    client = open_client(found, os.environ, "1.41", 60)
    version = negotiate_version(client, found)
    client.close()
    return open_client(found, os.environ, version, 60)


def far_away(folder: Path, engine: str) -> Path:
    """Make an `ssh` that reaches the engine whichever host it is asked for; gives its folder."""
    script = folder / "ssh" / "ssh"
    script.parent.mkdir()
    script.write_text(
        f'#!/bin/sh\necho "$@" >>{script}.log\nexec docker --host {engine} system dial-stdio\n'
    )
    script.chmod(0o755)
    return script.parent


def gateway(api: Any) -> str:
    """Return the address of this machine on the engine's bridge."""
    bridge = api.inspect_network("bridge")["IPAM"]["Config"][0]
    # an engine that has just started does not name it
    return str(bridge.get("Gateway") or next(ip_network(bridge["Subnet"]).hosts()))


def remaps(api: Any) -> bool:
    """Return whether the engine maps the users of its containers to others (userns-remap)."""
    return any("name=userns" in option for option in api.info().get("SecurityOptions") or [])


def make_context(config: Path, name: str, host: str, certificates: Path | None) -> None:
    """Write a context as the docker command line does."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    meta = config / "contexts/meta" / digest / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": name, "Endpoints": {"docker": endpoint}}))
    if certificates is None:
        return
    tls = config / "contexts/tls" / digest / "docker"
    tls.mkdir(parents=True)
    for file in ("ca.pem", "cert.pem", "key.pem"):
        (tls / file).write_bytes((certificates / file).read_bytes())


def containers(api: Any, home: object) -> list[dict[str, Any]]:
    """List the containers that an installation made."""
    found: list[dict[str, Any]] = api.containers(
        all=True, filters={"label": f"{LABEL_HOME}={home}"}
    )
    return found


def images(api: Any, home: object) -> list[str]:
    """List the images that an installation saved sessions in."""
    return [name for one in saved_images(api, home) for name in _names(one)]


def saved_images(api: Any, home: object) -> list[dict[str, Any]]:
    """Describe the images that an installation saved sessions in."""
    return [one for one in _images(api, home) if not _is_fitted(one)]


def _images(api: Any, home: object) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.images(filters={"label": f"{LABEL_HOME}={home}"})
    return found


def _is_fitted(image: dict[str, Any]) -> bool:
    """Tell whether it serves users whose uid the base image does not have; sessions share it."""
    return any(tag.startswith(f"{FITTED_IMAGE}:") for tag in _names(image))


def _names(image: dict[str, Any]) -> list[str]:
    nameless: list[str] = ["<none>:<none>"]
    tags: list[str] = image.get("RepoTags") or nameless
    return [image["Id"] if tag in nameless else normalize_image(tag) for tag in tags]


def volumes(api: Any, home: object) -> list[str]:
    """List the volumes that an installation made."""
    found = api.volumes(filters={"label": f"{LABEL_HOME}={home}"})
    return [volume["Name"] for volume in found.get("Volumes") or []]


def networks(api: Any, home: object) -> dict[str, str]:
    """List the networks that an installation made for one session each, by session."""
    made = api.networks(filters={"label": f"{LABEL_HOME}={home}"})
    return {
        one["Labels"][LABEL_SESSION]: one["Name"] for one in made if LABEL_SESSION in one["Labels"]
    }


class ExecTimeoutError(AssertionError):
    """A program in a container whose end the engine has not told in a long time."""


def run(api: Any, container: str, script: str) -> str:
    """Run a shell script in a container as its user, and give what it printed.

    Raises ExecTimeoutError where it takes longer than any does.
    """
    made = api.exec_create(container, ["bash", "-c", script], user="para", workdir="/para-session")
    answers: SimpleQueue[bytes | Exception] = SimpleQueue()
    # a thread, since docker-py waits for what a program prints without any limit
    Thread(target=_start, args=(api, made["Id"], answers), daemon=True).start()
    try:
        output = answers.get(timeout=_LONGEST)
    except Empty:
        known = api.exec_inspect(made["Id"])
        top = api.top(container, "-eo pid,ppid,stat,wchan,args")
        raise ExecTimeoutError(f"{script}: {known} {top}") from None
    if isinstance(output, Exception):
        raise output
    code = api.exec_inspect(made["Id"])["ExitCode"]
    assert code == 0, f"{script}: {code} {output!r}"
    return output.decode()


def _start(api: Any, program: str, answers: SimpleQueue[bytes | Exception]) -> None:
    try:
        answers.put(api.exec_start(program))
    except Exception as error:  # noqa: BLE001 # raised where the answer is waited for
        answers.put(error)


def drop(api: Any, image: str) -> None:
    """Remove an image, and first those that were fitted from it."""
    found = api.inspect_image(image)["Id"]
    for one in api.images(filters={"label": f"{LABEL_FITTED}={found}"}):
        api.remove_image(one["Id"], force=True)
    with contextlib.suppress(ImageNotFound):  # one without a name goes with the last of those
        api.remove_image(image, force=True)


def clear(api: Any, home: object) -> None:
    """Remove all that an installation has on the engine; fails where a container stays."""
    until = time.monotonic() + _PATIENCE
    refused = ""
    while left := containers(api, home):
        assert time.monotonic() < until, f"{[one['Names'] for one in left]} stay: {refused}"
        for one in left:
            try:
                api.remove_container(one["Id"], force=True, v=True)
            except APIError as error:  # its removal is under way, or it is gone
                refused = str(error)
                time.sleep(0.1)
    for image in [name for one in _images(api, home) for name in _names(one)]:
        with contextlib.suppress(APIError):
            api.remove_image(image, force=True)
    for volume in volumes(api, home):
        with contextlib.suppress(APIError):
            api.remove_volume(volume)
    while networked := networks(api, home):
        assert time.monotonic() < until, f"{networked} stay: {refused}"
        for network in networked.values():
            try:
                api.remove_network(network)
            except APIError as error:  # a container of it is on its way out
                refused = str(error)
                time.sleep(0.1)


def clear_below(api: Any, folder: Path) -> list[str]:
    """Remove what any installation in a folder has on the engine; returns those that had some."""
    listed = api.containers(all=True, filters={"label": LABEL_HOME})
    homes = {one["Labels"][LABEL_HOME] for one in listed}
    there = sorted(home for home in homes if Path(home).is_relative_to(folder))
    for home in there:
        clear(api, home)
    return there


def report(api: Any, home: object) -> str:
    """Tell how the containers of an installation are, for a test that failed."""
    lines = []
    for one in containers(api, home):
        inspected = api.inspect_container(one["Id"])
        logs = api.logs(one["Id"], tail=20).decode(errors="replace")
        lines.append(f"{one['Names']} {one['Status']}\n{inspected['State']}\n{logs}")
    return "\n".join(lines)
