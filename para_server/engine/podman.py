"""Call Podman's own API for requests that Docker's API does not have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from docker import APIClient
    from requests import Response

_API: Final = "/v4.0.0/libpod"  # the oldest supported version, which newer Podmans accept


def is_podman(api: APIClient) -> bool:
    """Return whether the engine is Podman."""
    components = api.version().get("Components") or ()
    return any("podman" in str(component.get("Name")).lower() for component in components)


def post(api: APIClient, path: str, body: Mapping[str, Any] | None = None) -> Response:
    """Post a request to Podman's own API and return the response, whatever its status."""
    return api.post(f"{api.base_url}{_API}/{path}", json=body, timeout=api.timeout)
