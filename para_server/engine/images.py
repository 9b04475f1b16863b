"""Find, list and remove images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from para_server.core.model import Model
from para_server.core.names import (
    AUTHENTICATED_IMAGE,
    FITTED_IMAGE,
    LABEL_FITTED,
    LABEL_HOME,
    LABEL_LOGIN,
    LABEL_SESSION,
    SAVED_IMAGE,
)
from para_server.engine import podman
from para_server.engine.client import Engine
from para_server.engine.error_translation import remove_if_unused

if TYPE_CHECKING:
    from docker import APIClient

_NAMELESS: Final = "<none>:<none>"  # how older engines list an image that lost its name
_NOT_FOUND: Final = 404


class Image(Model):
    """An image on the engine; size in bytes."""

    id: str
    tags: tuple[str, ...]
    size: int
    labels: dict[str, str]
    volumes: tuple[str, ...] = ()  # paths where each container has an anonymous volume


async def find(engine: Engine, name: str) -> Image | None:
    """Return the image with this name or id, or None."""

    def request(api: APIClient) -> Image | None:
        raw = _inspect(api, name)
        return _parse_image(raw) if raw else None

    return await engine.call(request)


async def list_saved(engine: Engine, session_id: str | None = None) -> list[Image]:
    """Return the saved images of one or all sessions, including those without a name.

    A saved image loses its name to the next one. A user's image that is built from a saved image
    inherits its labels, but has another name, and is excluded.
    """
    label = LABEL_SESSION if session_id is None else f"{LABEL_SESSION}={session_id}"
    labelled = await _list_labelled(engine, label)
    return [image for image in labelled if all(f"{SAVED_IMAGE}:" in tag for tag in image.tags)]


async def list_logins(engine: Engine, agent: str | None) -> list[Image]:
    """Return the images with a login of one or all agents, including those without a name.

    Images built from one inherit its labels: saved sessions and users' images, which are excluded.
    """
    label = LABEL_LOGIN if agent is None else f"{LABEL_LOGIN}={agent}"
    repository = AUTHENTICATED_IMAGE.partition(":")[0]
    return [
        image
        for image in await _list_labelled(engine, label)
        if LABEL_SESSION not in image.labels and all(f"{repository}:" in tag for tag in image.tags)
    ]


async def list_fitted(engine: Engine, is_mine: Callable[[str | None], bool]) -> list[Image]:
    """Return the images that were fitted to a user's ids, of the homes that `is_mine` accepts.

    Images built from one inherit its labels: saved sessions and users' images, which are excluded.
    """
    return [
        image
        for image in await _list_labelled(engine, LABEL_FITTED)
        if all(tag.partition(":")[0].endswith(FITTED_IMAGE) for tag in image.tags)
        and LABEL_SESSION not in image.labels
        and is_mine(image.labels.get(LABEL_HOME))
    ]


async def remove_stale_fitted(
    engine: Engine, is_mine: Callable[[str | None], bool], agent: str | None = None
) -> list[str]:
    """Remove fitted images whose original is gone or has an agent's login; return their names.

    An original without a name counts as gone: it only exists because images are built from it.
    Images in use stay. `is_mine` is given the label with the image's home.
    """
    gone: list[str] = []
    for image in await list_fitted(engine, is_mine):
        private = agent is not None and image.labels.get(LABEL_LOGIN) == agent
        origin = await find(engine, image.labels[LABEL_FITTED])
        stale = origin is None or not origin.tags
        if (stale or private) and await remove_unused(engine, image.id):
            gone += image.tags
    return gone


class ImageDependencies(Model):
    """The containers and images that were created from images."""

    containers: tuple[tuple[str, str], ...]  # the name of each, and the id of its image
    images: tuple[tuple[str, bool], ...]  # the id of each, and whether it has a name
    parents: dict[str, str]  # by id; empty ids from newer engines


async def query_dependencies(engine: Engine) -> ImageDependencies:
    """Return which containers and images were created from which image."""
    containers = await engine.call(lambda api: api.containers(all=True))
    raw = await engine.call(lambda api: api.images(all=True))
    return ImageDependencies(
        containers=tuple(
            ((item["Names"] or [item["Id"]])[0].removeprefix("/"), item["ImageID"])
            for item in containers
        ),
        images=tuple((item["Id"], _tags(item) != ()) for item in raw),
        parents={item["Id"]: _full_id(item.get("ParentId")) for item in raw},
    )


def find_needed(dependencies: ImageDependencies, gone: Collection[str]) -> set[str]:
    """Return the ids of the images that cannot be removed because others depend on them.

    `gone` has the names of the containers and the ids of the images that will be removed. The
    nameless intermediate images of a build are removed with its result.
    """
    steps = set(dependencies.parents.values())
    needed = {image for name, image in dependencies.containers if name not in gone}
    needed |= {
        dependencies.parents[image]
        for image, has_name in dependencies.images
        if image not in gone and (has_name or image not in steps)
    }
    new = set(needed)
    while new:
        new = {dependencies.parents.get(image, "") for image in new} - needed
        needed |= new
    return needed - {""}


async def remove_unused(engine: Engine, name: str) -> bool:
    """Remove an image unless others depend on it; return whether it is gone.

    The nameless intermediate images of its build are removed too, which containerd's image store
    would keep.
    """

    def request(api: APIClient) -> bool:
        image = _inspect(api, name)
        parent = _full_id(image.get("Parent"))
        if not remove_if_unused(partial(api.remove_image, name)):
            return False
        while parent and (image := _inspect(api, parent)) and not _tags(image):
            if not remove_if_unused(partial(api.remove_image, parent)):
                break
            parent = _full_id(image.get("Parent"))
        return True

    return await engine.call(request)


def _full_id(parent: str | None) -> str:
    """Return a parent's id with the prefix `sha256:`, which Podman leaves out."""
    return f"sha256:{parent.removeprefix('sha256:')}" if parent else ""


def _inspect(api: APIClient, name: str) -> dict[str, Any]:
    from docker.errors import ImageNotFound

    try:
        image: dict[str, Any] = api.inspect_image(name)  # type: ignore[no-untyped-call] # untyped in the stubs
    except ImageNotFound:
        return {}
    return image


async def remove(engine: Engine, name: str) -> None:
    """Remove an image, or only its names if others depend on it; do nothing if it is gone."""

    def request(api: APIClient) -> None:
        if remove_if_unused(partial(api.remove_image, name)):
            return
        if podman.is_podman(api):
            _remove_names(api, name)
        else:
            api.remove_image(name, force=True)

    await engine.call(request)


def _remove_names(api: APIClient, name: str) -> None:
    """Remove the names of an image in Podman, whose forced removal would remove containers too.

    Docker's API has no request for this, so Podman's own API is used.
    """
    from docker.errors import APIError

    response = podman.post(api, f"images/{quote(name, safe='')}/untag")
    if not response.ok and response.status_code != _NOT_FOUND:
        raise APIError(response.text, response=response, explanation=response.text)


async def remove_saved(
    engine: Engine, session_id: str, is_mine: Callable[[str | None], bool], keep: str = ""
) -> None:
    """Remove a session's saved images except the one with the id `keep`.

    `is_mine` is given the label with the image's home.
    """
    for image in await list_saved(engine, session_id):
        if is_mine(image.labels.get(LABEL_HOME)) and image.id != keep:
            await remove(engine, image.id)


def saved_labels(session_id: str, home: Path) -> dict[str, str]:
    """Return the labels of a session's saved image."""
    return {LABEL_SESSION: session_id, LABEL_HOME: str(home)}


async def _list_labelled(engine: Engine, label: str) -> list[Image]:
    raw = await engine.call(lambda api: api.images(filters={"label": label}))
    return [
        Image(
            id=item["Id"],
            tags=_tags(item),
            size=item["Size"],
            labels=item.get("Labels") or {},
        )
        for item in raw
    ]


def _tags(raw: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(tag for tag in raw.get("RepoTags") or () if tag != _NAMELESS)


def _parse_image(raw: Mapping[str, Any]) -> Image:
    return Image(
        id=raw["Id"],
        tags=tuple(raw.get("RepoTags") or ()),
        size=raw["Size"],
        labels=(raw.get("Config") or {}).get("Labels") or {},
        volumes=tuple(sorted((raw.get("Config") or {}).get("Volumes") or {})),
    )
