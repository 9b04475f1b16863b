"""Build container specifications: image, mounts, limits and privileges. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from para_server.core.errors import Issue, ParaError, Remedy
from para_server.core.model import Model
from para_server.core.names import (
    LABEL_HELPER,
    LABEL_HOME,
    LABEL_LOGIN,
    LABEL_NAME,
    LABEL_REPO,
    LABEL_SESSION,
    SESSION_NETWORK,
    container_name,
    saved_image,
)
from para_server.core.records import Record
from para_server.core.settings import ContainerSettings, parse_size
from para_server.host.paths import expand_home

WORKSPACE: Final = "/para-session"
AGENT_FOLDER: Final = "/para-agent"
OUT: Final = "/para-out"
UPPER: Final = "/para-upper"
CA_TARGET: Final = "/etc/para/ca-bundle.crt"
PASSWD: Final = PurePosixPath("/etc/passwd")
# read by OpenSSL, curl, node, requests, pip and git
_CA_VARIABLES: Final = (
    "SSL_CERT_FILE CURL_CA_BUNDLE NODE_EXTRA_CA_CERTS REQUESTS_CA_BUNDLE PIP_CERT GIT_SSL_CAINFO"
).split()
# the capabilities that sudo, apt and chown need
_SUDO_CAPABILITIES: Final = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "SETGID",
    "SETUID",
)
_HELPER_CPUS: Final = 2.0
_HELPER_MEMORY: Final = 2 << 30
_HELPER_PIDS: Final = 256
_FOREVER: Final = ("sleep", "infinity")
_MAIN: Final = ("sh", f"{AGENT_FOLDER}/in/main.sh")


class Mount(Model):
    """A host path or an engine volume that is mounted in a container."""

    source: str
    target: str
    read_only: bool = False
    volume: bool = False


class ContainerSpec(Model):
    """A container to create; memory and file_size are in bytes, network None means no network."""

    name: str
    image: str
    labels: dict[str, str]
    command: tuple[str, ...]
    user: str
    environment: dict[str, str]
    mounts: tuple[Mount, ...]
    network: str | None
    cpus: float
    memory: int
    pids: int
    cap_add: tuple[str, ...]
    new_privileges: bool
    read_only: bool = False
    file_size: int | None = None


def session_container(
    record: Record,
    settings: ContainerSettings,
    environment: Mapping[str, str],
    *,
    image: str,
    home: Path,
    mounts: Sequence[Mount],
    ca_bundle: Path | None,
    proxies: Mapping[str, str],
) -> ContainerSpec:
    """Return the specification of a session's container."""
    extra = [_parse_mount(text) for text in settings.mounts]
    if ca_bundle is not None:
        extra.append(Mount(source=str(ca_bundle), target=CA_TARGET, read_only=True))
    return ContainerSpec(
        name=container_name(record.id),
        image=image,
        labels={
            LABEL_SESSION: record.id,
            LABEL_NAME: record.name,
            LABEL_REPO: record.repo,
            LABEL_HOME: str(home),
        },
        command=_main_command(record, image, mounts),
        user="para",
        environment={**container_environment(settings, ca_bundle, proxies), **environment},
        mounts=(*mounts, *extra),
        network=SESSION_NETWORK if record.network == "bridge" else record.network,
        cpus=settings.cpus,
        memory=parse_size(settings.memory),
        pids=settings.pids,
        cap_add=tuple(_SUDO_CAPABILITIES) if settings.sudo else (),
        new_privileges=settings.sudo,
    )


def helper_container(
    name: str,
    session_id: str,
    *,
    image: str,
    home: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    mounts: Sequence[Mount],
    file_size: int,
) -> ContainerSpec:
    """Return the specification of a one-shot container: no network, no privileges.

    It runs as root with DAC_OVERRIDE, as an agent may leave files that its user cannot read.
    """
    return ContainerSpec(
        name=name,
        image=image,
        labels={LABEL_HOME: str(home), LABEL_HELPER: session_id},
        command=tuple(command),
        user="0:0",
        environment=dict(environment),
        mounts=tuple(mounts),
        network=None,
        cpus=_HELPER_CPUS,
        memory=_HELPER_MEMORY,
        pids=_HELPER_PIDS,
        cap_add=("DAC_OVERRIDE",),  # DAC_READ_SEARCH would open any host file by handle
        new_privileges=False,
        read_only=True,
        file_size=file_size,
    )


def removal_container(
    name: str, session_id: str, *, image: str, home: Path, folder: Path
) -> ContainerSpec:
    """Return the specification of a one-shot container that empties a folder.

    FOWNER is needed for a folder with the sticky bit and files of several users.
    """
    helper = helper_container(
        name,
        session_id,
        image=image,
        home=home,
        command=("find", OUT, "-mindepth", "1", "-delete"),
        environment={},
        mounts=[Mount(source=str(folder), target=OUT)],
        file_size=parse_size("1m"),
    )
    return helper.model_copy(update={"cap_add": (*helper.cap_add, "FOWNER")})


def login_container(
    name: str,
    agent: str,
    *,
    image: str,
    home: Path,
    mounts: Sequence[Mount],
    ca_bundle: Path | None,
    network: str,
) -> ContainerSpec:
    """Return the specification of a container for a login, or for a check of one.

    Its environment is empty, as it would become part of the image of the login.
    """
    certificates = [Mount(source=str(ca_bundle), target=CA_TARGET, read_only=True)]
    return ContainerSpec(
        name=name,
        image=image,
        labels={LABEL_HOME: str(home), LABEL_LOGIN: agent},
        command=_FOREVER,
        user="para",
        environment={},
        mounts=(*mounts, *(certificates if ca_bundle else ())),
        network=network,
        cpus=_HELPER_CPUS,
        memory=_HELPER_MEMORY,
        pids=_HELPER_PIDS,
        cap_add=("CHOWN",),
        new_privileges=False,
    )


def _main_command(record: Record, image: str, mounts: Sequence[Mount]) -> tuple[str, ...]:
    # a saved session starts without its agent, and its shell may have been replaced
    if image == saved_image(record.id):
        return _FOREVER
    layered = any(mount.volume and mount.target == WORKSPACE for mount in mounts)
    return (*_MAIN, "look") if layered else _MAIN


def container_environment(
    settings: ContainerSettings, ca_bundle: Path | None, proxies: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables of the settings, and those for certificates and proxies."""
    trusted = dict.fromkeys(_CA_VARIABLES, CA_TARGET) if ca_bundle else {}
    return {**proxies, **trusted, **settings.env}


def find_ca_bundle(settings: ContainerSettings, environ: Mapping[str, str]) -> Path | None:
    """Return the host's CA bundle; raises settings.invalid if a configured one is missing."""
    if settings.ca_bundle != "auto":
        if not settings.ca_bundle:
            return None
        file = Path(_expand_setting("container.caBundle", settings.ca_bundle))
        if not file.is_file():
            raise _invalid_setting("container.caBundle", f"CA bundle {file} does not exist")
        return file
    for variable in ("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"):
        file = Path(environ.get(variable, ""))
        if file.is_file():
            return file.resolve()
    return None


def _parse_mount(text: str) -> Mount:
    named, _, rest = text.partition(":")
    target, _, mode = rest.partition(":")
    source = _expand_setting("container.mounts", named)
    usable = source.startswith("/") and target.startswith("/") and mode in {"", "ro", "rw"}
    if not usable:
        raise _invalid_setting(
            "container.mounts", f"Invalid mount {text}: expected SOURCE:TARGET or SOURCE:TARGET:ro"
        )
    return Mount(source=source, target=target, read_only=mode == "ro")


def _expand_setting(setting: str, text: str) -> str:
    try:
        return expand_home(text)
    except ValueError as error:
        raise _invalid_setting(setting, f"{setting}: {error}") from None


def _invalid_setting(setting: str, message: str) -> ParaError:
    return ParaError(
        "settings.invalid",
        message,
        Remedy(title="Change the setting", setting=setting),
        issues=[Issue(path=setting, message=message)],
    )
