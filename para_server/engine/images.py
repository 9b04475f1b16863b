"""The only place that knows how images are built, found and removed."""

from __future__ import annotations

import hashlib
import io
import math
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from para_server.engine.client import SLOW, Engine
from para_server.errors import Frozen, ParaError, Remedy
from para_server.names import (
    AUTHENTICATED_IMAGE,
    LABEL_HOME,
    LABEL_INPUTS,
    LABEL_LOGIN,
    LABEL_SESSION,
    SAVED_IMAGE,
    build_params,
)
from para_server.untrusted import one_line

if TYPE_CHECKING:
    from docker import APIClient

_LAST_LINES: Final = 15
_NAMELESS: Final = "<none>:<none>"  # what older engines say of an image that lost its name
_CA_NAME: Final = "ca-bundle.crt"
_IN_USE: Final = 409

Told = Callable[[str, int | None], None]


class Image(Frozen):
    """An image on the engine; size in bytes."""

    id: str
    tags: tuple[str, ...]
    size: int
    labels: dict[str, str]
    volumes: tuple[str, ...] = ()  # where containers get volumes of their own


class Recipe(Frozen):
    """What an image is made from: the folder of its Dockerfile, and the build's arguments."""

    image: str
    folder: Path
    arguments: dict[str, str]


def recipe_folder(*path: str) -> Path:
    """Find the folder of a Dockerfile: in the package, or beside it."""
    package = Path(__file__).resolve().parent.parent
    packed = package / "_images"
    return (packed if packed.is_dir() else package.parent / "images").joinpath(*path)


def inputs(recipe: Recipe) -> str:
    """Digest what an image is made from, so that a stale one is known."""
    digest = hashlib.sha256()
    for file in sorted(recipe.folder.iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    digest.update(repr(sorted(recipe.arguments.items())).encode())
    return digest.hexdigest()


async def find(engine: Engine, name: str) -> Image | None:
    """Find an image by its name."""

    def ask(api: APIClient) -> Image | None:
        from docker.errors import ImageNotFound

        try:
            return _image(api.inspect_image(name))  # type: ignore[no-untyped-call] # as the stubs have it
        except ImageNotFound:
            return None

    return await engine.call(ask)


async def saved(engine: Engine, session_id: str | None = None) -> list[Image]:
    """List the images that sessions are saved in, also those that lost their name to a later one.

    An image that a person made from one has its labels, and a name of its own: it is not listed.
    """
    label = LABEL_SESSION if session_id is None else f"{LABEL_SESSION}={session_id}"
    found = await _labelled(engine, label)
    return [one for one in found if all(f"{SAVED_IMAGE}:" in tag for tag in one.tags)]


async def logins(engine: Engine, agent: str | None) -> list[Image]:
    """List the images with a login, also those that lost their name to a later one.

    What was made from one has its labels too: sessions that were saved, and a person's own images.
    """
    label = LABEL_LOGIN if agent is None else f"{LABEL_LOGIN}={agent}"
    repository = AUTHENTICATED_IMAGE.partition(":")[0]
    return [
        one
        for one in await _labelled(engine, label)
        if LABEL_SESSION not in one.labels and all(f"{repository}:" in tag for tag in one.tags)
    ]


async def remove_unused(engine: Engine, name: str) -> bool:
    """Remove an image unless something is made from it; tells whether it is gone."""

    def ask(api: APIClient) -> bool:
        from docker.errors import APIError, ImageNotFound

        try:
            api.remove_image(name)
        except ImageNotFound:
            return True
        except APIError as error:
            if error.status_code != _IN_USE:
                raise
            return False
        return True

    return await engine.call(ask)


async def remove(engine: Engine, name: str) -> None:
    """Remove an image; what is gone is removed already."""

    def ask(api: APIClient) -> None:
        from docker.errors import ImageNotFound

        try:
            api.remove_image(name, force=True)
        except ImageNotFound:
            return

    await engine.call(ask)


async def remove_saved(
    engine: Engine, session_id: str, is_mine: Callable[[str | None], bool], but: str = ""
) -> None:
    """Remove the images that a session was saved in, but one; `is_mine` judges the home's label."""
    for image in await saved(engine, session_id):
        if is_mine(image.labels.get(LABEL_HOME)) and image.id != but:
            await remove(engine, image.id)


def saved_labels(session_id: str, home: Path) -> dict[str, str]:
    """Mark a saved image as its session's."""
    return {LABEL_SESSION: session_id, LABEL_HOME: str(home)}


async def build(
    engine: Engine,
    recipe: Recipe,
    ca_bundle: Path | None,
    tell: Told,
    *,
    no_cache: bool,
) -> Image:
    """Build an image; a cancellation ends the build in the engine too.

    Raises engine.build-failed with the last lines of what the build printed.
    """
    context = _context(recipe.folder, ca_bundle)
    labels = {LABEL_INPUTS: inputs(recipe)}
    stream: list[Any] = []

    def ask(api: APIClient) -> None:
        from docker.types import CancellableStream

        def remember(response: Any, *_rest: object, **_options: object) -> None:
            stream.append(CancellableStream(iter(()), response))

        hooks = api.hooks["response"]
        hooks.append(remember)
        try:
            answers = api.build(
                fileobj=context,
                custom_context=True,
                tag=recipe.image,
                decode=True,
                rm=True,
                forcerm=True,
                nocache=no_cache,
                buildargs=dict(recipe.arguments),
                labels=labels,
                timeout=math.ceil(engine.settings.timeout * SLOW),
            )
            _follow(answers, recipe.image, tell)
        finally:
            hooks.remove(remember)

    def interrupt() -> None:
        for one in stream:
            one.close()

    await engine.call_slowly(ask, interrupt)
    made = await find(engine, recipe.image)
    if made is None:
        raise _failed(recipe.image, "it is not there after its build", [])
    return made


async def _labelled(engine: Engine, label: str) -> list[Image]:
    raw = await engine.call(lambda api: api.images(filters={"label": label}))
    return [
        Image(
            id=one["Id"],
            tags=tuple(tag for tag in one.get("RepoTags") or () if tag != _NAMELESS),
            size=one["Size"],
            labels=one.get("Labels") or {},
        )
        for one in raw
    ]


def _follow(answers: Any, image: str, tell: Told) -> None:
    last: list[str] = []
    percentage: int | None = None
    for answer in answers:
        if "error" in answer:
            raise _failed(image, one_line(str(answer["error"])), last)
        for line in str(answer.get("stream", "")).splitlines():
            if not line.strip():
                continue
            last = [*last[1 - _LAST_LINES :], one_line(line)]
            percentage = _percentage(line) if line.startswith("Step ") else percentage
            tell(one_line(line), percentage)


def _percentage(line: str) -> int | None:
    done, _, total = line.removeprefix("Step ").partition(" ")[0].partition("/")
    if done.isdigit() and total.isdigit():
        return 100 * (int(done) - 1) // int(total)
    return None


def _failed(image: str, message: str, last: list[str]) -> ParaError:
    shown = "\n".join([message, *last])
    params = build_params(image)
    return ParaError(
        "engine.build-failed",
        f"The image {image} could not be built: {shown}",
        Remedy(title="Build again", command="para.image.build", params=params),
        Remedy(
            title="Build every layer anew",
            command="para.image.build",
            params={**params, "noCache": True},
        ),
    )


def _context(folder: Path, ca_bundle: Path | None) -> io.BytesIO:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in sorted(folder.iterdir()):
            _add(archive, file.name, file.read_bytes())
        if ca_bundle is not None:
            _add(archive, _CA_NAME, ca_bundle.read_bytes())
    packed.seek(0)
    return packed


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    # no times, no owners: the same files make the same layers
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    entry.mode = 0o644
    archive.addfile(entry, io.BytesIO(content))


def _image(raw: Mapping[str, Any]) -> Image:
    return Image(
        id=raw["Id"],
        tags=tuple(raw.get("RepoTags") or ()),
        size=raw["Size"],
        labels=(raw.get("Config") or {}).get("Labels") or {},
        volumes=tuple(sorted((raw.get("Config") or {}).get("Volumes") or {})),
    )
