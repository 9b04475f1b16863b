"""The only place that knows how images are found and removed."""

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

_NAMELESS: Final = "<none>:<none>"  # what older engines say of an image that lost its name
_NOT_FOUND: Final = 404


class Image(Model):
    """An image on the engine; size in bytes."""

    id: str
    tags: tuple[str, ...]
    size: int
    labels: dict[str, str]
    volumes: tuple[str, ...] = ()  # where containers get volumes of their own


async def find(engine: Engine, name: str) -> Image | None:
    """Find an image by its name."""

    def ask(api: APIClient) -> Image | None:
        raw = _inspect(api, name)
        return _parse_image(raw) if raw else None

    return await engine.call(ask)


async def list_saved(engine: Engine, session_id: str | None = None) -> list[Image]:
    """List the images that sessions are saved in, also those that lost their name to a later one.

    An image that a person made from one has its labels, and a name of its own: it is not listed.
    """
    label = LABEL_SESSION if session_id is None else f"{LABEL_SESSION}={session_id}"
    found = await _list_labelled(engine, label)
    return [one for one in found if all(f"{SAVED_IMAGE}:" in tag for tag in one.tags)]


async def list_logins(engine: Engine, agent: str | None) -> list[Image]:
    """List the images with a login, also those that lost their name to a later one.

    What was made from one has its labels too: sessions that were saved, and a person's own images.
    """
    label = LABEL_LOGIN if agent is None else f"{LABEL_LOGIN}={agent}"
    repository = AUTHENTICATED_IMAGE.partition(":")[0]
    return [
        one
        for one in await _list_labelled(engine, label)
        if LABEL_SESSION not in one.labels and all(f"{repository}:" in tag for tag in one.tags)
    ]


async def list_fitted(engine: Engine, is_mine: Callable[[str | None], bool]) -> list[Image]:
    """List the images that were fitted from others; `is_mine` judges the home's label.

    What was made from one has its labels too: sessions that were saved, and a person's own images.
    """
    return [
        one
        for one in await _list_labelled(engine, LABEL_FITTED)
        if all(tag.partition(":")[0].endswith(FITTED_IMAGE) for tag in one.tags)
        and LABEL_SESSION not in one.labels
        and is_mine(one.labels.get(LABEL_HOME))
    ]


async def remove_stale_fitted(
    engine: Engine, is_mine: Callable[[str | None], bool], agent: str | None = None
) -> list[str]:
    """Remove images that were fitted from one that is gone, or that has an agent's login.

    An image that lost its name is as good as gone: it is there because others are made from it.
    `is_mine` judges the home's label. Those that sessions were made from stay. Returns the names
    of what was removed.
    """
    gone: list[str] = []
    for one in await list_fitted(engine, is_mine):
        private = agent is not None and one.labels.get(LABEL_LOGIN) == agent
        origin = await find(engine, one.labels[LABEL_FITTED])
        stale = origin is None or not origin.tags
        if (stale or private) and await remove_unused(engine, one.id):
            gone += one.tags
    return gone


class ImageDependencies(Model):
    """What is made from which image."""

    containers: tuple[tuple[str, str], ...]  # the name of each, and the id of its image
    images: tuple[tuple[str, bool], ...]  # the id of each, and whether it has a name
    parents: dict[str, str]  # by id; newer engines do not say


async def query_dependencies(engine: Engine) -> ImageDependencies:
    """Ask the engine what is made from which image."""
    boxes = await engine.call(lambda api: api.containers(all=True))
    raw = await engine.call(lambda api: api.images(all=True))
    return ImageDependencies(
        containers=tuple(
            ((one["Names"] or [one["Id"]])[0].removeprefix("/"), one["ImageID"]) for one in boxes
        ),
        images=tuple((one["Id"], _tags(one) != ()) for one in raw),
        parents={one["Id"]: _full_id(one.get("ParentId")) for one in raw},
    )


def find_needed(known: ImageDependencies, gone: Collection[str]) -> set[str]:
    """Return the ids of the images that cannot be removed, since something is made from them.

    `gone` names the containers, and holds the ids of the images, that will not be there any more.
    The nameless steps of a build go with what they led to.
    """
    steps = set(known.parents.values())
    found = {image for name, image in known.containers if name not in gone}
    found |= {
        known.parents[image]
        for image, has_name in known.images
        if image not in gone and (has_name or image not in steps)
    }
    new = set(found)
    while new:
        new = {known.parents.get(image, "") for image in new} - found
        found |= new
    return found - {""}


async def remove_unused(engine: Engine, name: str) -> bool:
    """Remove an image unless something is made from it; tells whether it is gone.

    The nameless steps of its build go too, which containerd's image store would leave.
    """

    def ask(api: APIClient) -> bool:
        step = _inspect(api, name)
        above = _full_id(step.get("Parent"))
        if not remove_if_unused(partial(api.remove_image, name)):
            return False
        while above and (step := _inspect(api, above)) and not _tags(step):
            if not remove_if_unused(partial(api.remove_image, above)):
                break
            above = _full_id(step.get("Parent"))
        return True

    return await engine.call(ask)


def _full_id(parent: str | None) -> str:
    """Write the id of a parent as all ids are: Podman leaves out what they begin with."""
    return f"sha256:{parent.removeprefix('sha256:')}" if parent else ""


def _inspect(api: APIClient, name: str) -> dict[str, Any]:
    from docker.errors import ImageNotFound

    try:
        found: dict[str, Any] = api.inspect_image(name)  # type: ignore[no-untyped-call] # as the stubs have it
    except ImageNotFound:
        return {}
    return found


async def remove(engine: Engine, name: str) -> None:
    """Remove an image, or only its name where something is made from it.

    What is gone is removed already.
    """

    def ask(api: APIClient) -> None:
        if remove_if_unused(partial(api.remove_image, name)):
            return
        if podman.is_podman(api):
            _remove_names(api, name)
        else:
            api.remove_image(name, force=True)

    await engine.call(ask)


def _remove_names(api: APIClient, name: str) -> None:
    """Take the names from an image of Podman, which a forced removal would rid of its containers.

    Docker's API cannot do this, so it is Podman's own that is asked.
    """
    from docker.errors import APIError

    answer = podman.post(api, f"images/{quote(name, safe='')}/untag")
    if not answer.ok and answer.status_code != _NOT_FOUND:
        raise APIError(answer.text, response=answer, explanation=answer.text)


async def remove_saved(
    engine: Engine, session_id: str, is_mine: Callable[[str | None], bool], but: str = ""
) -> None:
    """Remove the images that a session was saved in, but one; `is_mine` judges the home's label."""
    for image in await list_saved(engine, session_id):
        if is_mine(image.labels.get(LABEL_HOME)) and image.id != but:
            await remove(engine, image.id)


def saved_labels(session_id: str, home: Path) -> dict[str, str]:
    """Mark a saved image as its session's."""
    return {LABEL_SESSION: session_id, LABEL_HOME: str(home)}


async def _list_labelled(engine: Engine, label: str) -> list[Image]:
    raw = await engine.call(lambda api: api.images(filters={"label": label}))
    return [
        Image(
            id=one["Id"],
            tags=_tags(one),
            size=one["Size"],
            labels=one.get("Labels") or {},
        )
        for one in raw
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
