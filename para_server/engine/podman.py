"""The only place that asks Podman's own API, for what Docker's leaves out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from docker import APIClient
    from requests import Response

_API: Final = "/v4.0.0/libpod"  # the oldest; newer Podmans answer to it too


def is_podman(api: APIClient) -> bool:
    """Return whether it is an engine of Podman's."""
    components = api.version().get("Components") or ()
    return any("podman" in str(one.get("Name")).lower() for one in components)


def post(api: APIClient, path: str, body: Mapping[str, Any] | None = None) -> Response:
    """Send a request to Podman's own API."""
    return api.post(f"{api.base_url}{_API}/{path}", json=body, timeout=api.timeout)
