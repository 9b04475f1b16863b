"""Translate the errors of the engine and its connection into ParaErrors."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from para_server.core.errors import CHECK_SETUP, ParaError, Remedy
from para_server.core.names import BASE_IMAGE, image_build_params
from para_server.core.settings import EngineSettings
from para_server.core.untrusted import one_line
from para_server.engine.endpoint import unreachable_error

if TYPE_CHECKING:
    from docker.errors import APIError

_GROUP_URL: Final = "https://docs.docker.com/engine/install/linux-postinstall/"
_MAX_TEXT: Final = 500  # characters of the engine's text in a message
_IN_USE: Final = 409
# The kernel reports the same error for namespaces, keys, watches and cgroups. Only an error with
# the path of a file outside the kernel's own file systems means that a disk is full.
_NO_SPACE: Final = re.compile(r"\b[a-z]+ (/[^\s:]*)(?: [^\s:]+)?: no space left on device")
_KERNEL_FILE_SYSTEMS: Final = ("/sys/", "/proc/", "/dev/")
_BIND: Final = re.compile(r"bind source path does not exist: (.+)|statfs (/.+): no such file")
_NO_HOST_NETWORK: Final = "cannot share the host's network namespace"
_REQUIRES_TLS: Final = "Client sent an HTTP request to an HTTPS server"


def translate_error(error: Exception, settings: EngineSettings, where: str) -> Exception:
    """Return an error of the engine as a ParaError, and any other error as it is.

    `where` is appended to messages: " at " and the engine's address, or empty.
    """
    from docker import errors as docker_errors
    from requests import exceptions as http
    from urllib3 import exceptions as stream  # reading a stream raises these unwrapped

    connection_errors = (
        http.ConnectionError | http.ChunkedEncodingError | stream.ProtocolError | ConnectionError
    )
    timeouts = http.ReadTimeout | stream.ReadTimeoutError | TimeoutError
    if isinstance(error, docker_errors.ImageNotFound):
        return image_missing_error(error_text(error))
    if isinstance(error, docker_errors.APIError):
        return _translate_api_error(error)
    if isinstance(error, timeouts):
        return _timeout_error(settings)
    if isinstance(error, connection_errors):
        return _translate_connection_error(error, where)
    if isinstance(error, docker_errors.DockerException | http.RequestException):
        return refused_error(error_text(error))
    return error


def image_missing_error(image: str) -> ParaError:
    """Return an engine.image-missing error; the remedy builds or chooses an image."""
    name = image.removeprefix("No such image: ").removeprefix("no such image: ") or BASE_IMAGE
    params = image_build_params(name)
    build = Remedy(title="Build image", command="para.image.build", params=params)
    choose = Remedy(title="Choose another image", setting="container.image")
    ours = name == BASE_IMAGE or params
    remedies = [build] if ours else [choose, build]
    return ParaError("engine.image-missing", f"There is no image {name}", *remedies)


def refused_error(text: str, remedy: Remedy = CHECK_SETUP) -> ParaError:
    """Return an engine.refused error with the text of the engine's error."""
    return ParaError("engine.refused", f"The engine refused: {one_line(text, _MAX_TEXT)}", remedy)


def missing_bind_path(error: Exception) -> str | None:
    """Return the host path that the engine did not find for a mount, or None for other errors."""
    match = _BIND.search(error_text(error))
    return (match[1] or match[2]).strip() if match else None


def remove_if_unused(removal: Callable[[], object]) -> bool:
    """Call a removal and return whether the object is gone, False if it is in use."""
    from docker.errors import APIError, NotFound

    try:
        removal()
    except NotFound:
        return True
    except APIError as error:
        if error.status_code != _IN_USE:
            raise
        return False
    return True


def error_text(error: Exception) -> str:
    """Return the text of the engine's response, or else of the exception."""
    explanation = getattr(error, "explanation", None)
    if isinstance(explanation, bytes):
        explanation = explanation.decode(errors="replace")
    return str(explanation or error)


def _translate_api_error(error: APIError) -> ParaError:
    text = error_text(error)
    if _REQUIRES_TLS in text:
        return unreachable_error(
            "The engine requires TLS: set DOCKER_TLS_VERIFY and DOCKER_CERT_PATH"
        )
    if _NO_HOST_NETWORK in text:
        return refused_error(
            text, Remedy(title="Choose another network", setting="container.network")
        )
    match = _NO_SPACE.search(text)
    if match and not match[1].startswith(_KERNEL_FILE_SYSTEMS):
        return _disk_full_error(text)
    return refused_error(text)


def _translate_connection_error(error: Exception, where: str) -> ParaError:
    from requests.exceptions import ProxyError

    for cause in _walk_causes(error):
        if isinstance(cause, PermissionError):
            return _permission_error(where)
        if isinstance(cause, ssl.SSLError):
            why = one_line(str(cause), _MAX_TEXT)
            return unreachable_error(f"The TLS connection to the engine failed: {why}")
    if isinstance(error, ProxyError):
        return unreachable_error(
            "The proxy of the container engine (HTTP_PROXY) refused the connection"
        )
    return unreachable_error(f"The container engine does not answer{where}")


def _walk_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all its causes, down to those of the operating system."""
    waiting, seen = [error], set[int]()
    while waiting:
        cause = waiting.pop()
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        inner = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
        waiting += [item for item in inner if isinstance(item, BaseException)]


def _permission_error(where: str) -> ParaError:
    return ParaError(
        "engine.permission-denied",
        f"You have no permission to use the engine's socket{where}",
        Remedy(title="Add yourself to the group docker", url=_GROUP_URL),
        CHECK_SETUP,
    )


def _timeout_error(settings: EngineSettings) -> ParaError:
    return ParaError(
        "engine.timeout",
        f"The engine did not answer in time (engine.timeout is {settings.timeout:g} seconds)",
        Remedy(title="Increase the timeout", setting="engine.timeout"),
        CHECK_SETUP,
    )


def _disk_full_error(text: str) -> ParaError:
    clean = Remedy(title="Remove leftovers", command="para.clean", params={})
    why = one_line(text, _MAX_TEXT)
    return ParaError("engine.disk-full", f"The engine's disk is full: {why}", clean)
