"""The only place that translates what goes wrong with the engine, each by its cause."""

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
_MAX_TEXT: Final = 500
_IN_USE: Final = 409
# the kernel says the same of namespaces, keys, watches and cgroups: only a file that could not be
# written means a disk, and those of the kernel's own file systems lie on none
_NO_SPACE: Final = re.compile(r"\b[a-z]+ (/[^\s:]*)(?: [^\s:]+)?: no space left on device")
_KERNEL_FILE_SYSTEMS: Final = ("/sys/", "/proc/", "/dev/")
_BIND: Final = re.compile(r"bind source path does not exist: (.+)|statfs (/.+): no such file")
_NO_HOST_NETWORK: Final = "cannot share the host's network namespace"
_WANTS_TLS: Final = "Client sent an HTTP request to an HTTPS server"


def translate_error(error: Exception, settings: EngineSettings, where: str) -> Exception:
    """Return what went wrong with the engine as a ParaError; what is no error of its stays.

    `where` is the engine's address, for people: the end of a sentence, or nothing.
    """
    from docker import errors as docker_errors
    from requests import exceptions as http
    from urllib3 import exceptions as stream  # a stream that is read raises them as they are

    broken = (
        http.ConnectionError | http.ChunkedEncodingError | stream.ProtocolError | ConnectionError
    )
    late = http.ReadTimeout | stream.ReadTimeoutError | TimeoutError
    if isinstance(error, docker_errors.ImageNotFound):
        return image_missing_error(error_text(error))
    if isinstance(error, docker_errors.APIError):
        return _translate_api_error(error)
    if isinstance(error, late):
        return _timeout_error(settings)
    if isinstance(error, broken):
        return _translate_connection_error(error, where)
    if isinstance(error, docker_errors.DockerException | http.RequestException):
        return refused_error(error_text(error))
    return error


def image_missing_error(image: str) -> ParaError:
    """Say which image is missing, and how to get it."""
    name = image.removeprefix("No such image: ").removeprefix("no such image: ") or BASE_IMAGE
    params = image_build_params(name)
    build = Remedy(title="Build image", command="para.image.build", params=params)
    choose = Remedy(title="Choose another image", setting="container.image")
    ours = name == BASE_IMAGE or params
    remedies = [build] if ours else [choose, build]
    return ParaError("engine.image-missing", f"There is no image {name}", *remedies)


def refused_error(text: str, remedy: Remedy = CHECK_SETUP) -> ParaError:
    """Repeat what the engine said in refusing."""
    return ParaError("engine.refused", f"The engine refused: {one_line(text, _MAX_TEXT)}", remedy)


def missing_bind_path(error: Exception) -> str | None:
    """Return the path of this machine that an engine did not find, where that is what it said."""
    found = _BIND.search(error_text(error))
    return (found[1] or found[2]).strip() if found else None


def remove_if_unused(removal: Callable[[], object]) -> bool:
    """Remove something unless something else uses it; returns whether it is gone."""
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
    """Return what an engine said, or an error says of itself."""
    explanation = getattr(error, "explanation", None)
    if isinstance(explanation, bytes):
        explanation = explanation.decode(errors="replace")
    return str(explanation or error)


def _translate_api_error(error: APIError) -> ParaError:
    text = error_text(error)
    if _WANTS_TLS in text:
        return unreachable_error("The engine wants TLS: set DOCKER_TLS_VERIFY and DOCKER_CERT_PATH")
    if _NO_HOST_NETWORK in text:
        return refused_error(
            text, Remedy(title="Choose another network", setting="container.network")
        )
    found = _NO_SPACE.search(text)
    if found and not found[1].startswith(_KERNEL_FILE_SYSTEMS):
        return _disk_full_error(text)
    return refused_error(text)


def _translate_connection_error(error: Exception, where: str) -> ParaError:
    from requests.exceptions import ProxyError

    for cause in _walk_causes(error):
        if isinstance(cause, PermissionError):
            return _permission_error(where)
        if isinstance(cause, ssl.SSLError):
            why = one_line(str(cause), _MAX_TEXT)
            return unreachable_error(f"The engine could not be reached by TLS: {why}")
    if isinstance(error, ProxyError):
        return unreachable_error(
            "The proxy before the container engine (HTTP_PROXY) does not let para by"
        )
    return unreachable_error(f"The container engine does not answer{where}")


def _walk_causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from what a library raised to what the system said."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        within = (one.__cause__, one.__context__, getattr(one, "reason", None), *one.args)
        waiting += [cause for cause in within if isinstance(cause, BaseException)]


def _permission_error(where: str) -> ParaError:
    return ParaError(
        "engine.permission-denied",
        f"The engine's socket{where} may not be used by this user",
        Remedy(title="Add yourself to the group docker", url=_GROUP_URL),
        CHECK_SETUP,
    )


def _timeout_error(settings: EngineSettings) -> ParaError:
    return ParaError(
        "engine.timeout",
        f"The engine did not answer in time (engine.timeout is {settings.timeout:g} seconds)",
        Remedy(title="Give it more time", setting="engine.timeout"),
        CHECK_SETUP,
    )


def _disk_full_error(text: str) -> ParaError:
    clean = Remedy(title="Remove what is left over", command="para.clean", params={})
    why = one_line(text, _MAX_TEXT)
    return ParaError("store.unreadable", f"The engine's disk is full: {why}", clean)
