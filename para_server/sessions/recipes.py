"""Find para's own images and their recipes, and check that images are current."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from para_server.context import Context
from para_server.core.errors import ParaError, Remedy
from para_server.core.names import (
    BASE_IMAGE,
    LABEL_FITTED,
    LABEL_INPUTS,
    LABEL_LOGIN,
    LABEL_PRIVATE,
    LABEL_SESSION,
    agent_image,
    image_build_params,
)
from para_server.engine import image_build, images
from para_server.engine.error_translation import image_missing_error
from para_server.engine.image_build import Recipe
from para_server.engine.images import Image

_DERIVED_LABELS: Final = {LABEL_FITTED, LABEL_SESSION, LABEL_LOGIN, LABEL_PRIVATE}


def image_for_agent(agent: str) -> str:
    """Return the name of the image that para builds for an agent."""
    return agent_image(agent) if _recipe_folder(agent).is_dir() else BASE_IMAGE


async def find_fresh_image(context: Context, name: str) -> Image:
    """Return an image of para; raises engine.image-missing if it is missing or stale."""
    image = await images.find(context.engine, name)
    if image is None:
        raise image_missing_error(name)
    if image.labels.get(LABEL_INPUTS) != image_build.digest_inputs(
        await find_recipe(context, name)
    ):
        remedy = Remedy(
            title="Build image", command="para.image.build", params=image_build_params(name)
        )
        message = f"{name} is stale: its recipe has changed since it was built"
        raise ParaError("engine.image-missing", message, remedy)
    return image


async def find_own_image(context: Context, name: str) -> Image:
    """Return an image that para built, stale or not; raises engine.image-missing.

    The labels decide, because the name may be tagged on any image. An image made from one of para's
    inherits its labels, but a saved session and a login have another one.
    """
    image = await images.find(context.engine, name)
    if image is None:
        raise image_missing_error(name)
    labels = image.labels
    if LABEL_INPUTS not in labels or _DERIVED_LABELS & labels.keys():
        remedy = Remedy(
            title="Build image", command="para.image.build", params=image_build_params(name)
        )
        raise ParaError("engine.image-missing", f"{name} is not an image that para built", remedy)
    return image


async def find_helper_image(context: Context) -> str:
    """Return the id of the image of helper containers; raises engine.image-missing."""
    return (await find_own_image(context, BASE_IMAGE)).id


async def find_recipe(context: Context, image: str) -> Recipe:
    """Return the recipe of an image of para; raises engine.image-missing without the base image."""
    agent = image_build_params(image).get("agent")
    if agent is None:
        folder = image_build.recipe_folder("base")
        return Recipe(image=image, folder=folder, arguments={})
    base = await images.find(context.engine, BASE_IMAGE)
    if base is None:
        raise image_missing_error(BASE_IMAGE)
    return Recipe(image=image, folder=_recipe_folder(agent), arguments={"BASE_IMAGE": base.id})


def _recipe_folder(agent: str) -> Path:
    return image_build.recipe_folder("agents", agent)
