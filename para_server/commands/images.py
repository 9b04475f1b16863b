"""The only place that makes images for people: `para.image.build`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from para_server.agents.profiles import profile
from para_server.context import Context
from para_server.core import container_spec
from para_server.core.errors import ParaError, Remedy
from para_server.core.names import (
    BASE_IMAGE,
    LABEL_FITTED,
    LABEL_INPUTS,
    LABEL_LOGIN,
    LABEL_PRIVATE,
    LABEL_SESSION,
    agent_image,
    build_params,
)
from para_server.core.params import BuildParams
from para_server.core.results import BuildResult
from para_server.engine import image_build, images
from para_server.engine.error_translation import image_missing
from para_server.engine.image_build import Recipe
from para_server.engine.images import Image
from para_server.registry import command

_OF_OTHERS: Final = {LABEL_FITTED, LABEL_SESSION, LABEL_LOGIN, LABEL_PRIVATE}


@command("para.image.build", "Build Image")
async def build(context: Context, params: BuildParams) -> BuildResult:
    """Build the image that sessions run in, para-base:latest; with `agent`, that agent's.

    An agent's image, para-agent-NAME:latest, is a layer on para-base:latest, which must be there.
    An agent that has none of its own runs in para-base:latest.
    What did not change is taken from the engine's cache, unless `noCache` says otherwise.
    """
    settings = context.settings(None)
    image = BASE_IMAGE
    if params.agent is not None:
        image = image_of(profile(params.agent, settings.agent).name)
    begun = time.monotonic()
    made = await image_build.build(
        context.engine,
        await _recipe(context, image),
        container_spec.ca_bundle_of(settings.container, context.environ),
        context.report,
        no_cache=params.no_cache,
    )
    seconds = round(time.monotonic() - begun, 1)
    return BuildResult(image=image, id=made.id, size=made.size, seconds=seconds)


def image_of(agent: str) -> str:
    """Name the image that has an agent, as para builds it."""
    return agent_image(agent) if _folder(agent).is_dir() else BASE_IMAGE


async def demand_fresh(context: Context, name: str) -> Image:
    """Find an image of para's own; raises engine.image-missing where it is missing or stale."""
    image = await images.find(context.engine, name)
    if image is None:
        raise image_missing(name)
    if image.labels.get(LABEL_INPUTS) != image_build.inputs(await _recipe(context, name)):
        remedy = Remedy(title="Build image", command="para.image.build", params=build_params(name))
        said = f"{name} is stale: its recipe has changed since it was built"
        raise ParaError("engine.image-missing", said, remedy)
    return image


async def demand_own(context: Context, name: str) -> Image:
    """Find an image that para built, stale or not; raises engine.image-missing.

    A repository may name images but tag none. What was made from one of para's own has its labels:
    a saved session and a login have one more.
    """
    image = await images.find(context.engine, name)
    if image is None:
        raise image_missing(name)
    labels = image.labels
    if LABEL_INPUTS not in labels or _OF_OTHERS & labels.keys():
        remedy = Remedy(title="Build image", command="para.image.build", params=build_params(name))
        raise ParaError("engine.image-missing", f"{name} is not an image that para built", remedy)
    return image


async def helper_image(context: Context) -> str:
    """Return the id of the image that helpers run in; raises engine.image-missing."""
    return (await demand_own(context, BASE_IMAGE)).id


async def _recipe(context: Context, image: str) -> Recipe:
    agent = build_params(image).get("agent")
    if agent is None:
        folder = image_build.recipe_folder("base")
        return Recipe(image=image, folder=folder, arguments={})
    base = await images.find(context.engine, BASE_IMAGE)
    if base is None:
        raise image_missing(BASE_IMAGE)
    return Recipe(image=image, folder=_folder(agent), arguments={"BASE_IMAGE": base.id})


def _folder(agent: str) -> Path:
    return image_build.recipe_folder("agents", agent)
